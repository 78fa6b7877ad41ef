"""The failure policy: every row of recovery.md's table, and laws that hold for any history."""

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmkit.supervise.options import Remedy
from slurmkit.supervise.policy import decide
from slurmkit.supervise.policy_values import (
    EXIT_AGAIN,
    Action,
    Booted,
    Cancel,
    Cause,
    Checked,
    CheckNodes,
    Committed,
    Decide,
    DumpStacks,
    Ended,
    Event,
    Exclude,
    Finish,
    Found,
    Hung,
    Kind,
    Launch,
    NodeBack,
    NodeLost,
    Refused,
    Requeue,
    Rules,
    State,
    SubmitSuccessor,
    Superseded,
    TellStop,
    Terminated,
    TimeIsUp,
    Tracked,
    Warned,
)

ALL: tuple[Remedy, ...] = ("spare", "shrink", "successor", "requeue")
RULES = Rules(remedies=ALL, num_nodes=2, min_nodes=1, max_restarts=5)
RUN = State(RULES, "run", allocated=("n1", "n2", "n3"), nodes=("n1", "n2"))
NO_SPARE = replace(RUN, allocated=("n1", "n2"))
BUG = Ended("application", "rank 1: ValueError: boom", 1, key="ValueError at train.py:3, step 7")
LOST = Cause("node", "n2", "n2 was silent")


def _only(remedies: tuple[Remedy, ...], state: State = RUN) -> State:
    return replace(state, rules=replace(RULES, remedies=remedies))


def _lost(state: State, host: str = "n2") -> tuple[State, list[Action]]:
    """Lose a node and let the step that is cancelled for it end."""
    state, before = decide(state, NodeLost(host, f"{host} was silent"))
    state, after = decide(state, Ended("node", code=137))
    return state, [*before, *after]


def _choices(actions: list[Action]) -> list[str]:
    return [action.choice for action in actions if isinstance(action, Decide)]


def _without_words(actions: list[Action]) -> list[Action]:
    return [action for action in actions if not isinstance(action, Decide)]


# -- one test per row of the table ----------------------------------------------------------------


def test_boot_without_remedies_is_one_attempt() -> None:
    state, actions = decide(State(Rules()), Booted(("n1", "n2")))
    assert actions == [Launch(("n1", "n2"))]
    for event in (BUG, Ended("transient", code=3), Ended("stopped", code=75)):
        over, actions = decide(state, event)
        assert (over.phase, actions) == ("over", [Finish(event.code)])


def test_boot_of_a_complete_run_ends_at_once() -> None:
    state, actions = decide(State(RULES), Found("completed", "the run is complete"))
    assert (state.phase, actions) == ("over", [Finish(0)])


def test_boot_of_a_job_that_handed_over_leaves_the_run_alone() -> None:
    _, actions = decide(State(RULES), Found("superseded", "job 9 goes on"))
    assert actions == [Finish(0, again=True)]


def test_preflight_passed() -> None:
    state, actions = decide(State(RULES), Booted(("n1", "n2", "n3")))
    assert (state.phase, actions) == ("preflight", [CheckNodes()])
    state, actions = decide(state, Checked())
    assert (state.phase, actions) == ("run", [Launch(("n1", "n2"))])
    assert state.restarts == 0


def test_preflight_with_a_bad_node_takes_a_spare() -> None:
    state, _ = decide(State(RULES), Booted(("n1", "n2", "n3")))
    state, actions = decide(state, Checked((("n1", "no GPU"),)))
    assert actions == [Exclude("n1", "no GPU"), Launch(("n2", "n3"))]


def test_preflight_below_quorum_goes_to_a_successor() -> None:
    state, _ = decide(
        State(replace(RULES, remedies=("successor", "requeue"))), Booted(("n1", "n2"))
    )
    _, actions = decide(state, Checked((("n1", "no GPU"),)))
    assert _without_words(actions) == [Exclude("n1", "no GPU"), SubmitSuccessor(("n1",))]


