"""What ended an attempt: from everything that is known afterwards to one kind of failure. Pure.

The kind decides what follows (see ``policy``): an application failure that repeats without a new
commit stops the run, a transient one starts it again, a node's failure leaves the node out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from slurmkit.errors import EXIT_STOPPED
from slurmkit.health.verdict import FAIL, Verdict
from slurmkit.launch.outcome import TaskExit, is_killing, lost_peer
from slurmkit.supervise.agent_events import AgentLost, Hang
from slurmkit.supervise.failure_patterns import APPLICATION, MEMORY, NODE, TRANSIENT, find

Kind = Literal[
    "application",
    "transient",
    "node",
    "memory",
    "hang",
    "stopped",
    "preempted",
    "timeout",
    "cancelled",
]
# What Slurm does with the job (slurmkit.supervise.ending), where that is the whole story.
_BY_STATE: dict[str, Kind] = {
    "cancelled": "cancelled",
    "timeout": "timeout",
    "preempted": "preempted",
    "requeued": "preempted",
    "node_fail": "node",
}
# The likeliest cause of all first: what follows from it comes later.
_WEIGHT = {NODE: 0, MEMORY: 1, APPLICATION: 2, "signal": 3, TRANSIENT: 4, "consequence": 5}
# A signal that a program gets for its own mistake (signal(7)); others come from outside.
_OWN_SIGNALS = frozenset({"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGSYS", "SIGTRAP"})
_TRACEBACK = "Traceback (most recent call last):"
_PREFIX = re.compile(r"^\[(?:rank|default)?\d+\]:\s?")
_FRAME = re.compile(r'^\s+File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>\S+))?')
_EXCEPTION = re.compile(r"^(?P<name>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$")
_MAX_REASON = 600


@dataclass(frozen=True)
class Failure:
    """Why an attempt ended.

    Attributes:
        kind: what sort of failure it is.
        key: what makes two failures the same one.
        host: the node it is about; empty when none is to blame.
        reason: a sentence for people.
        rank: the rank that failed first; None when unknown.
        hosts: all nodes to leave out, when there are several.
    """

    kind: Kind
    key: str
    host: str = ""
    reason: str = ""
    rank: int | None = None
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """All that is known when an attempt has ended.

    Attributes:
        exits: tasks that failed, in the order in which the launcher named them.
        tails: the end of each rank's log by rank.
        launcher: the end of the launcher's own log.
        exit_code: the launcher's, as a shell has it.
        verdicts: what checks of nodes found, by host.
        lost: nodes that stopped answering.
        hang: that nothing went on any more, if that is why the attempt was ended.
        slurm_state: what Slurm is doing with the job: cancelled, timeout, preempted, requeued,
            node_fail, or empty.
        step: the last step that all ranks had done; None when unknown.
        told_to_stop: whether the ranks had been told to save and stop.
        failed_at: the step of each rank that told of its own exception; more exact than ``step``.
    """

    exits: Sequence[TaskExit] = ()
    tails: Mapping[int, str] = field(default_factory=dict)
    launcher: str = ""
    exit_code: int = 1
    verdicts: Mapping[str, Sequence[Verdict]] = field(default_factory=dict)
    lost: Sequence[AgentLost] = ()
    hang: Hang | None = None
    slurm_state: str = ""
    step: int | None = None
    told_to_stop: bool = False
    failed_at: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Raised:
    """An uncaught Python exception.

    Attributes:
        name: its class, such as ``ValueError``.
        frame: where it was raised, such as ``train.py:12 in step``.
        message: its first line.
        words: the message with all its lines.
    """

    name: str
    frame: str
    message: str
    words: str


def classify(evidence: Evidence) -> Failure:
    """Return what ended the attempt."""
    return (
        _stopped(evidence)
        or _by_slurm(evidence)
        or _by_loss(evidence)
        or _by_hang(evidence)
        or _by_ranks(evidence)
        or _by_launcher(evidence)
    )


def _stopped(evidence: Evidence) -> Failure | None:
    """All ranks that failed say that they saved and stopped because they were told to."""
    codes = {exit_.exit_code for exit_ in evidence.exits if not exit_.consequence}
    alone = evidence.exit_code == EXIT_STOPPED and not codes
    if codes != {EXIT_STOPPED} and not alone:
        return None
    reason = "all ranks saved and stopped, as they were told to"
    state = _BY_STATE.get(evidence.slurm_state)
    if state in ("preempted", "timeout"):
        return Failure(state, state, reason=f"{reason} ({evidence.slurm_state})")
    return Failure("stopped", "stopped", reason=reason)


def _by_slurm(evidence: Evidence) -> Failure | None:
    kind = _BY_STATE.get(evidence.slurm_state)
    if kind is None:
        return None
    if kind == "node":
        hosts = _lost_hosts(evidence)
        host = hosts[0] if hosts else ""
        where = f"Slurm has lost {', '.join(hosts)}" if hosts else "Slurm has lost a node"
        return Failure(kind, "node-failure", host, where, hosts=hosts)
    words = {
        "cancelled": "the job was cancelled",
        "timeout": "the job's time was over",
        "preempted": "Slurm took the nodes for another job, or requeued this one",
    }
    return Failure(kind, kind, reason=words[kind])


def _by_loss(evidence: Evidence) -> Failure | None:
    if not evidence.lost:
        return None
    hosts = _lost_hosts(evidence)
    first = evidence.lost[0]
    more = f" (and {len(hosts) - 1} more)" if len(hosts) > 1 else ""
    why = f": {first.why}" if first.why else ""
    reason = f"{first.host}{more} has not answered for {first.silent_s:.1f} s{why}"
    return Failure("node", "node-lost", first.host, reason, hosts=hosts)


def _lost_hosts(evidence: Evidence) -> tuple[str, ...]:
    return tuple(dict.fromkeys(loss.host for loss in evidence.lost))


def _by_hang(evidence: Evidence) -> Failure | None:
    hang = evidence.hang
    if hang is None:
        return None
    ranks = f"; behind: rank {', '.join(map(str, hang.ranks[:8]))}" if hang.ranks else ""
    reason = (
        f"{hang.what} did not come within {hang.limit_s:.0f} s"
        f" ({hang.silent_s:.0f} s waited){ranks}"
    )
    rank = hang.ranks[0] if hang.ranks else None
    return Failure("hang", f"hang at step {evidence.step}", reason=reason, rank=rank)


def _by_ranks(evidence: Evidence) -> Failure | None:
    """Judge every failed rank, and take the likeliest cause; of equals the first reported."""
    judged = [_judge(exit_, evidence) for exit_ in evidence.exits]
    if not judged:
        return None
    weight, failure = min(judged, key=lambda item: item[0])
    if weight == _WEIGHT["consequence"]:  # nobody says more than that somebody else had gone
        launcher = find(evidence.launcher)
        if launcher is not None and launcher.kind in (NODE, MEMORY):
            return _by_launcher(evidence)
    return failure


def _judge(exit_: TaskExit, evidence: Evidence) -> tuple[int, Failure]:
    """Return how likely this task's end is the cause, lowest first, and what it means."""
    text = evidence.tails.get(exit_.rank, "") if exit_.rank is not None else ""
    raised = last_exception(text)
    pattern = find(f"{text}\n{exit_.detail}", _last_words(exit_, raised, text))
    host, rank = exit_.host, exit_.rank
    sick = [item for item in evidence.verdicts.get(host, ()) if item.verdict == FAIL]
    if pattern is not None and pattern.kind == NODE:
        reason = _said(exit_, f"{pattern.means}: {_own_words(exit_, raised)}")
        return _WEIGHT[NODE], Failure("node", pattern.id, host, reason, rank, (host,))
    unexplained = pattern is None and raised is None
    if sick and (unexplained or (pattern is not None and pattern.kind == TRANSIENT)):
        bad = next((item for item in sick if item.drains), sick[0])
        reason = _said(exit_, f"the check {bad.check} of its node fails: {bad.detail}")
        return _WEIGHT[NODE], Failure("node", bad.check, host, reason, rank, (host,))
    if pattern is not None and pattern.kind == MEMORY:
        key = f"{pattern.id} at {raised.frame}" if raised else pattern.id
        reason = _said(exit_, f"{pattern.means}: {_own_words(exit_, raised)}")
        return _WEIGHT[MEMORY], Failure("memory", key, host, reason, rank)
    if pattern is not None and pattern.kind == TRANSIENT:
        reason = _said(exit_, f"{pattern.means}: {_own_words(exit_, raised)}")
        after = exit_.consequence or lost_peer(exit_)
        weight = _WEIGHT["consequence" if after else TRANSIENT]
        return weight, Failure("transient", pattern.id, "", reason, rank)
    return _own_fault(exit_, raised, evidence)


