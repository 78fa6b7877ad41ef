"""Leaves nothing of a run on its hosts, also when the one who started it was killed."""

import contextlib
import json
import os
import shlex
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slurmkit.hosts.command import MARK
from slurmkit.hosts.model import Host, Hosts
from slurmkit.hosts.ssh import run_all
from slurmkit.launch import leftovers
from slurmkit.rundir.atomic import atomic_write

_FOLDER = ".hosts"
_DEADLINE_S = 40.0
# How much older than the run a segment of shared memory may seem: the kernel counts seconds.
_SLACK_S = 3.0


@dataclass(frozen=True)
class Tidied:
    """What was done on one host.

    Attributes:
        host: its name.
        ended: processes that were still there.
        removed: files and segments of shared memory that were.
        left: what could not be ended or removed, and why; the reason when the host was not reached.
    """

    host: str
    ended: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class Starter:
    """A process that has a run on hosts, so that others can tell whether it lives.

    Attributes:
        run_id: the run.
        host: where it runs.
        boot: that machine's boot.
        pid: its process number.
        start: when it started, in clock ticks since the boot; numbers are used again.
        began: when the run began, Unix seconds.
        selected: the hosts of the run.
        hosts: hosts.yaml as it was.
    """

    run_id: str
    host: str
    boot: str
    pid: int
    start: int
    began: float
    selected: tuple[str, ...]
    hosts: dict[str, Any]

    def is_here(self) -> bool:
        """Whether it ran on this machine, in this boot or an earlier one."""
        return self.host == os.uname().nodename

    def lives(self) -> bool:
        """Whether it still runs; only the machine that it is on can tell."""
        return self.boot == _boot() and _start_of(self.pid) == self.start


def marks(run_id: str) -> list[str]:
    """Return what the processes of a run have in their environment, one of them at least."""
    return [f"SLURMKIT_RUN_ID={run_id}", f"OMPI_MCA_{MARK}={run_id}", f"PRTE_MCA_{MARK}={run_id}"]


def tidy(hosts: Hosts, selected: Sequence[Host], run_id: str, age_s: float) -> list[Tidied]:
    """End what is left of a run on its hosts and remove what it left in memory and /tmp.

    What runs there is ``slurmkit.launch.leftovers`` as text, so that a host whose shared folder has
    gone is tidied, too.

    Args:
        hosts: how they are reached.
        selected: which.
        run_id: the run.
        age_s: how long ago it began, seconds.
    """
    source = Path(leftovers.__file__).read_text(encoding="utf-8")
    options = [word for mark in marks(run_id) for word in ("--mark", mark)]
    arguments = shlex.join([*options, "--max-age-s", f"{age_s + _SLACK_S:.1f}"])
    # The same user's own Python, as -I ignores what the run may have set.
    command = f"exec python3 -I -S - {arguments}"
    outcomes = run_all(hosts, command, _DEADLINE_S, stdin=source, only=selected)
    found = []
    for name, outcome in outcomes.items():
        if outcome.fault is not None:
            found.append(Tidied(name, left=(f"not reached: {outcome.fault.message}",)))
            continue
        try:
            said = json.loads(outcome.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            words = (outcome.stderr.strip() or "no answer").splitlines()[-1]
            found.append(Tidied(name, left=(f"python3 failed there: {words[:200]}",)))
            continue
        lists = (tuple(said[key]) for key in ("ended", "removed", "left"))
        found.append(Tidied(name, *lists))
    return found


# -- runs whose hosts are to be tidied -----------------------------------------------------------


def note_start(run_root: Path, run_id: str, hosts: Hosts, selected: Sequence[Host]) -> Path:
    """Write down that this process has a run on these hosts; return the file.

    Raises:
        OSError: it cannot be written.
    """
    folder = run_root / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    pid = os.getpid()
    starter = Starter(
        run_id=run_id,
        host=os.uname().nodename,
        boot=_boot(),
        pid=pid,
        start=_start_of(pid),
        began=time.time(),
        selected=tuple(host.name for host in selected),
        hosts=hosts.model_dump(mode="json"),
    )
    path = folder / f"{run_id}.json"
    atomic_write(path, json.dumps(asdict(starter), indent=1) + "\n", mode=0o600)
    return path


def forget(path: Path) -> None:
    """Remove the note of a run whose hosts are tidy."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def noted(run_root: Path) -> list[tuple[Path, Starter]]:
    """Return the runs whose hosts were not tidied yet, the oldest first."""
    found = []
    for path in sorted((run_root / _FOLDER).glob("*.json")):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            starter = Starter(**{**values, "selected": tuple(values["selected"])})
        except (OSError, ValueError, TypeError, KeyError):
            continue  # another one has just removed it
        found.append((path, starter))
    return found


def tidy_after_dead(run_root: Path) -> list[tuple[str, list[Tidied]]]:
    """Tidy the hosts of every run whose starter was killed; return what was done, by run.

    Runs that were started on other machines are left to these: nobody else can tell whether their
    starters live.
    """
    done = []
    for path, starter in noted(run_root):
        if not starter.is_here() or starter.lives():
            continue
        hosts = Hosts.model_validate(starter.hosts)
        selected = [host for host in hosts.hosts if host.name in starter.selected]
        found = tidy(hosts, selected, starter.run_id, max(0.0, time.time() - starter.began))
        if all_tidy(found):
            forget(path)
        done.append((starter.run_id, found))
    return done


def all_tidy(found: Iterable[Tidied]) -> bool:
    """Whether nothing is left on any host."""
    return not any(item.left for item in found)


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _start_of(pid: int) -> int:
    """Return when a process started, in clock ticks since the boot; -1 when it does not live."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] in (b"Z", b"X") else int(fields[19])