def test_a_node_of_an_earlier_life_is_used_again_only_where_it_is_needed() -> None:
    past = State(RULES, excluded=(("n1", "lost"),), forgivable=frozenset({"n1"}))
    state, _ = decide(past, Booted(("n1", "n2", "n3")))
    assert decide(state, Checked())[1] == [Launch(("n2", "n3"))]
    state, _ = decide(past, Booted(("n1", "n2")))
    assert decide(state, Checked())[1] == [Launch(("n1", "n2"))]
    _, actions = decide(state, Checked((("n1", "still bad"),)))
    assert _choices(actions) == ["shrink"]


def test_a_warning_is_passed_on_with_its_deadline() -> None:
    state, actions = decide(RUN, Warned("the time limit", 1000.0))
    assert actions == [TellStop("the time limit", 1000.0, relay=True)]
    assert state.again


def test_a_bare_term_is_no_reason_to_go_on() -> None:
    state, actions = decide(RUN, Terminated(30.0))
    assert actions == [TellStop("termination", 30.0, relay=False)]
    _, actions = decide(state, Ended("stopped", code=75))
    assert _without_words(actions) == [Finish(EXIT_AGAIN)]


def test_a_second_signal_only_shortens_the_deadline() -> None:
    state, _ = decide(RUN, Warned("the time limit", 1000.0))
    assert decide(state, Warned("the time limit", 1000.0))[1] == []
    assert decide(state, Warned("the time limit", 2000.0))[1] == []
    state, actions = decide(state, Terminated(500.0))
    assert actions == [TellStop("termination", 500.0, relay=False)]
    assert state.again  # the time limit was first: TERM does not make it a cancellation


@pytest.mark.parametrize(
    ("remedies", "action"),
    [
        (ALL, SubmitSuccessor(())),
        (("requeue", "successor"), Requeue()),
        (("requeue",), Requeue()),
        (("spare",), Finish(EXIT_AGAIN)),
        (("stop",), Finish(EXIT_AGAIN)),
    ],
)
def test_the_time_limit_after_a_commit_goes_on_elsewhere(
    remedies: tuple[Remedy, ...], action: Action
) -> None:
    state, _ = decide(_only(remedies), Warned("the time limit", 1000.0))
    state, _ = decide(state, Committed(7))
    _, actions = decide(state, Ended("stopped", "saved", 75))
    assert actions[-1] == action
    assert isinstance(actions[-2], Decide)  # the ledger first, the hand-over last


def test_time_is_up_before_the_ranks_have_stopped() -> None:
    assert decide(RUN, TimeIsUp())[1] == []
    state, _ = decide(RUN, Warned("the time limit", 1000.0))
    state, actions = decide(state, TimeIsUp())
    assert actions == [Cancel()]
    assert decide(state, Ended("stopped", code=137))[1][-1] == SubmitSuccessor(())


def test_preemption_goes_on_elsewhere_unless_slurm_does_it() -> None:
    state, _ = decide(_only(("requeue",)), Terminated(30.0))
    assert decide(state, Ended("preempted", code=75))[1][-1] == Requeue()
    assert decide(state, Ended("requeued", code=75))[1][-1] == Finish(EXIT_AGAIN, again=True)


def test_without_remedies_a_preempted_job_that_has_saved_is_requeued() -> None:
    """Slurm would do it, but only with a job that its KILL has to end."""
    alone = replace(_only(()), allocated=("n1", "n2"))
    state, actions = decide(alone, Ended("preempted", "Slurm preempts the job", code=75))
    assert actions == [Requeue()]
    assert decide(state, Refused("requeue", "no"))[1][-1] == Finish(EXIT_AGAIN)
    assert decide(alone, Ended("preempted", code=143))[1] == [Finish(143, again=True)]


def test_a_cancelled_job_is_never_started_again() -> None:
    for state in (RUN, decide(RUN, Terminated(30.0))[0], decide(RUN, Warned("t", 9.0))[0]):
        _, actions = decide(state, Ended("cancelled", code=143))
        assert _choices(actions) == ["stop"]
        assert actions[-1] == Finish(143)


def test_a_lost_node_is_replaced_by_a_spare() -> None:
    state, actions = _lost(RUN)
    assert _without_words(actions) == [
        Exclude("n2", "n2 was silent"),
        Cancel(),
        Launch(("n1", "n3")),
    ]
    assert _choices(actions) == ["spare"]
    assert (state.phase, state.restarts) == ("run", 1)


