"""What an agent does whose supervisor does not answer: wait, end, or submit a successor of the job.

A connection that fails may mean a broken cable, so the shared folder is asked, too: the supervisor
writes a small file there once per second (see ``Beacon``). Only when that stands still as long as
the connection is silent has the supervisor gone. Then exactly one agent, the one that creates the
claim file, submits a successor, where the job allows it; all agents end themselves.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from slurmkit.rundir.layout import ElementDir
from slurmkit.supervise.agent_wire import Control

STAY, END, SUCCEED = "stay", "end", "succeed"
_LOOK_S = 1.0
_STOPPED_FACTOR = 10.0


@dataclass(frozen=True)
class Signs:
    """What the shared folder shows of a supervisor.

    Attributes:
        ended: its control file is gone: it has ended in good order.
        replaced: another incarnation has taken the run over.
        beacon: what the beacon says; empty when it cannot be read.
    """

    ended: bool
    replaced: bool
    beacon: str


def look(control_path: Path, incarnation: str) -> Signs:
    """Look at the shared folder."""
    element = ElementDir(control_path.parent.parent)
    try:
        os.close(os.open(control_path, os.O_RDONLY))
        ended = False
    except FileNotFoundError:
        ended = True
    except OSError:  # a file system that fails says nothing
        ended = False
    holder = _text(element.fence_path)
    beacon = _text(control_path.with_name(f"alive-{incarnation}"))
    return Signs(ended, bool(holder) and holder != incarnation, beacon)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


class Orphan:
    """Decides, look by look, what an agent without an answer does. Pure but for its state.

    Args:
        control: how patient to be, and whether a successor is allowed.
        now: monotonic seconds.
    """

    def __init__(self, control: Control, now: float) -> None:
        self._patience_s = control.patience_s
        self._successor = control.successor
        self._beacon = ""
        self._moved = now
        self._next_look = now

    def due(self, now: float) -> bool:
        """Whether it is time to look at the shared folder."""
        return now >= self._next_look

    def judge(
        self, now: float, silent_s: float, signs: Signs, *, terminated: bool, stopped: bool = False
    ) -> str:
        """Return stay, end or succeed.

        Args:
            now: monotonic seconds.
            silent_s: how long the connection has been silent, seconds.
            signs: what the shared folder shows.
            terminated: whether Slurm has told this agent to end: it ends the job or the step then,
                and nobody should bring it back.
            stopped: whether the supervisor's host took a connection since it is silent: then its
                process is there, only stopped or starved, and is waited for longer.
        """
        self._next_look = now + _LOOK_S
        if signs.beacon != self._beacon:
            self._beacon = signs.beacon
            self._moved = now
        if signs.ended or signs.replaced:
            return END
        patience_s = self._patience_s * (_STOPPED_FACTOR if stopped else 1.0)
        if silent_s < patience_s or now - self._moved < patience_s:
            return STAY
        return SUCCEED if self._successor and not terminated else END


def claim(control_path: Path, incarnation: str, host: str) -> bool:
    """Whether this agent, of all, is the one to submit the successor."""
    path = control_path.with_name(f"successor-{incarnation}")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        os.write(descriptor, f"{host}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True


def submit_successor(control_path: Path, incarnation: str, host: str) -> str:
    """Submit the successor and write down what came of it; returns its job id."""
    from slurmkit.supervise.successor import submit_from_agent  # noqa: PLC0415 (rarely needed)

    element = control_path.parent.parent
    path = control_path.with_name(f"successor-{incarnation}")
    try:
        job_id = str(submit_from_agent(str(element), incarnation, host))
    except Exception as error:
        with contextlib.suppress(OSError):
            path.write_text(f"{host}\nfailed: {error}\n", encoding="utf-8")
        raise
    with contextlib.suppress(OSError):
        path.write_text(f"{host}\n{job_id}\n", encoding="utf-8")
    return job_id
