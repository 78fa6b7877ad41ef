"""The words of the failure policy: what it knows, what can happen, and what it can ask for."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from slurmkit.supervise.options import Remedy

Phase = Literal["boot", "preflight", "run", "cancel", "hand-over", "over"]
#: Why an attempt ended; ``done`` is success, the others are slurmkit.supervise.failures'.
Kind = Literal[
    "done",
    "application",
    "transient",
    "node",
    "memory",
    "hang",
    "stopped",
    "preempted",
    "requeued",
    "timeout",
    "cancelled",
]
HandOver = Literal["successor", "requeue"]
Choice = Literal["relaunch", "spare", "shrink", "successor", "requeue", "stop", "done"]

#: sysexits.h, EX_TEMPFAIL: not finished, to be started again.
EXIT_AGAIN = 75
#: Starts of a program that fails by itself, at most, between two checkpoints.
MAX_APPLICATION_RESTARTS = 2


@dataclass(frozen=True)
class Rules:
    """What the job file says; it does not change while the job runs.

    Attributes:
        remedies: what to try when a node fails, in order; empty for one attempt and no more.
        num_nodes: how many nodes the program is meant to run on.
        min_nodes: how few it may run on where ``shrink`` is among the remedies.
        max_restarts: most restarts without a new checkpoint.
        can_move: whether the launcher can be told to use other nodes; srun can.
    """

    remedies: tuple[Remedy, ...] = ()
    num_nodes: int = 1
    min_nodes: int = 1
    max_restarts: int = 5
    can_move: bool = True


@dataclass(frozen=True)
class Cause:
    """Why a running step was cancelled by the supervisor.

    Attributes:
        kind: ``node`` or ``hang``.
        host: the node to blame; empty for none.
        reason: in one sentence.
    """

    kind: Kind
    host: str
    reason: str


@dataclass(frozen=True)
class State:
    """All that decisions depend on.

    Attributes:
        rules: what the job file says.
        phase: where the run is.
        allocated: the nodes of the job, in Slurm's order.
        nodes: those that the present attempt runs on.
        excluded: nodes not to be used, each with the reason.
        forgivable: those of them that are used again before the run goes without: they failed in an
            earlier life of the job, or have come back.
        restarts: starts since the last commit, without the first.
        application_restarts: those of them that followed a failure of the program itself.
        committed: the newest committed step; None for none yet.
        tracked: whether the program tells of its steps and checkpoints.
        keys: of the program's failures since the last commit.
        full_reason: of the newest of them whose last words arrived whole; empty for none.
        blamed: nodes whose ranks were behind in a hang, once.
        stopping: why the ranks were told to stop; empty when they were not.
        again: whether the run is to go on in another job after that.
        deadline: until when they may take, Unix seconds.
        cause: why the supervisor has cancelled the step; None when it has not.
        refused: the ways to hand over that Slurm has refused.
    """

    rules: Rules
    phase: Phase = "boot"
    allocated: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    forgivable: frozenset[str] = frozenset()
    restarts: int = 0
    application_restarts: int = 0
    committed: int | None = None
    tracked: bool = False
    keys: tuple[str, ...] = ()
    full_reason: str = ""
    blamed: frozenset[str] = frozenset()
    stopping: str = ""
    again: bool = False
    deadline: float | None = None
    cause: Cause | None = None
    refused: frozenset[HandOver] = frozenset()

    @property
    def bad(self) -> tuple[str, ...]:
        """The names of the excluded nodes."""
        return tuple(host for host, _ in self.excluded)

    @property
    def healthy(self) -> tuple[str, ...]:
        """The allocated nodes that may be used, in Slurm's order."""
        return tuple(host for host in self.allocated if host not in self.bad)

    @property
    def restarts_left(self) -> int:
        """How many more restarts are allowed before the next commit."""
        return max(0, self.rules.max_restarts - self.restarts)

    def without(self, host: str, reason: str) -> "State":
        """Return the state with one more excluded node."""
        rest = tuple(pair for pair in self.excluded if pair[0] != host)
        return replace(self, excluded=(*rest, (host, reason)), forgivable=self.forgivable - {host})


