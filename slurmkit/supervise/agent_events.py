"""What the agents tell the supervisor, as values."""

from dataclasses import dataclass
from typing import TypeAlias

from slurmkit.health.verdict import Verdict


@dataclass(frozen=True)
class AgentUp:
    """The agent of a node is there and its preflight is done.

    Attributes:
        host: the node's name in Slurm.
        verdicts: what the preflight found; empty where it is off, and on a mere reconnect.
        returned: True when this node had been lost and has come back.
    """

    host: str
    verdicts: tuple[Verdict, ...] = ()
    returned: bool = False


@dataclass(frozen=True)
class AgentLost:
    """A node does not answer any more.

    Attributes:
        host: the node.
        silent_s: seconds since its last heartbeat, or since anything was heard of its agent.
        why: in words, such as ``3 heartbeats missed``.
    """

    host: str
    silent_s: float
    why: str = ""


@dataclass(frozen=True)
class NodeUnfit:
    """The site's health program wants the jobs of a node to leave it.

    Attributes:
        host: the node.
        why: what it found.
    """

    host: str
    why: str


@dataclass(frozen=True)
class TaskUp:
    """A task has started and is about to become the program.

    Attributes:
        rank: which; None for a launcher per node, such as torchrun.
        host: where.
        pid: its process there.
    """

    rank: int | None
    host: str
    pid: int


@dataclass(frozen=True)
class TaskGone:
    """A task's process has ended; why, only the launcher learns."""

    rank: int | None
    host: str
    pid: int


@dataclass(frozen=True)
class SessionUp:
    """A rank's Session is there.

    Attributes:
        restored: the step it resumed from; None for a fresh start.
    """

    rank: int
    host: str
    pid: int
    restored: int | None = None


@dataclass(frozen=True)
class Progress:
    """How far the ranks are; at most every few tenths of a second.

    Attributes:
        step: the step that every rank has done.
        epoch: the epoch of the rank that is furthest behind; None when unknown.
        rank_min: the rank that is furthest behind.
        rank_max: the rank that is furthest ahead.
        step_max: how far that one is.
        num_ranks: ranks that have reported so far in this attempt.
        host_min: the node of ``rank_min``.
    """

    step: int
    epoch: int | None = None
    rank_min: int = 0
    rank_max: int = 0
    step_max: int = 0
    num_ranks: int = 0
    host_min: str = ""


@dataclass(frozen=True)
class Phase:
    """All ranks of a node load, run, save or stop now; ``rank`` is the last to say so."""

    phase: str
    rank: int
    host: str
    step: int | None = None


@dataclass(frozen=True)
class Committed:
    """A checkpoint is whole and durable."""

    step: int
    size_bytes: int = 0
    save_s: float = 0.0
    stall_s: float = 0.0
    rank: int = 0
    host: str = ""


@dataclass(frozen=True)
class SaveFailed:
    """A checkpoint could not be saved; the ranks go on."""

    step: int
    error: str
    rank: int = 0
    host: str = ""


@dataclass(frozen=True)
class Quarantined:
    """A checkpoint did not verify and was put aside."""

    step: int
    why: str
    rank: int = 0
    host: str = ""


@dataclass(frozen=True)
class Ending:
    """A rank ends: warning, deadline, term or finished, or with an exception: error."""

    rank: int
    host: str
    step: int | None
    why: str


@dataclass(frozen=True)
class Hang:
    """Nothing has gone on for longer than it ever should.

    Attributes:
        silent_s: seconds since the last sign of life.
        limit_s: how many were allowed.
        ranks: those that are furthest behind, at most 64; empty when nothing tells.
        what: what was waited for, such as ``the next step`` or ``the end of a save``.
    """

    silent_s: float
    limit_s: float
    ranks: tuple[int, ...] = ()
    what: str = "the next step"


AgentEvent: TypeAlias = (
    AgentUp
    | AgentLost
    | NodeUnfit
    | TaskUp
    | TaskGone
    | SessionUp
    | Progress
    | Phase
    | Committed
    | SaveFailed
    | Quarantined
    | Ending
    | Hang
)
