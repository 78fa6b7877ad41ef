"""When nodes are drained and put back: tables, and laws over random histories."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmkit.health import drains
from slurmkit.health.config import DrainLimits
from slurmkit.health.drains import Decision, Memory, NodeView
from slurmkit.health.reason import PREFIX, is_ours, make_reason
from slurmkit.health.refusals import Refusal
from slurmkit.health.verdict import DRAIN, EVICT, FAIL, NOTE, REFUSE, WARN, Verdict

LIMITS = DrainLimits(fail_after=2, pass_after=2, max_drains=3, admin_s=100.0)
IDLE = frozenset({"IDLE"})
OUT = frozenset({"IDLE", "DRAIN"})
SICK = Verdict("gpu-xid", FAIL, "Xid 79", DRAIN)
WELL = Verdict("gpu-xid", "pass")


def test_a_reason_is_known_again_unless_somebody_edits_it() -> None:
    reason = make_reason("n1", "gpu-temperature: GPU 3: 91 °C")
    assert reason.startswith(f"{PREFIX} gpu-temperature: GPU 3: 91 ?C #")
    assert is_ours("n1", reason)
    assert not is_ours("n2", reason)
    for other in (f"{reason} ticket 3", f"keep: {reason}", reason.replace("91", "92"), "", PREFIX):
        assert not is_ours("n1", other)
    assert not is_ours("n1", "slurmkit: by hand")


@given(st.text(max_size=400), st.text(max_size=20))
def test_whatever_is_said_becomes_one_line_that_is_ours(words: str, host: str) -> None:
    reason = make_reason(host, words)
    assert is_ours(host, reason)
    assert reason.isascii()
    assert "\n" not in reason
    assert len(reason) < 200


def steps(verdicts: list[Verdict]) -> list[str]:
    """Carry out what is decided for one verdict after another; return the actions."""
    node, memory = NodeView("n", IDLE), Memory()
    actions = []
    for number, verdict in enumerate(verdicts):
        decision, memory = drains.decide(node, [verdict], memory, LIMITS, 1000.0 + number)
        memory = drains.after(decision, memory, 1000.0 + number)
        if decision.action == drains.DRAIN:
            node = NodeView(node.name, OUT, decision.reason)
        elif decision.action == drains.UNDRAIN:
            node = NodeView(node.name, IDLE)
        actions.append(decision.action)
    return actions


def test_it_takes_several_looks_each_way() -> None:
    found = steps([SICK, WELL, SICK, SICK, SICK, WELL, SICK, WELL, WELL])
    nothing = "nothing"
    assert found == [*[nothing] * 3, "drain", *[nothing] * 4, "undrain"]


def test_a_node_that_goes_to_and_fro_has_to_be_well_for_longer_and_then_stays_out() -> None:
    round_ = [SICK, SICK]
    found = steps([*round_, *[WELL] * 2, *round_, *[WELL] * 4, *round_, *[WELL] * 50])
    assert found.count("drain") == 3
    assert found.count("undrain") == 2
    assert found[4 + 2 + 2 : 4 + 2 + 4] == ["nothing", "undrain"]
    assert found[-1] == "held"


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict("a", FAIL, "b", DRAIN), ("drain", False)),
        (Verdict("a", FAIL, "b", EVICT), ("drain", True)),
        (Verdict("a", FAIL, "b", NOTE), ("nothing", False)),
        (Verdict("a", FAIL, "b", REFUSE), ("nothing", False)),
        (Verdict("a", WARN, "b", EVICT), ("nothing", False)),
    ],
)
def test_only_what_fails_and_asks_for_it_drains(
    verdict: Verdict, expected: tuple[str, bool]
) -> None:
    limits = LIMITS.replace(fail_after=1)
    decision, _ = drains.decide(NodeView("n", IDLE), [verdict], Memory(), limits, 0.0)
    assert (decision.action, decision.evict) == expected


def test_a_node_is_not_well_while_the_prolog_would_refuse_the_next_job() -> None:
    full, room = Verdict("local-disk", FAIL, "/tmp: full", REFUSE), Verdict("local-disk", "pass")
    node = NodeView("n", OUT, make_reason("n", "local-disk: /tmp: full"))
    memory = Memory()
    actions = []
    for verdict in (full, full, full, room, room):
        decision, memory = drains.decide(node, [verdict], memory, LIMITS, 0.0)
        actions.append(decision.action)
    assert actions == [*["nothing"] * 4, "undrain"]


@pytest.mark.parametrize("flag", ["DOWN", "POWERED_DOWN", "FAIL", "FUTURE"])
def test_a_node_that_is_away_is_left_alone(flag: str) -> None:
    limits = LIMITS.replace(fail_after=1)
    node = NodeView("n", frozenset({flag}))
    decision, _ = drains.decide(node, [SICK], Memory(), limits, 0.0)
    assert decision.action == "nothing"


def test_a_node_that_an_admin_puts_back_is_left_for_a_while() -> None:
    limits = LIMITS.replace(fail_after=1)
    node = NodeView("n", IDLE)
    decision, memory = drains.decide(node, [SICK], Memory(), limits, 0.0)
    memory = drains.after(decision, memory, 0.0)
    # Now it is back, and it was not us.
    decision, memory = drains.decide(node, [SICK], memory, limits, 10.0)
    assert (decision.action, memory.lifted) == ("nothing", ("gpu-xid",))
    decision, memory = drains.decide(node, [SICK], memory, limits, 20.0)
    assert decision.action == "held"
    # Another fault is another matter.
    other = Verdict("mounts", FAIL, "/home", DRAIN)
    assert drains.decide(node, [SICK, other], memory, limits, 30.0)[0].action == "drain"
    assert drains.decide(node, [SICK], memory, limits, 200.0)[0].action == "drain"


def test_an_admin_may_also_put_back_what_a_job_has_drained() -> None:
    limits, node = LIMITS.replace(fail_after=1), NodeView("n", OUT, make_reason("n", "gpu-xid: 79"))
    _, memory = drains.decide(node, [SICK], Memory(), limits, 0.0)
    back = NodeView("n", IDLE)
    _, memory = drains.decide(back, [SICK], memory, limits, 10.0)
    assert drains.decide(back, [SICK], memory, limits, 20.0)[0].action == "held"


def test_a_drain_by_slurm_becomes_ours_when_our_prolog_was_the_cause() -> None:
    node = NodeView("n", OUT, drains.PROLOG_REASON, 1000.0)
    refused = Refusal(995.0, "gpu-xid: Xid 79; mounts: /home is not mounted", "12")
    decision = drains.adoption(node, [refused])
    assert decision is not None
    assert decision.causes == ("gpu-xid", "mounts")
    assert is_ours("n", decision.reason)
    assert drains.still_so(decision, node)
    assert drains.adoption(node, []) is None
    assert drains.adoption(node, [refused.replace(at=800.0)]) is None
    assert drains.adoption(NodeView("n", OUT, "bad fan", 1000.0), [refused]) is None
    assert drains.adoption(NodeView("n", IDLE, drains.PROLOG_REASON, 1000.0), [refused]) is None


@pytest.mark.parametrize(
    ("share", "num_nodes", "most"),
    [(0.1, 4, 1), (0.1, 30, 3), (0.3, 10, 3), (0.0, 10, 1), (1, 5, 5)],
)
def test_how_many_may_be_drained(share: float, num_nodes: int, most: int) -> None:
    assert drains.most_drained(DrainLimits(max_share=share), num_nodes) == most


def cluster(num_ours: int, num_others: int, num_idle: int) -> list[NodeView]:
    ours = [
        NodeView(f"a{i}", OUT, make_reason(f"a{i}", "x: y"), 100.0 - i) for i in range(num_ours)
    ]
    others = [NodeView(f"b{i}", OUT, "slurmkit: by hand") for i in range(num_others)]
    return [*ours, *others, *(NodeView(f"c{i}", IDLE) for i in range(num_idle))]


def test_the_share_counts_our_drains_alone() -> None:
    decision = Decision(drains.DRAIN, "why", "reason")
    limits = DrainLimits(max_share=0.2)
    assert drains.confirm(decision, cluster(1, 5, 4), limits) == decision
    held = drains.confirm(decision, cluster(2, 0, 8), limits)
    assert held.action == "held"
    assert "2 of 10 nodes are drained by us, 2 may be" in held.why


def test_of_drains_made_at_once_the_first_stay() -> None:
    nodes = cluster(4, 0, 6)
    limits = DrainLimits(max_share=0.2)
    over = {node.name for node in nodes if drains.over_limit(node.name, nodes, limits)}
    assert over == {"a0", "a1"}  # the younger two: a3 and a2 were first


def test_memory_travels() -> None:
    memory = Memory({"a": 2}, 3, "r", ("a",), (1.0, 2.0), 5.0, ("b",))
    assert drains.memory_of(memory.fields()) == memory
    assert drains.memory_of({"fails": 3}) == Memory()


# -- laws over random histories ------------------------------------------------------------


@dataclasses.dataclass
class Node:
    """A node of a made-up cluster; ``foreign`` is true while its drain is somebody else's."""

    name: str
    view: NodeView
    memory: Memory = dataclasses.field(default_factory=Memory)
    foreign: bool = False


