"""How tasks of a step ended, and which of them was the cause."""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class TaskExit:
    """The end of one task that failed.

    Attributes:
        rank: which task; None when its launcher did not say.
        host: where it ran; empty when not known.
        exit_code: what it returned; None when a signal ended it.
        signal: what ended it, such as ``SIGKILL``; empty for none.
        detail: the launcher's words, such as ``Out Of Memory``.
        reason: why, from the last lines it wrote; empty for none.
        consequence: True when it was killed because another task had failed.
    """

    rank: int | None
    host: str
    exit_code: int | None = None
    signal: str = ""
    detail: str = ""
    reason: str = ""
    consequence: bool = False

    def fields(self) -> dict[str, object]:
        """Return it as the ledger has it; without what is empty."""
        values: dict[str, object] = {"rank": self.rank, "host": self.host}
        if self.exit_code is not None:
            values["exit_code"] = self.exit_code
        values |= {"signal": self.signal} if self.signal else {}
        values |= {"detail": self.detail} if self.detail else {}
        return {**values, "reason": self.reason, "consequence": self.consequence}

    @property
    def shell_code(self) -> int:
        """The exit code that a shell would give for it."""
        if self.exit_code is not None:
            return self.exit_code
        named = [number for number in signal.Signals if number.name == self.signal]
        return 128 + named[0] if named else 1

    def __str__(self) -> str:
        who = "the command" if self.rank is None else f"rank {self.rank}"
        where = f" on {self.host}" if self.host else ""
        if self.exit_code is not None:
            how = f"exited with code {self.exit_code}"
        else:
            how = f"was ended by {self.signal}" if self.signal else f"failed: {self.detail}"
        why = f": {self.reason}" if self.reason else ""
        return f"{who}{where} {how}{why}"


# How launchers end the others once one task has failed.
_ENDING_SIGNALS = frozenset({"SIGTERM", "SIGKILL", "SIGINT"})


# What a task says when another one has gone away: gloo, NCCL, TCPStore, the C library.
_LOST_PEER = re.compile(
    r"closed by peer|reset by peer|Broken pipe|Connection refused|remote process exit"
    r"|communicator was aborted|Socket closed|got 0 bytes|peer.*(?:disconnect|shut ?down)",
    re.IGNORECASE,
)


def is_killing(exit_: TaskExit) -> bool:
    """Whether a task ended as launchers end tasks: its own last words tell nothing then."""
    return exit_.signal in _ENDING_SIGNALS


def judge(exit_: TaskExit, earlier: Sequence[TaskExit]) -> TaskExit:
    """Return a task's end with ``consequence`` set, given those that were seen before it.

    The first end in a step is the cause: nobody had a reason to kill that task. What is killed
    after it, or complains that it lost its peer, is a consequence.
    """
    followed = is_killing(exit_) or lost_peer(exit_)
    return replace(exit_, consequence=bool(earlier) and followed)


def lost_peer(exit_: TaskExit) -> bool:
    """Whether a task ended because another one had gone away, by its own words."""
    return bool(_LOST_PEER.search(exit_.reason))


def root_cause(exits: Sequence[TaskExit]) -> TaskExit | None:
    """Return the end that all others followed from; None when nothing failed.

    It is the first that was reported, unless that one only lost its peer, or was killed while
    another one says what went wrong: ends within a few milliseconds on several nodes may be
    reported in any order, and launchers kill the others once one has failed.
    """
    causes = [exit_ for exit_ in exits if not exit_.consequence]
    own = [exit_ for exit_ in causes if not lost_peer(exit_)] or causes
    telling = [exit_ for exit_ in own if exit_.detail or _says_why(exit_)]
    return next(iter(telling or own), None)


def _says_why(exit_: TaskExit) -> bool:
    """Whether a task was not killed, and its last words, if any, arrived whole."""
    return not is_killing(exit_) and "Traceback (most recent call last):" not in exit_.reason


def signal_name(number: int) -> str:
    """Return a signal's name, such as ``SIGKILL``; unknown ones by number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def shell_code(returncode: int) -> int:
    """Return the exit code that a shell reports for subprocess's return code."""
    return 128 - returncode if returncode < 0 else returncode
