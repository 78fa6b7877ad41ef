"""When a node is drained and when it is put back: decisions from values to values.

Four rules hold whatever happens: only a drain of our own is ever lifted; a node that somebody else
has drained is not touched; no more than a share of all nodes is drained by us at once; and a node
that goes to and fro has to be well for longer each time.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from slurmkit.health.config import DrainLimits
from slurmkit.health.reason import is_ours, make_reason
from slurmkit.health.refusals import Refusal
from slurmkit.health.verdict import Verdict
from slurmkit.record import Record

#: What Slurm writes when a prolog fails (seen on 22.05 and 26.05).
PROLOG_REASON = "Prolog error"
#: Reason and refusal are written by two programs, within seconds of each other.
SAME_EVENT_S = 60.0
_DAY_S = 86400.0
_MOST_DOUBLINGS = 6
# Nodes in these states take no jobs anyway; draining them would only hide why.
_AWAY = frozenset(
    {"DOWN", "FAIL", "FUTURE", "POWERED_DOWN", "POWERING_DOWN", "POWER_DOWN", "REBOOT_ISSUED"}
)

NOTHING, DRAIN, ADOPT, UNDRAIN, HELD = "nothing", "drain", "adopt", "undrain", "held"


class NodeView(Record):
    """What Slurm says of a node.

    Attributes:
        name: the node.
        flags: its state and flags, such as IDLE and DRAIN.
        reason: why it is drained; empty for no reason.
        reason_at: when that was written, Unix seconds; 0 when unknown.
    """

    name: str
    flags: frozenset[str] = frozenset()
    reason: str = ""
    reason_at: float = 0.0

    @property
    def drained(self) -> bool:
        """Whether it takes no new jobs, by somebody's decision."""
        return "DRAIN" in self.flags

    @property
    def ours(self) -> bool:
        """Whether it is drained by us, and nobody has changed that since."""
        return self.drained and is_ours(self.name, self.reason)


class Memory(Record):
    """What the health program of a node remembers from one run to the next.

    Attributes:
        fails: how often in a row each check has failed, by id.
        passes: how often in a row nothing has failed that keeps jobs from the node.
        drained: the reason of our drain that stands; empty for none.
        causes: the checks that caused it.
        drains: when we have drained the node, in the last day.
        lifted_at: when somebody else lifted our drain; 0 for never.
        lifted: the checks for which it was.
    """

    fails: Mapping[str, int] = {}
    passes: int = 0
    drained: str = ""
    causes: tuple[str, ...] = ()
    drains: tuple[float, ...] = ()
    lifted_at: float = 0.0
    lifted: tuple[str, ...] = ()

    def fields(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "fails": dict(self.fails),
            "passes": self.passes,
            "drained": self.drained,
            "causes": list(self.causes),
            "drains": list(self.drains),
            "lifted_at": self.lifted_at,
            "lifted": list(self.lifted),
        }