ADMIN = st.sampled_from(["nothing"] * 6 + ["drain", "drain-like-us", "edit", "resume", "down"])
CHECKS = st.lists(
    st.builds(
        Verdict,
        check=st.sampled_from(["gpu-xid", "mounts"]),
        verdict=st.sampled_from([FAIL, "pass", WARN]),
        detail=st.sampled_from(["x", "y"]),
        action=st.sampled_from([DRAIN, EVICT, NOTE]),
    ),
    max_size=2,
)
STEPS = st.lists(st.tuples(st.integers(0, 4), ADMIN, CHECKS), min_size=5, max_size=60)


def admin_acts(node: Node, what: str, now: float) -> None:
    if what == "drain":
        node.view, node.foreign = NodeView(node.name, OUT, "ticket 7", now), True
    elif what == "drain-like-us":
        node.view, node.foreign = NodeView(node.name, OUT, f"{PREFIX} gpu-xid: x", now), True
    elif what == "edit" and node.view.drained:
        node.view = NodeView(node.name, OUT, f"{node.view.reason} (mine)", now)
        node.foreign = True
    elif what == "resume":
        node.view, node.foreign = NodeView(node.name, IDLE), False
    elif what == "down" and not node.view.drained:
        node.view = NodeView(node.name, frozenset({"DOWN"}))