@pytest.mark.parametrize(
    ("remedies", "choice", "last"),
    [
        (ALL, "shrink", Launch(("n1",))),
        (("spare", "successor", "requeue"), "successor", SubmitSuccessor(("n2",))),
        (("spare", "requeue"), "requeue", Requeue()),
        (("spare",), "stop", Finish(1)),
        (("stop", "requeue"), "stop", Finish(1)),
    ],
)
def test_a_lost_node_without_a_spare(
    remedies: tuple[Remedy, ...], choice: str, last: Action
) -> None:
    _, actions = _lost(_only(remedies, NO_SPARE))
    assert (_choices(actions), actions[-1]) == ([choice], last)


def test_shrinking_stops_at_the_fewest_nodes() -> None:
    state = replace(NO_SPARE, rules=replace(RULES, min_nodes=2))
    assert _choices(_lost(state)[1]) == ["successor"]


def test_a_launcher_that_cannot_move_hands_over() -> None:
    state = replace(RUN, rules=replace(RULES, can_move=False))
    assert _choices(_lost(state)[1]) == ["successor"]


def test_a_lost_spare_ends_nothing() -> None:
    state, actions = decide(RUN, NodeLost("n3", "silent"))
    assert (state.phase, actions) == ("run", [Exclude("n3", "silent")])
    assert _choices(_lost(state)[1]) == ["shrink"]  # it is no spare any more


def test_a_second_node_lost_while_the_step_ends() -> None:
    state, _ = decide(RUN, NodeLost("n2", "silent"))
    state, actions = decide(state, NodeLost("n3", "silent"))
    assert actions == [Exclude("n3", "silent")]
    assert decide(state, Ended("node", code=137))[1][-1] == Launch(("n1",))


def test_a_node_that_comes_back_is_used_where_it_is_needed() -> None:
    state, _ = decide(NO_SPARE, NodeLost("n2", "silent"))
    state, _ = decide(state, NodeBack("n2"))
    assert state.bad == ("n2",)
    _, actions = decide(state, Ended("node", code=137))
    assert (_choices(actions), actions[-1]) == (["relaunch"], Launch(("n1", "n2")))
    state, _ = decide(decide(RUN, NodeLost("n2", "silent"))[0], NodeBack("n2"))
    assert decide(state, Ended("node", code=137))[1][-1] == Launch(("n1", "n3"))


def test_a_node_lost_while_the_ranks_stop() -> None:
    state, _ = decide(RUN, Warned("the time limit", 1000.0))
    state, actions = _lost(state)
    assert actions[-1] == SubmitSuccessor(("n2",))


def test_a_hang_is_dumped_cancelled_and_started_again() -> None:
    state, actions = decide(RUN, Hung(("n2",), "no step for 60 s"))
    assert actions == [DumpStacks(), Cancel()]
    state, actions = decide(state, Ended("hang", code=137))
    assert (_choices(actions), actions[-1]) == (["relaunch"], Launch(("n1", "n2")))


def test_a_node_behind_in_two_hangs_is_left_out() -> None:
    state, _ = decide(RUN, Hung(("n2",), "no step"))
    state, _ = decide(state, Ended("hang"))
    state, _ = decide(state, Committed(7))  # which does not clear it
    state, actions = decide(state, Hung(("n2",), "no step"))
    assert actions[0] == Exclude("n2", "its ranks were behind in two hangs")
    assert decide(state, Ended("hang"))[1][-1] == Launch(("n1", "n3"))


def test_a_hang_of_all_blames_no_node() -> None:
    for _ in range(2):
        state, actions = decide(RUN, Hung(("n1", "n2"), "no step"))
        assert actions == [DumpStacks(), Cancel()]
        assert not state.blamed


def test_a_bug_is_tried_once_more_and_then_stops_with_its_reason() -> None:
    state, actions = decide(RUN, BUG)
    assert (_choices(actions), actions[-1]) == (["relaunch"], Launch(("n1", "n2")))
    state, actions = decide(state, BUG)
    assert actions[-1] == Finish(1)
    assert isinstance(actions[0], Decide)
    assert "ValueError: boom" in actions[0].reason