def _own_fault(exit_: TaskExit, raised: Raised | None, evidence: Evidence) -> tuple[int, Failure]:
    rank = exit_.rank
    if raised is not None and raised.name not in ("SystemExit", "KeyboardInterrupt"):
        weight = _WEIGHT["consequence" if exit_.consequence else APPLICATION]
        step = evidence.step if rank is None else evidence.failed_at.get(rank, evidence.step)
        key = f"{raised.name} at {raised.frame}, step {step}"
        return weight, Failure("application", key, "", _said(exit_, exit_.reason), rank)
    if is_killing(exit_):
        # Nobody has a reason to kill the first task but the node, or somebody with a shell.
        kind: Kind = "transient"
        weight = _WEIGHT["consequence" if exit_.consequence else "signal"]
        return weight, Failure(kind, f"killed by {exit_.signal}", "", str(exit_), rank)
    how = exit_.signal if exit_.signal in _OWN_SIGNALS else f"exit code {exit_.shell_code}"
    weight = _WEIGHT["consequence" if exit_.consequence else APPLICATION]
    key = f"{how}, step {evidence.step}"
    return weight, Failure("application", key, "", str(exit_)[:_MAX_REASON], rank)


def _by_launcher(evidence: Evidence) -> Failure:
    """No task is known to have failed: the launcher's own words are all there is."""
    pattern = find(evidence.launcher)
    last = "\n".join(evidence.launcher.strip().splitlines()[-3:])[:_MAX_REASON]
    if pattern is not None and pattern.kind != APPLICATION:
        kind: Kind = "node" if pattern.kind == NODE else "transient"
        if pattern.kind == MEMORY:
            kind = "memory"
        return Failure(kind, pattern.id, "", f"{pattern.means}: {last}")
    key = f"launcher exit code {evidence.exit_code}, step {evidence.step}"
    reason = last or f"the launcher ended with code {evidence.exit_code} and said nothing"
    return Failure("application", key, "", reason)


