"""Find, stop and end the processes of a sandbox, by what /proc says."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process of this machine; ``start`` tells it from a later one with the same number."""

    pid: int
    start: int

    def alive(self) -> bool:
        """Return whether it still runs; a zombie does not."""
        stat = _stat(self.pid)
        return stat is not None and stat[1] == self.start and stat[0] not in "ZX"

    def stopped(self) -> bool:
        """Return whether SIGSTOP holds it."""
        stat = _stat(self.pid)
        return stat is not None and stat[1] == self.start and stat[0] in "Tt"

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when the process is gone."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _stat(pid: int) -> tuple[str, int] | None:
    """Return (state letter, start time in clock ticks) of a process, or None when it is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold blanks and brackets
    return fields[0], int(fields[19])


def _pids() -> Iterator[int]:
    return (int(entry) for entry in os.listdir(_PROC) if entry.isdigit())  # noqa: PTH208


def find_inits(prefix: Path) -> dict[Path, Process]:
    """Return process 1 of every namespace whose script lies under ``prefix``, by script.

    They run as ``/bin/sh SCRIPT``, belong to root and are number 1 in a pid namespace below ours;
    a process that only looks alike is none.
    """
    found: dict[Path, Process] = {}
    wanted = os.fsencode(prefix) + b"/"
    for pid in _pids():
        try:
            argv = _cmdline(pid)
            if len(argv) < 2 or argv[0] != b"/bin/sh" or not argv[1].startswith(wanted):
                continue
            status = (_PROC / str(pid) / "status").read_text()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        levels = fields.get("NSpid", "").split()
        stat = _stat(pid)
        is_root = fields.get("Uid", "").split()[:1] == ["0"]
        if stat and stat[0] not in "ZX" and is_root and len(levels) > 1 and levels[-1] == "1":
            found[Path(os.fsdecode(argv[1]))] = Process(pid, stat[1])
    return found


def namespace_members(init: Process) -> list[Process]:
    """Return every process in the pid namespace of ``init``, itself included."""
    wanted = _namespace(init.pid)
    members = []
    for pid in _pids():
        if wanted and _namespace(pid) == wanted and (stat := _stat(pid)):
            members.append(Process(pid, stat[1]))
    return members


def find_daemon(init: Process, name: str) -> Process | None:
    """Return the daemon that runs as ``name`` directly under ``init``, or None."""
    for process in namespace_members(init):
        argv0 = _cmdline(process.pid)[0]
        if os.fsdecode(argv0) == name and _parent(process.pid) == init.pid and process.alive():
            return process
    return None


def listens(init: Process, port: int) -> bool:
    """Return whether a process in the network namespace of ``init`` listens on a TCP port."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            lines = (_PROC / str(init.pid) / "net" / table).read_text().splitlines()[1:]
            for fields in map(str.split, lines):  # local address is HEX:PORT, state 0A is LISTEN
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    return True
    return False


def _cmdline(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return [b""]


def _parent(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _namespace(pid: int) -> str:
    try:
        return os.readlink(_PROC / str(pid) / "ns" / "pid")  # noqa: PTH115
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""


def freeze(init: Process) -> None:
    """Stop every process of a namespace, also those that are born meanwhile."""
    while running := [p for p in namespace_members(init) if p.alive() and not p.stopped()]:
        for process in running:
            process.send(signal.SIGSTOP)
        time.sleep(0.002)


def thaw(init: Process) -> None:
    """Let every process of a namespace go on."""
    for process in namespace_members(init):
        process.send(signal.SIGCONT)


def end(init: Process, timeout_s: float = 20.0) -> bool:
    """Kill process 1 of a namespace and wait until the kernel has ended all others in it.

    Returns:
        False when it is still there after the timeout.
    """
    init.send(signal.SIGKILL)
    deadline = time.monotonic() + timeout_s
    while init.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