def test_different_bugs_stop_after_two_restarts() -> None:
    state, launches = RUN, 0
    for number in range(10):
        state, actions = decide(state, replace(BUG, key=f"key {number}"))
        launches += any(isinstance(action, Launch) for action in actions)
    assert (launches, state.phase) == (2, "over")


def test_a_bug_after_a_new_commit_is_a_new_one() -> None:
    state, _ = decide(RUN, BUG)
    state, _ = decide(state, Committed(7))
    assert _choices(decide(state, BUG)[1]) == ["relaunch"]


def test_out_of_memory_is_a_bug() -> None:
    state, _ = decide(RUN, Ended("memory", "killed", 137, key="oom"))
    assert decide(state, Ended("memory", "killed", 137, key="oom"))[1][-1] == Finish(1)


def test_a_plain_failure_is_never_handed_over() -> None:
    state = RUN
    for _ in range(5):
        state, actions = decide(state, BUG)
        assert not any(isinstance(action, (Requeue, SubmitSuccessor)) for action in actions)


def test_transient_faults_with_progress_never_stop_it() -> None:
    state = RUN
    for step in range(50):
        state, actions = decide(state, Ended("transient", "NCCL", 1))
        assert actions[-1] == Launch(("n1", "n2"))
        state, _ = decide(state, Committed(step))


def test_transient_faults_without_progress_use_the_budget_up() -> None:
    state = RUN
    for _ in range(RULES.max_restarts):
        state, actions = decide(state, Ended("transient", "NCCL", 1))
        assert isinstance(actions[-1], Launch)
    assert decide(state, Ended("transient", "NCCL", 1))[1][-1] == Finish(1)


def test_a_failure_that_blames_a_node_leaves_it_out() -> None:
    _, actions = decide(RUN, Ended("node", "Xid 79", 1, host="n1"))
    assert _without_words(actions) == [Exclude("n1", "Xid 79"), Launch(("n2", "n3"))]


def test_done_is_final() -> None:
    state, actions = decide(RUN, Ended("done"))
    assert (_choices(actions), actions[-1]) == (["done"], Finish(0, completed=True))
    for event in (BUG, Warned("t", 1.0), NodeLost("n1", "x"), Booted(("n1",))):
        assert decide(state, event) == (state, [])


def test_done_after_a_warning_is_done() -> None:
    state, _ = decide(RUN, Warned("the time limit", 1000.0))
    assert decide(state, Ended("done"))[1][-1] == Finish(0, completed=True)


def test_a_refused_hand_over_tries_the_next() -> None:
    state, actions = _lost(_only(("successor", "requeue"), NO_SPARE))
    assert actions[-1] == SubmitSuccessor(("n2",))
    state, actions = decide(state, Refused("successor", "sbatch is not allowed here"))
    assert actions[-1] == Requeue()
    state, actions = decide(state, Refused("requeue", "requeue disabled"))
    assert actions[-1] == Finish(1)
    assert isinstance(actions[0], Decide)
    assert "requeue disabled" in actions[0].reason


def test_a_newer_incarnation_ends_this_one() -> None:
    state, actions = decide(RUN, Superseded("job 9 has it"))
    assert actions == [Cancel(), Finish(1, again=True)]
    assert decide(state, Ended("node"))[1] == []


def test_a_program_without_progress_may_reach_its_time_limit_often() -> None:
    """Of a program that shows no steps nobody knows whether it gets on: the limit is no failure."""
    spent = replace(RUN, restarts=5)
    state, _ = decide(spent, Warned("the time limit", 1.0))
    assert decide(state, Ended("stopped", code=75))[1][-1] == SubmitSuccessor(())
    state, _ = decide(state, Tracked())
    assert decide(state, Ended("stopped", code=75))[1][-1] == Finish(1)


# -- laws -----------------------------------------------------------------------------------------