def _last_words(exit_: TaskExit, raised: Raised | None, text: str) -> str | None:
    """Return what may decide: of a traceback the exception alone, else the last lines."""
    if raised is not None:
        return f"{raised.name}: {raised.words}\n{exit_.detail}"
    if text:
        return None
    return f"{exit_.reason}\n{exit_.detail}"


def _own_words(exit_: TaskExit, raised: Raised | None) -> str:
    if raised is not None:
        return f"{raised.name}: {raised.message} ({raised.frame})"
    return exit_.reason or exit_.detail or f"code {exit_.shell_code}"


def _said(exit_: TaskExit, what: str) -> str:
    who = "the command" if exit_.rank is None else f"rank {exit_.rank}"
    where = f" on {exit_.host}" if exit_.host else ""
    return f"{who}{where}: {what}"[:_MAX_REASON]


def last_exception(text: str) -> Raised | None:
    """Return the last uncaught exception of a log; None when the log does not end with one.

    Output after a traceback is common (warnings while the interpreter ends), so the last
    traceback counts, wherever it is, if its exception is complete.
    """
    lines = [_PREFIX.sub("", line.rstrip("\r")) for line in text.split("\n")]
    starts = [number for number, line in enumerate(lines) if line.strip() == _TRACEBACK]
    if not starts:
        return None
    frame = ""
    for number in range(starts[-1] + 1, len(lines)):
        line = lines[number]
        if found := _FRAME.match(line):
            function = f" in {found['function']}" if found["function"] else ""
            frame = f"{found['file']}:{found['line']}{function}"
        elif line and not line[0].isspace():
            return _raised(lines, number, frame)
    return None


def _raised(lines: Sequence[str], number: int, frame: str) -> Raised | None:
    found = _EXCEPTION.match(lines[number])
    if found is None:
        return None
    message = found["message"] or ""
    words = "\n".join([message, *lines[number + 1 : number + 12]])
    return Raised(found["name"], frame, message[:_MAX_REASON], words)


def reference_table() -> str:
    """Return the table of texts for the reference page."""
    from slurmkit.supervise.failure_patterns import PATTERNS  # noqa: PLC0415 (docs alone)

    rows = ["| id | kind | what it means | printed by |", "|---|---|---|---|"]
    rows += [f"| `{p.id}` | {p.kind} | {p.means} | {p.source} |" for p in PATTERNS]
    return "\n".join(rows)
