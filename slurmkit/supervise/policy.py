"""What to do when something happens: a pure function (state, event) -> (state, actions).

docs/explanation/recovery.md has the same as a table. There is no clock, no Slurm and no file here:
the supervisor turns what it sees into events and carries the actions out in their order.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from slurmkit.supervise.policy_values import (
    EXIT_AGAIN,
    MAX_APPLICATION_RESTARTS,
    Action,
    Booted,
    Cancel,
    Cause,
    Checked,
    CheckNodes,
    Choice,
    Committed,
    Decide,
    DumpStacks,
    Ended,
    Event,
    Exclude,
    Finish,
    Found,
    Hung,
    Launch,
    NodeBack,
    NodeLost,
    Refused,
    Requeue,
    State,
    SubmitSuccessor,
    Superseded,
    TellStop,
    Terminated,
    TimeIsUp,
    Tracked,
    Warned,
)

Result = tuple[State, list[Action]]

# How the reason of a failure looks whose traceback did not arrive whole: srun ends with the step,
# and what the failing task wrote last may then still be on its way (seen with 22.05).
_CUT_OFF = "Traceback (most recent call last):"


def decide(state: State, event: Event) -> Result:
    """Return the next state, and what is to be done, in this order.

    Args:
        state: what is known so far.
        event: what has happened.
    """
    if state.phase == "over":
        return state, []
    return _HANDLERS[type(event)](state, event)


# -- before the first launch ----------------------------------------------------------------------


def _found(state: State, event: Found) -> Result:
    # No record: what is written is complete, or another one's.
    return replace(state, phase="over"), [Finish(0, again=event.what == "superseded")]


def _booted(state: State, event: Booted) -> Result:
    state = replace(state, allocated=event.allocated)
    if state.rules.remedies:
        return replace(state, phase="preflight"), [CheckNodes()]
    # One attempt, on the nodes that the script says.
    return replace(state, phase="run", nodes=event.allocated), [Launch(event.allocated)]


def _checked(state: State, event: Checked) -> Result:
    if state.phase != "preflight":
        return state, []
    actions: list[Action] = []
    bad_now = {host for host, _ in event.bad}
    for host, reason in event.bad:
        state, actions = state.without(host, reason), [*actions, Exclude(host, reason)]
    if state.stopping:  # Slurm has ended the job before it began
        state, more = _hand_over(state, f"{state.stopping} before the start")
        return state, [*actions, *more]
    wanted = state.rules.num_nodes
    state = _forgive(replace(state, forgivable=state.forgivable - bad_now))
    if len(state.healthy) >= wanted:
        # Not a restart: this attempt is what the job was started for.
        nodes = state.healthy[:wanted]
        return _launching(state, nodes), [*actions, Launch(nodes)]
    reason = f"{len(state.healthy)} of {len(state.allocated)} nodes are usable, {wanted} are needed"
    state, more = _without_enough(state, reason)
    return state, [*actions, *more]


# -- while the program runs -----------------------------------------------------------------------


def _committed(state: State, event: Committed) -> Result:
    if state.committed is not None and event.step <= state.committed:
        return state, []
    # Progress: the budget refills, and what failed before is forgotten.
    state = replace(
        state, committed=event.step, restarts=0, application_restarts=0, keys=(), full_reason=""
    )
    return replace(state, tracked=True), []


def _tracked(state: State, _event: Tracked) -> Result:
    return replace(state, tracked=True), []


def _node_lost(state: State, event: NodeLost) -> Result:
    if event.host in state.bad or event.host not in state.allocated or not state.rules.remedies:
        return state, []
    state = state.without(event.host, event.reason)
    actions: list[Action] = [Exclude(event.host, event.reason)]
    if state.phase != "run" or event.host not in state.nodes:
        return state, actions  # a spare, or the step is being cancelled anyway
    cause = Cause("node", event.host, event.reason)
    return replace(state, phase="cancel", cause=cause), [*actions, Cancel()]


def _node_back(state: State, event: NodeBack) -> Result:
    # It is not trusted before it is needed: what made it silent may come back, too.
    known = event.host in state.bad
    return (replace(state, forgivable=state.forgivable | {event.host}) if known else state), []


def _hung(state: State, event: Hung) -> Result:
    if state.phase != "run" or not state.rules.remedies:
        return state, []
    actions: list[Action] = []
    # Ranks that all wait for each other tell nothing about one node.
    hosts = tuple(host for host in event.hosts if host in state.nodes)
    suspects = hosts if len(set(hosts)) < len(state.nodes) else ()
    for host in dict.fromkeys(suspects):
        if host in state.blamed:
            reason = "its ranks were behind in two hangs"
            state = state.without(host, reason)
            actions.append(Exclude(host, reason))
    state = replace(state, blamed=state.blamed | set(suspects), phase="cancel")
    cause = Cause("hang", suspects[0] if suspects else "", event.reason)
    return replace(state, cause=cause), [*actions, DumpStacks(), Cancel()]


def _warned(state: State, event: Warned) -> Result:
    return _stop(state, event.why, event.deadline, again=True, relay=True)


def _terminated(state: State, event: Terminated) -> Result:
    # Slurm gives TERM to the ranks itself. Whether to go on elsewhere shows when they have ended.
    return _stop(state, "termination", event.deadline, again=False, relay=False)


def _stop(state: State, why: str, deadline: float | None, *, again: bool, relay: bool) -> Result:
    if state.phase not in ("preflight", "run", "cancel"):
        return state, []
    known = [limit for limit in (state.deadline, deadline) if limit is not None]
    sooner = min(known, default=None)
    if state.stopping and sooner == state.deadline:
        return state, []  # a second signal never starts a second save
    told = state.phase == "run" and bool(state.rules.remedies)
    relay = relay and not state.stopping
    state = replace(
        state, stopping=state.stopping or why, deadline=sooner, again=state.again or again
    )
    return state, [TellStop(why, sooner, relay)] if told else []


def _time_is_up(state: State, _event: TimeIsUp) -> Result:
    if state.phase != "run" or not state.stopping:
        return state, []
    return replace(state, phase="cancel"), [Cancel()]


# -- after an attempt -----------------------------------------------------------------------------


def _ended(state: State, event: Ended) -> Result:
    if state.phase not in ("run", "cancel"):
        return state, []
    cause, state = state.cause, replace(state, cause=None)
    if not state.rules.remedies:
        if event.kind == "preempted" and event.code == EXIT_AGAIN:
            # Slurm starts again what it has killed itself, and not what has ended by then.
            stopping = state.stopping or "preemption"
            return replace(state, phase="hand-over", stopping=stopping), [Requeue()]
        again = event.kind in ("requeued", "preempted")
        code = 0 if event.kind == "done" else event.code or 1
        return replace(state, phase="over"), [Finish(code, again=again)]
    if event.kind == "done":
        return _finish(state, "done", "the program has ended well", Finish(0, completed=True))
    if event.kind == "cancelled":
        reason = "the job was cancelled: a cancelled job is not started again"
        return _finish(state, "stop", reason, Finish(event.code or 1))
    if event.kind == "requeued":
        reason = "Slurm itself starts the job again"
        return _finish(state, "requeue", reason, Finish(EXIT_AGAIN, again=True))
    if cause is not None:
        event = Ended(cause.kind, cause.reason, event.code, host=cause.host)
    if state.again or event.kind in ("preempted", "timeout"):
        why = f"{state.stopping} has come" if state.again else event.reason
        return _hand_over(state, why)
    if state.stopping or event.kind == "stopped":
        reason = "it was asked to stop and did; `slurmkit resume` lets it go on"
        return _finish(state, "stop", reason, Finish(EXIT_AGAIN))
    return _failed(state, event)


def _failed(state: State, event: Ended) -> Result:
    """Decide after a failure: nobody has asked the attempt to end."""
    if event.kind in ("application", "memory"):
        return _application(state, event)
    if event.kind == "node" and event.host and event.host not in state.bad:
        state = state.without(event.host, event.reason)
        state, actions = _again(state, event.reason)
        return state, [Exclude(event.host, event.reason), *actions]
    return _again(state, event.reason)


def _application(state: State, event: Ended) -> Result:
    """Let a program that failed by itself try again, unless it fails the same way."""
    said = _whole(state, event.reason)
    if event.key and event.key in state.keys:
        reason = f"the same failure again, with no checkpoint in between: {said}"
        return _finish(state, "stop", reason, Finish(1))
    if state.application_restarts >= MAX_APPLICATION_RESTARTS:
        reason = (
            f"{state.application_restarts + 1} failures of the program without a new checkpoint;"
            f" the last: {said}"
        )
        return _finish(state, "stop", reason, Finish(1))
    state = replace(
        state,
        full_reason=state.full_reason if _CUT_OFF in event.reason else event.reason,
        keys=(*state.keys, event.key) if event.key else state.keys,
        application_restarts=state.application_restarts + 1,
    )
    return _again(state, event.reason)


def _whole(state: State, reason: str) -> str:
    """Return a reason that names the exception, be it that of the failure before."""
    if _CUT_OFF not in reason or not state.full_reason:
        return reason
    return f"{reason} [the rest was lost] The failure before: {state.full_reason}"


def _again(state: State, reason: str) -> Result:
    """Start the program again: on the same nodes where all are usable, else as the remedies say."""
    if not state.restarts_left:
        reason = (
            f"{state.restarts} restarts without a new checkpoint are what the job allows;"
            f" the last failure: {reason}"
        )
        return _finish(state, "stop", reason, Finish(1))
    if state.nodes and all(host in state.healthy for host in state.nodes):
        return _relaunch(state, "relaunch", f"{reason}: once more on the same nodes", state.nodes)
    return _without_enough(state, reason)


def _without_enough(state: State, reason: str) -> Result:
    """Try the remedies in their order: the nodes of the last launch are not all usable any more."""
    rules = state.rules
    state = _forgive(state)
    if state.nodes and all(host in state.healthy for host in state.nodes):
        return _relaunch(state, "relaunch", f"{reason}; all nodes are back", state.nodes)
    for remedy in rules.remedies:
        if remedy == "spare" and rules.can_move and len(state.healthy) >= rules.num_nodes:
            nodes = _chosen(state)
            spares = ", ".join(host for host in nodes if host not in state.nodes)
            return _relaunch(state, "spare", f"{reason}: {spares or 'a spare'} steps in", nodes)
        if remedy == "shrink" and rules.can_move and len(state.healthy) >= rules.min_nodes:
            nodes = _chosen(state)
            few = f"{reason}: on with {len(nodes)} of {rules.num_nodes} nodes"
            return _relaunch(state, "shrink", few, nodes)
        if remedy in ("successor", "requeue") and remedy not in state.refused:
            return _hand_over(state, reason)
        if remedy == "stop":
            break
    return _finish(state, "stop", f"{reason}: nothing more to try", Finish(1))


def _forgive(state: State) -> State:
    """Take nodes back that have come back, where there are too few without them."""
    if len(state.healthy) >= state.rules.num_nodes or not state.forgivable:
        return state
    kept = tuple(pair for pair in state.excluded if pair[0] not in state.forgivable)
    return replace(state, excluded=kept, forgivable=frozenset())


def _chosen(state: State) -> tuple[str, ...]:
    """Return the nodes of the next launch: those it had, and as few others as possible."""
    keep = [host for host in state.healthy if host in state.nodes]
    others = [host for host in state.healthy if host not in state.nodes]
    chosen = {*keep, *others[: max(0, state.rules.num_nodes - len(keep))]}
    return tuple(host for host in state.healthy if host in chosen)[: state.rules.num_nodes]


def _hand_over(state: State, reason: str) -> Result:
    """Let another job go on with the run, by the first way that the job allows."""
    # Of a program that shows no progress, reaching the time limit is all that can be seen of it.
    free = state.again and not state.tracked
    if not (free or state.restarts_left):
        reason = f"{state.restarts} restarts without a new checkpoint are what the job allows"
        return _finish(state, "stop", reason, Finish(1))
    for remedy in state.rules.remedies:
        if remedy == "stop":
            break
        if remedy in state.refused:
            continue
        handing = replace(state, phase="hand-over", restarts=state.restarts + (not free))
        if remedy == "successor":
            decision = _decision(handing, remedy, f"{reason}: a successor job goes on")
            return handing, [decision, SubmitSuccessor(state.bad)]
        if remedy == "requeue":
            decision = _decision(handing, remedy, f"{reason}: Slurm starts the job again")
            return handing, [decision, Requeue()]
    code = EXIT_AGAIN if state.stopping else 1
    words = f"{reason}: the job file names no way to go on in another job"
    if state.refused:
        words = f"{reason}: Slurm refused {' and '.join(sorted(state.refused))}"
    return _finish(state, "stop", words, Finish(code))


def _refused(state: State, event: Refused) -> Result:
    if state.phase != "hand-over":
        return state, []
    state = replace(state, refused=state.refused | {event.how}, restarts=max(0, state.restarts - 1))
    return _hand_over(state, event.reason)


def _superseded(state: State, _event: Superseded) -> Result:
    # Whatever is written now would be another one's: no record, no restart.
    running = state.phase in ("run", "cancel")
    state = replace(state, phase="over")
    return state, [*([Cancel()] if running else []), Finish(1, again=True)]


# -- helpers --------------------------------------------------------------------------------------


def _relaunch(state: State, choice: Choice, reason: str, nodes: tuple[str, ...]) -> Result:
    state = _launching(replace(state, restarts=state.restarts + 1), nodes)
    return state, [_decision(state, choice, reason), Launch(nodes)]


def _launching(state: State, nodes: tuple[str, ...]) -> State:
    return replace(state, phase="run", nodes=nodes)


def _finish(state: State, choice: Choice, reason: str, finish: Finish) -> Result:
    state = replace(state, phase="over")
    return state, [_decision(state, choice, reason), finish]


def _decision(state: State, choice: Choice, reason: str) -> Decide:
    return Decide(choice, reason, state)


_HANDLERS: dict[type, Callable[[State, Any], Result]] = {
    Booted: _booted,
    Found: _found,
    Checked: _checked,
    Tracked: _tracked,
    Committed: _committed,
    NodeLost: _node_lost,
    NodeBack: _node_back,
    Hung: _hung,
    Warned: _warned,
    Terminated: _terminated,
    TimeIsUp: _time_is_up,
    Ended: _ended,
    Refused: _refused,
    Superseded: _superseded,
}
