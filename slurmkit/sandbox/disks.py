"""Disks of a sandbox that can be full, slow or stuck: mounted below the folder that hosts share.

A disk of a given size is a tmpfs, so that the kernel itself says ENOSPC. A disk that can be slowed
is a file system in user space, whose server lives in the machine room. Both end with the room.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import slurmkit
from slurmkit.errors import UsageError
from slurmkit.sandbox import machine
from slurmkit.sandbox.layout import Layout, check_name
from slurmkit.sandbox.record import SandboxError
from slurmkit.sandbox.speed import READY, SPEED, Speed

_FILLER = ".filler"
_SERVER = "slurmkit.sandbox.slow_disk"
_START_TIMEOUT_S = 15.0
_BLOCK = 4096


class Disk:
    """One disk; :meth:`Sandbox.make_disk` makes one, :meth:`Sandbox.disk` finds one.

    Attributes:
        name: its name.
        path: where every host of the sandbox sees it. This machine does not: see :attr:`view`.
    """

    def __init__(self, layout: Layout, name: str) -> None:
        self._layout = layout
        self.name = name
        self.path = layout.shared_dir / name
        self._folder = layout.disks_dir / check_name(name)

    @property
    def view(self) -> Path:
        """The same folder as this machine reaches it, where the sandbox's mounts do not show."""
        room = machine.room(self._layout)
        if room is None:
            raise SandboxError(f"sandbox {self._layout.name} has crashed")
        return Path(f"/proc/{room.pid}/root{self.path}")

    # -- full ---------------------------------------------------------------------------------

    def fill(self, leave_bytes: int = 0) -> int:
        """Take all room but ``leave_bytes``; return how many bytes that took.

        Raises:
            UsageError: the disk has no size of its own.
        """
        if not (self._folder / "sized").exists():
            raise UsageError(
                f"disk {self.name} has no size of its own, so it is not filled",
                hint="make one with --size",
            )
        room = self._mounted()
        before = os.statvfs(room)
        num_bytes = before.f_bavail * before.f_frsize - leave_bytes
        path = room / _FILLER
        taken = path.stat().st_size if path.exists() else 0
        size = max(0, (taken + num_bytes) // _BLOCK * _BLOCK)
        with path.open("ab") as filler:
            os.truncate(filler.fileno(), min(size, taken))
            if size > taken:
                os.posix_fallocate(filler.fileno(), 0, size)
        return size

    def free(self) -> None:
        """Give the room back that :meth:`fill` took."""
        (self._mounted() / _FILLER).unlink(missing_ok=True)

    def _mounted(self) -> Path:
        """Return the sized file system itself: also where a slow disk lies over it."""
        room = machine.room(self._layout)
        if room is None:
            raise SandboxError(f"sandbox {self._layout.name} has crashed")
        below = self._folder / "data" if self._slowable else self.path
        return Path(f"/proc/{room.pid}/root{below}")

    # -- slow ---------------------------------------------------------------------------------

    @property
    def _slowable(self) -> bool:
        return (self._folder / SPEED).exists()

    def slow(self, *, delay_s: float = 0.0, bytes_per_s: int = 0, stuck: bool = False) -> None:
        """Make it so slow from now on; without arguments it is as fast as it can be.

        Args:
            delay_s: how much longer each operation takes, opening and looking up included.
            bytes_per_s: how much all hosts together read and write; 0 for no limit.
            stuck: nothing is answered, as with a file server that is down. Programs that wait
                cannot be killed meanwhile, as is usual with one.

        Raises:
            UsageError: it is not made to be slowed.
        """
        if not self._slowable:
            raise UsageError(
                f"disk {self.name} is not made to be slowed", hint="make one with --slow"
            )
        Speed(delay_s, bytes_per_s, stuck).write(self._folder / SPEED)

    # -- making -------------------------------------------------------------------------------

    def make(self, size_mib: int | None, *, slow: bool) -> None:
        """Make and mount it.

        Raises:
            SandboxError: there is one of that name, or it cannot be mounted.
        """
        try:
            self.path.mkdir()
            self.path.chmod(0o1777)
        except FileExistsError:
            raise SandboxError(f"{self.path} is there already") from None
        data = self._folder / "data" if slow else self.path
        data.mkdir(parents=True, exist_ok=True)
        data.chmod(0o1777)
        self._folder.mkdir(parents=True, exist_ok=True)
        if size_mib is not None:
            (self._folder / "sized").touch()
            words = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=1777"]
            machine.in_room(self._layout, [*words, f"disk-{self.name}", str(data)])
        if slow:
            Speed().write(self._folder / SPEED)
            self._start_server(data)

    def _start_server(self, data: Path) -> None:
        log = self._layout.log_dir / f"disk-{self.name}.log"
        program = [sys.executable, "-m", _SERVER, data, self.path, self._folder]
        with log.open("a") as output:
            subprocess.run(
                [*machine.room_entry(self._layout), "setsid", "--fork", *map(str, program)],
                env={
                    **machine.DAEMON_ENV,
                    "PYTHONPATH": str(Path(slurmkit.__file__).parent.parent),
                    "PYTHONDONTWRITEBYTECODE": "1",
                },
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=20,
                check=True,
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not (self._folder / READY).exists():
            said = log.read_text(errors="replace").strip()
            if said or time.monotonic() > deadline:
                reason = said.splitlines()[-1] if said else f"nothing in {_START_TIMEOUT_S:.0f} s"
                raise SandboxError(
                    f"disk {self.name}: the file system did not start: {reason}",
                    hint="a disk that can be slowed needs FUSE in this machine's kernel",
                )
            time.sleep(0.01)


def find(layout: Layout, name: str) -> Disk:
    """Return a disk of a running sandbox.

    Raises:
        UsageError: there is none of that name.
    """
    disk = Disk(layout, name)
    known = sorted(p.name for p in layout.disks_dir.iterdir()) if layout.disks_dir.is_dir() else []
    if name not in known:
        raise UsageError(
            f"sandbox {layout.name} has no disk {name}",
            hint=f"its disks: {', '.join(known) or 'none'}; slurmkit sandbox disk makes one",
        )
    return disk