_HOSTS = ("n1", "n2", "n3", "n4")
_KINDS: tuple[Kind, ...] = get_args(Kind)
_events = st.one_of(
    st.builds(Committed, st.integers(0, 20)),
    st.builds(NodeLost, st.sampled_from(_HOSTS), st.just("silent")),
    st.builds(NodeBack, st.sampled_from(_HOSTS)),
    st.builds(Hung, st.lists(st.sampled_from(_HOSTS), max_size=3).map(tuple), st.just("hung")),
    st.builds(Warned, st.just("limit"), st.none() | st.floats(0, 100)),
    st.builds(Terminated, st.floats(0, 100)),
    st.just(TimeIsUp()),
    st.just(Tracked()),
    st.builds(
        Ended,
        st.sampled_from(_KINDS),
        st.just("why"),
        st.integers(0, 255),
        st.sampled_from(["", "a", "b", "c"]),
        st.sampled_from(["", *_HOSTS]),
    ),
    st.builds(Refused, st.sampled_from(["successor", "requeue"]), st.just("no")),
    st.builds(Superseded, st.just("newer")),
)
_rules = st.builds(
    Rules,
    st.lists(st.sampled_from([*ALL, "stop"]), unique=True).map(tuple),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 6),
    st.booleans(),
)


def _play(rules: Rules, history: list[Event]) -> list[tuple[Event, State, list[Action]]]:
    """Return every step of a life of a job, from its boot on."""
    state, told = State(rules), []
    for event in [Booted(_HOSTS), Checked(), *history]:
        state, actions = decide(state, event)
        told.append((event, state, actions))
    return told


@settings(deadline=None)  # a busy machine is no failure
@given(_rules, st.lists(_events, max_size=60))
def test_never_more_restarts_without_a_commit_than_allowed(
    rules: Rules, history: list[Event]
) -> None:
    restarts, newest = 0, -1
    for event, _, actions in _play(rules, history):
        if isinstance(event, Committed) and event.step > newest:
            restarts, newest = 0, event.step
        restarts += sum(isinstance(action, Launch) for action in actions)
        assert restarts <= rules.max_restarts + 1  # and the first launch


@settings(deadline=None)  # a busy machine is no failure
@given(_rules, st.lists(_events, max_size=60))
def test_nothing_follows_the_end(rules: Rules, history: list[Event]) -> None:
    finished = False
    for _, state, actions in _play(rules, history):
        assert not (finished and actions)
        finished = finished or any(isinstance(action, Finish) for action in actions)
        assert finished == (state.phase == "over")


@settings(deadline=None)  # a busy machine is no failure
@given(_rules, st.lists(_events, max_size=60))
def test_ranks_never_run_on_nodes_that_are_left_out(rules: Rules, history: list[Event]) -> None:
    for _, state, actions in _play(rules, history):
        for action in actions:
            if isinstance(action, Launch) and rules.remedies:
                assert not set(action.nodes) & set(state.bad)
                assert 1 <= len(action.nodes) <= rules.num_nodes


@settings(deadline=None)  # a busy machine is no failure
@given(_rules, st.lists(_events, max_size=60))
def test_only_one_launch_at_a_time(rules: Rules, history: list[Event]) -> None:
    running = False
    for event, _, actions in _play(rules, history):
        if isinstance(event, Ended):
            running = False
        for action in actions:
            if isinstance(action, Launch):
                assert not running
                running = True


@settings(deadline=None)  # a busy machine is no failure
@given(_rules, st.lists(_events, max_size=60))
def test_what_is_handed_over_was_asked_for(rules: Rules, history: list[Event]) -> None:
    for event, _, actions in _play(rules, history):
        for action in actions:
            if isinstance(action, SubmitSuccessor):
                assert "successor" in rules.remedies
            if isinstance(action, Requeue):
                assert "requeue" in rules.remedies
            if isinstance(action, (SubmitSuccessor, Requeue)) and isinstance(event, Ended):
                assert event.kind != "cancelled"
                assert event.kind != "done"


def test_a_reason_that_was_cut_off_is_told_with_the_whole_one_before() -> None:
    cut = Ended(
        "application", "rank 1: Traceback (most recent call last):", 1, key="exit code 1, step 7"
    )
    state, _ = decide(RUN, BUG)
    state, _ = decide(state, cut)
    _, actions = decide(state, cut)
    decision = next(action for action in actions if isinstance(action, Decide))
    assert decision.choice == "stop"
    assert "ValueError: boom" in decision.reason