@settings(max_examples=1000, deadline=None)
@given(
    STEPS,
    st.sampled_from([0.0, 0.2, 0.5]),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_no_foreign_drain_is_ever_undone_and_the_share_is_kept(
    history: list[tuple[int, str, list[Verdict]]], share: float, fail_after: int, pass_after: int
) -> None:
    limits = DrainLimits(
        max_share=share, fail_after=fail_after, pass_after=pass_after, admin_s=20.0
    )
    nodes = [Node(f"n{i}", NodeView(f"n{i}", IDLE)) for i in range(5)]
    for number, (index, admin, verdicts) in enumerate(history):
        now, node = 1000.0 + number, nodes[index]
        seen = node.view
        decision, node.memory = drains.decide(seen, verdicts, node.memory, limits, now)
        if decision.action == drains.DRAIN:
            views = [other.view for other in nodes]
            decision = drains.confirm(decision, views, limits)
        # An admin acts between the look and the act.
        admin_acts(node, admin, now)
        if not drains.still_so(decision, node.view):
            continue
        assert not node.foreign, f"{decision} on {node.view}"
        if decision.action == drains.DRAIN:
            node.view = NodeView(node.name, OUT, decision.reason, now)
        elif decision.action == drains.UNDRAIN:
            node.view = NodeView(node.name, IDLE)
        node.memory = drains.after(decision, node.memory, now)
        ours = sum(other.view.ours for other in nodes)
        assert ours <= drains.most_drained(limits, len(nodes))
