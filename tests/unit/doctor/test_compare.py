"""What differs between hosts, and how it is told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmkit.doctor.compare import compare, hosts_text
from slurmkit.doctor.link import Answer, Link, fail, passed, skipped
from slurmkit.doctor.node import HostReport
from slurmkit.doctor.report import make_report, rows

LINK = Link("mtu", "fabric", "reads", "limits", "todo", lambda _place: passed(""))


def answers(**values: str) -> dict[str, Answer]:
    return {host: passed("", {"MTU of eth0": value}) for host, value in values.items()}


CASES = {
    "one of eight": (
        {f"node{at}": "1500" if at == 3 else "9000" for at in range(1, 9)},
        "node3: MTU of eth0 1500, the other 7: 9000",
    ),
    "one of two others": (
        {"node1": "9000", "node2": "9000", "node3": "1500"},
        "node3: MTU of eth0 1500, the other 2: 9000",
    ),
    "two of five": (
        {"node1": "9000", "node2": "1500", "node3": "9000", "node4": "1500", "node5": "9000"},
        "node[2,4]: MTU of eth0 1500, the other 3: 9000",
    ),
    "half and half": (
        {"node1": "9000", "node2": "1500"},
        "MTU of eth0 differs: node1: 9000; node2: 1500",
    ),
    "three values": (
        {"node1": "9000", "node2": "9000", "node3": "1500", "node4": "4200"},
        "node3: MTU of eth0 1500; node4: MTU of eth0 4200; the other 2: 9000",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_majority_is_taken_for_right(case: str) -> None:
    values, text = CASES[case]
    (found,) = compare(LINK, answers(**values))
    assert found.text == text
    assert found.verdict == LINK.differs


def test_what_is_alike_does_not_differ() -> None:
    assert compare(LINK, answers(node1="9000", node2="9000")) == []
    assert compare(LINK, answers(node1="9000")) == []


def test_a_host_that_lacks_a_fact_has_none_of_it() -> None:
    found = answers(node1="9000", node2="9000")
    found["node3"] = passed("", {"MTU of eth1": "9000"})
    texts = {item.text: item.verdict for item in compare(LINK, found)}
    assert texts["node3: MTU of eth0 not there, the other 2: 9000"] == "warn"


def test_a_host_that_could_not_look_is_not_compared() -> None:
    found = answers(node1="9000", node2="9000")
    assert compare(LINK, {**found, "node3": skipped("no program")}) == []
    assert compare(LINK, {**found, "node3": fail("it broke")}) == []


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([f"n{i}" for i in range(9)]), st.sampled_from("abc")))
def test_the_majority_is_what_most_hosts_have(values: dict[str, str]) -> None:
    found = compare(LINK, answers(**values))
    if len(set(values.values())) < 2:
        assert found == []
        return
    (difference,) = found
    assert {host for _, hosts in difference.values for host in hosts} == set(values)
    sizes = [len(hosts) for _, hosts in difference.values]
    assert sizes == sorted(sizes, reverse=True)
    if sizes[0] > sizes[1]:
        assert difference.text.endswith(f" the other {sizes[0]}: {difference.values[0][0]}")
    else:
        assert difference.text.startswith("MTU of eth0 differs: ")


def test_hosts_are_written_as_a_list() -> None:
    assert hosts_text(("node1",)) == "node1"
    assert hosts_text(("node1", "node2", "node3")) == "node[1-3]"


def reports(**found: Answer) -> list[HostReport]:
    return [HostReport(host, 0.0, tuple(found), {"mtu": a}) for host, a in found.items()]


def test_a_difference_alone_makes_the_link_fail() -> None:
    one, two = passed("9000", {"MTU": "9000"}), passed("1500", {"MTU": "1500"})
    report = make_report([LINK], reports(node1=one, node2=two), {})
    assert (report.verdict, report.exit_code) == ("fail", 1)
    assert report.links[0].todo == ("todo",)
    assert rows(report) == [("mtu", "fail", "", "MTU differs: node1: 9000; node2: 1500")]


def test_hosts_that_say_the_same_share_a_row() -> None:
    bad = fail("eth0 has 1500, not 9000")
    report = make_report([LINK], reports(node1=bad, node2=bad, node3=passed("fine")), {})
    assert rows(report) == [("mtu", "fail", "node[1-2]", "eth0 has 1500, not 9000")]
    report = make_report([LINK], reports(node1=bad, node2=bad), {})
    assert rows(report) == [("mtu", "fail", "", "eth0 has 1500, not 9000")]


def test_a_host_that_says_nothing_is_a_failure() -> None:
    report = make_report([LINK], reports(node1=passed("fine")), {"node2": "connection refused"})
    assert (report.verdict, report.exit_code) == ("fail", 1)
    assert rows(report)[0] == ("hosts", "fail", "node2", "no answer: connection refused")


def test_skipped_links_do_no_harm() -> None:
    report = make_report([LINK], reports(node1=skipped("no HCA")), {})
    assert (report.verdict, report.exit_code) == ("pass", 0)
    assert rows(report) == [("mtu", "skipped", "", "no HCA")]


def test_what_a_host_says_to_do_comes_before_what_the_link_always_says() -> None:
    report = make_report([LINK], reports(node1=fail("x", todo="do this")), {})
    assert report.links[0].todo == ("do this",)