def memory_of(fields: Mapping[str, Any]) -> Memory:
    """Return the memory that ``fields`` gave; a new one when it makes no sense."""
    try:
        return Memory(
            fails={str(name): int(count) for name, count in fields["fails"].items()},
            passes=int(fields["passes"]),
            drained=str(fields["drained"]),
            causes=tuple(map(str, fields["causes"])),
            drains=tuple(map(float, fields["drains"])),
            lifted_at=float(fields["lifted_at"]),
            lifted=tuple(map(str, fields["lifted"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return Memory()


class Decision(Record):
    """What to do with a node now.

    Attributes:
        action: nothing, drain, adopt (give Slurm's own drain our reason), undrain, or held (a
            drain that is due and must not be).
        why: in words, for people.
        reason: for drain and adopt, what to write; for undrain, what must stand there still.
        evict: whether jobs on the node are to be ended, too.
        causes: the checks behind it.
    """

    action: str
    why: str = ""
    reason: str = ""
    evict: bool = False
    causes: tuple[str, ...] = ()


def decide(
    node: NodeView,
    verdicts: Sequence[Verdict],
    memory: Memory,
    limits: DrainLimits,
    now: float,
) -> tuple[Decision, Memory]:
    """Return what to do with a node, and what to remember; the share is looked at by ``confirm``.

    Args:
        node: what Slurm says of it.
        verdicts: what its checks say now.
        memory: from the run before.
        limits: how readily nodes are drained.
        now: Unix seconds.
    """
    bad = [verdict for verdict in verdicts if verdict.drains]
    fails = {verdict.check: memory.fails.get(verdict.check, 0) + 1 for verdict in bad}
    ripe = [verdict for verdict in bad if fails[verdict.check] >= limits.fail_after]
    memory = memory.replace(
        fails=fails,
        # What only refuses jobs does not drain, but a node that was drained by the prolog is not
        # well while its next job would be refused again.
        passes=0 if any(verdict.refuses for verdict in verdicts) else memory.passes + 1,
        drains=tuple(at for at in memory.drains if now - at < _DAY_S),
    )
    if node.drained:
        return _drained(node, ripe, memory, limits)
    memory = _forget_lifted(memory, limits, now)
    if memory.drained:
        # It is gone, and it was not us: somebody wants this node, in spite of what we found.
        memory = memory.replace(
            drained="", causes=(), lifted_at=now, lifted=memory.causes, fails={}, passes=0
        )
        return Decision(NOTHING, "somebody has put the node back"), memory
    if not ripe:
        return Decision(NOTHING, "nothing is wrong" if not bad else "not often enough yet"), memory
    words = "; ".join(f"{verdict.check}: {verdict.detail}" for verdict in ripe)
    causes = tuple(verdict.check for verdict in ripe)
    if away := node.flags & _AWAY:
        return Decision(NOTHING, f"the node is {'+'.join(sorted(away))}: {words}"), memory
    if memory.lifted_at and set(causes) <= set(memory.lifted):
        return Decision(HELD, f"somebody has put the node back in spite of {words}"), memory
    evict = any(verdict.evicts for verdict in ripe)
    return Decision(DRAIN, words, make_reason(node.name, words), evict, causes), memory


def _drained(
    node: NodeView, ripe: Sequence[Verdict], memory: Memory, limits: DrainLimits
) -> tuple[Decision, Memory]:
    if not node.ours:
        # Theirs, or one of ours that they have made theirs.
        memory = memory.replace(drained="", causes=())
        return Decision(NOTHING, "the node is drained by somebody else"), memory
    memory = memory.replace(drained=node.reason)
    if ripe:
        words = "; ".join(f"{verdict.check}: {verdict.detail}" for verdict in ripe)
        evict = any(verdict.evicts for verdict in ripe)
        causes = tuple(verdict.check for verdict in ripe)
        # A drain that a job's preflight asked for, or whose memory was lost, has none yet.
        memory = memory.replace(causes=memory.causes or causes)
        return Decision(NOTHING, f"still {words}", evict=evict, causes=causes), memory
    if len(memory.drains) >= limits.max_drains:
        why = f"drained {len(memory.drains)} times in a day: somebody has to look at the node"
        return Decision(HELD, why), memory
    needed = needed_passes(limits, len(memory.drains))
    if memory.passes < needed:
        return Decision(NOTHING, f"well {memory.passes} of {needed} times in a row"), memory
    return Decision(UNDRAIN, "all is well again", node.reason), memory


def needed_passes(limits: DrainLimits, num_drains: int) -> int:
    """Return how often in a row a node must be well to be put back: twice as often each time."""
    doublings = min(max(0, num_drains - 1), _MOST_DOUBLINGS)
    return int(limits.pass_after * 2**doublings)


def _forget_lifted(memory: Memory, limits: DrainLimits, now: float) -> Memory:
    over = memory.lifted_at and now - memory.lifted_at >= limits.admin_s
    return memory.replace(lifted_at=0.0, lifted=()) if over else memory


def adoption(node: NodeView, refusals: Sequence[Refusal]) -> Decision | None:
    """Return how to make a drain ours that Slurm made because our prolog refused a start.

    None when it did not: then the drain is somebody else's.
    """
    if not node.drained or node.reason != PROLOG_REASON:
        return None
    for refusal in reversed(refusals):
        if abs(node.reason_at - refusal.at) <= SAME_EVENT_S:
            reason = make_reason(node.name, refusal.words)
            causes = tuple(
                part.partition(":")[0] for part in refusal.words.split("; ") if ":" in part
            )
            return Decision(ADOPT, f"the prolog refused: {refusal.words}", reason, causes=causes)
    return None


def most_drained(limits: DrainLimits, num_nodes: int) -> int:
    """Return how many of so many nodes may be drained by us at once."""
    return max(limits.min_nodes, math.floor(limits.max_share * num_nodes + 1e-9))


def confirm(decision: Decision, nodes: Sequence[NodeView], limits: DrainLimits) -> Decision:
    """Return the decision to drain, or that it is held because too many nodes are drained by us.

    Args:
        decision: a drain.
        nodes: all nodes of the cluster.
        limits: how readily nodes are drained.
    """
    ours, most = sum(node.ours for node in nodes), most_drained(limits, len(nodes))
    if ours < most:
        return decision
    why = f"{ours} of {len(nodes)} nodes are drained by us, {most} may be: {decision.why}"
    return Decision(HELD, why, causes=decision.causes)


def over_limit(host: str, nodes: Sequence[NodeView], limits: DrainLimits) -> bool:
    """Whether this node's drain is one too many, when several were made at the same moment.

    All nodes come to the same answer: the drains that were made first stay.
    """
    ours = sorted((node.reason_at, node.name) for node in nodes if node.ours)
    beyond = ours[most_drained(limits, len(nodes)) :]
    return host in {name for _at, name in beyond}


def still_so(decision: Decision, node: NodeView) -> bool:
    """Whether what was decided may be done to a node that has just been looked at again."""
    if decision.action == UNDRAIN:
        return node.ours and node.reason == decision.reason
    if decision.action == ADOPT:
        return node.drained and node.reason == PROLOG_REASON
    return decision.action == DRAIN and not node.drained


def after(decision: Decision, memory: Memory, now: float) -> Memory:
    """Return the memory once a decision has been carried out."""
    if decision.action in (DRAIN, ADOPT):
        return memory.replace(
            drained=decision.reason, causes=decision.causes, drains=(*memory.drains, now), passes=0
        )
    if decision.action == UNDRAIN:
        return memory.replace(drained="", causes=(), fails={}, passes=0)
    return memory