# -- events -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Booted:
    """The run directory is ours and its ledger is read."""

    allocated: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """This start is not wanted: the run is complete, or another job goes on with it."""

    what: Literal["completed", "superseded"]
    reason: str


@dataclass(frozen=True)
class Checked:
    """The nodes have said how they are; ``bad`` holds those not to use, each with the reason."""

    bad: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Tracked:
    """The program has a Session: it tells of its steps and checkpoints."""


@dataclass(frozen=True)
class Committed:
    """A checkpoint is whole and durable."""

    step: int


@dataclass(frozen=True)
class NodeLost:
    """A node does not answer any more."""

    host: str
    reason: str


@dataclass(frozen=True)
class NodeBack:
    """A node that was lost answers again."""

    host: str


@dataclass(frozen=True)
class Hung:
    """Nothing goes on any more; ``hosts`` are those whose ranks are furthest behind."""

    hosts: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Warned:
    """The end comes: the job's time limit, or somebody's warning signal."""

    why: str
    deadline: float | None


@dataclass(frozen=True)
class Terminated:
    """A bare TERM: preemption, scancel, or Slurm's own reaction to a lost node."""

    deadline: float


@dataclass(frozen=True)
class TimeIsUp:
    """The ranks were told to stop, still run, and Slurm is about to kill everything."""


@dataclass(frozen=True)
class Ended:
    """The attempt is over.

    Attributes:
        kind: why.
        reason: in one sentence.
        code: the launcher's exit code.
        key: what two failures of the program have in common: exception, frame and step.
        host: where it began; empty when that does not matter.
    """

    kind: Kind
    reason: str = ""
    code: int = 0
    key: str = ""
    host: str = ""


@dataclass(frozen=True)
class Refused:
    """Slurm did not take the successor or the requeue."""

    how: HandOver
    reason: str


@dataclass(frozen=True)
class Superseded:
    """Another life of the job has taken the run over."""

    reason: str


Event: TypeAlias = (
    Booted
    | Found
    | Checked
    | Tracked
    | Committed
    | NodeLost
    | NodeBack
    | Hung
    | Warned
    | Terminated
    | TimeIsUp
    | Ended
    | Refused
    | Superseded
)


# -- actions --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CheckNodes:
    """Start the agents, let them check their nodes, and tell what they found."""


@dataclass(frozen=True)
class Exclude:
    """Write down that a node is not used any more."""

    host: str
    reason: str


@dataclass(frozen=True)
class Decide:
    """Write down what was decided, and why.

    Attributes:
        choice: what is done.
        reason: why, in a sentence.
        state: what is known after the decision.
    """

    choice: Choice
    reason: str
    state: State


@dataclass(frozen=True)
class Launch:
    """Start the program on these nodes."""

    nodes: tuple[str, ...]


@dataclass(frozen=True)
class DumpStacks:
    """Save the Python stacks of every rank."""


@dataclass(frozen=True)
class Cancel:
    """End the running step at once; do not wait for nodes that do not answer."""


@dataclass(frozen=True)
class TellStop:
    """Tell the ranks to save and to stop before the deadline."""

    why: str
    deadline: float | None
    relay: bool


@dataclass(frozen=True)
class SubmitSuccessor:
    """Submit the same script for the same run, without these nodes."""

    exclude: tuple[str, ...]


@dataclass(frozen=True)
class Requeue:
    """Let Slurm start this job again; this ends the supervisor, so it comes last."""


@dataclass(frozen=True)
class Finish:
    """End with this exit code.

    Attributes:
        code: what the batch script returns.
        completed: the run is complete: a later start has nothing to do.
        again: the run goes on elsewhere: what it needs must stay.
    """

    code: int
    completed: bool = False
    again: bool = False


Action: TypeAlias = (
    CheckNodes
    | Exclude
    | Decide
    | Launch
    | DumpStacks
    | Cancel
    | TellStop
    | SubmitSuccessor
    | Requeue
    | Finish
)
