"""From what fabric tools print to a tree in which each node stands once."""

import contextlib
import json
import runpy
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.errors import UsageError
from slurmkit.hostlist import expand
from slurmkit.topology.fabric import Attachment, SwitchGraph, audit, hierarchy
from slurmkit.topology.fabric.errors import FabricError
from slurmkit.topology.fabric.graph import cable, joined
from slurmkit.topology.fabric.ibdiagnet import read_lst
from slurmkit.topology.fabric.ibnetdiscover import read_ibnetdiscover
from slurmkit.topology.fabric.lldp import read_lldp
from slurmkit.topology.fabric.load import detect, load_fabric
from slurmkit.topology.fabric.table import read_csv, read_yaml

FABRICS = Path(__file__).parents[2] / "fixtures" / "fabric" / "fabrics.py"
made = SimpleNamespace(**runpy.run_path(str(FABRICS)))


def leaves(graph: SwitchGraph) -> dict[str, list[str]]:
    return {unit.name: list(unit.hosts) for unit in hierarchy(graph).leaves}


def once(graph: SwitchGraph) -> bool:
    counts = Counter(host for unit in hierarchy(graph).units for host in unit.hosts)
    return set(counts.values()) == {1} and set(counts) == set(graph.hosts)


# -- what is odd ----------------------------------------------------------------------------------


def rails(hosts: str, *switches: str) -> list[Attachment]:
    return [
        Attachment(host, switch, f"mlx5_{rail}")
        for host in expand(hosts)
        for rail, switch in enumerate(switches)
    ]


def graph(*attachments: list[Attachment], cables: tuple[tuple[str, str], ...] = ()) -> SwitchGraph:
    items = tuple(item for group in attachments for item in group)
    return SwitchGraph(items, tuple(cable(*ends) for ends in cables))


def test_a_node_that_lacks_a_rail_stays_in_its_unit() -> None:
    found = graph(rails("n[1-8]", "a", "b", "c", "d"), rails("n9", "a", "b", "c"))
    assert leaves(found) == {"su1": expand("n[1-9]")}
    assert hierarchy(found).notes == ("n9: cables to 3 of the 4 leaf switches, none to d",)


def test_a_wrong_cable_is_named_and_makes_no_unit() -> None:
    found = graph(
        rails("n[1-8]", "a", "b", "c", "d"),
        rails("n9", "a", "b", "c", "w"),
        rails("m[1-8]", "w", "x", "y", "z"),
    )
    assert set(leaves(found)) == {"su1", "su2"}
    assert "none to d, and besides to w" in hierarchy(found).notes[0]


def test_units_that_share_some_leaves_stay_apart() -> None:
    found = graph(rails("n[1-8]", "a", "b"), rails("m[1-8]", "b", "c"))
    tree = hierarchy(found)
    assert len(tree.leaves) == 2
    assert len(tree.roots) == 1


def test_parts_without_a_cable_between_them_are_told() -> None:
    found = graph(rails("n[1-2]", "a"), rails("n[3-4]", "b"))
    tree = hierarchy(found)
    assert len(tree.roots) == 2
    assert "no job can span them" in tree.notes[0]


def test_missing_unknown_and_doubled_hosts_are_reported() -> None:
    found = graph(rails("n[1-3]", "a"), [Attachment("n2", "b", "mlx5_0", "ib.txt:7")])
    checked = audit(found, ["n1", "n2", "n4"])
    assert checked.missing == ("n4",)
    assert checked.unknown == ("n3",)
    assert checked.twice == (("n2", "mlx5_0 at a and b (ib.txt:7)"),)
    assert len(checked.sentences()) == 3
    assert once(found)


def test_a_host_at_two_switches_is_doubled_where_others_have_one_cable() -> None:
    found = read_csv("node,switch\nn[1-3],a\nn[3-6],b\n")
    assert audit(found).twice == (("n3", "at a (:2) and b (:3)"),)


def test_devices_choose_the_compute_rails() -> None:
    found = graph(rails("n[1-2]", "a", "storage")).with_devices(["mlx5_0"])
    assert leaves(found) == {"a": ["n1", "n2"]}
    assert found.notes == ("cables of mlx5_1 were left out",)


_NODES = [f"n{number}" for number in range(1, 13)]
_SWITCHES = [f"s{number}" for number in range(1, 7)]


@given(
    st.lists(st.tuples(st.sampled_from(_NODES), st.sampled_from(_SWITCHES)), min_size=1),
    st.lists(st.tuples(st.sampled_from(_SWITCHES), st.sampled_from(["t1", "t2", "u"]))),
)
def test_whatever_the_cables_each_node_stands_once(
    ends: list[tuple[str, str]], ups: list[tuple[str, str]]
) -> None:
    found = SwitchGraph(
        tuple(Attachment(host, switch) for host, switch in ends),
        tuple({cable(one, other) for one, other in ups}),
    )
    tree = hierarchy(found)
    assert once(found)
    below = Counter(name for unit in tree.units for name in unit.children)
    assert all(count == 1 for count in below.values())
    assert len({unit.name for unit in tree.units}) == len(tree.units)
    # Units come after those below them, as a reader, and Slurm, expect.
    seen: set[str] = set()
    for unit in tree.units:
        assert set(unit.children) <= seen
        seen.add(unit.name)
    assert not {unit.name for unit in tree.units} & set(found.hosts)


# -- LLDP and tables ------------------------------------------------------------------------------

_LLDP_JSON = {
    "lldp": {
        "interface": [
            {"eth2": {"via": "LLDP", "chassis": {"leaf1.dc": {"id": {}, "descr": "x"}}}},
            {"eth3": {"via": "LLDP", "chassis": {"leaf2.dc": {"id": {}, "descr": "x"}}}},
        ]
    }
}
_LLDP_JSON0 = {
    "lldp": [
        {
            "interface": [
                {"name": "eth2", "chassis": [{"id": [{}], "name": [{"value": "leaf1.dc"}]}]},
                {"name": "eth3", "chassis": [{"id": [{}], "name": [{"value": "leaf2.dc"}]}]},
            ]
        }
    ]
}


@pytest.mark.parametrize("answer", [_LLDP_JSON, _LLDP_JSON0], ids=["json", "json0"])
def test_lldp_tells_a_hosts_switches(answer: object) -> None:
    found = read_lldp(json.dumps(answer), "answers/node7.json")
    assert [(a.host, a.device, a.switch) for a in found.attachments] == [
        ("node7", "eth2", "leaf1"),
        ("node7", "eth3", "leaf2"),
    ]


def test_a_folder_of_lldp_answers_is_one_fabric(tmp_path: Path) -> None:
    for host in ("n1", "n2", "n3"):
        (tmp_path / f"{host}.json").write_text(json.dumps(_LLDP_JSON0))
    found = load_fabric([tmp_path])
    assert leaves(found) == {"su1": ["n1", "n2", "n3"]}


@pytest.mark.parametrize("switches", ["l1 l2", "l[1-2]", '"l1,l2"'])
def test_switches_of_a_table_are_host_lists_too(switches: str) -> None:
    found = read_csv(f"node,switch,uplink\nn1,{switches},s[1-2]\n")
    assert [(a.switch, a.device) for a in found.attachments] == [("l1", "rail0"), ("l2", "rail1")]
    assert set(found.cables) == {cable(leaf, top) for leaf in ("l1", "l2") for top in ("s1", "s2")}


def test_tables_in_csv_and_yaml() -> None:
    csv = "# racks\nnode;switch;uplink\nn[1-2];a b;s\nn[3-4];c d;s\n"
    yaml = (
        "links:\n"
        "  - {node: 'n[1-2]', switch: [a, b], uplink: s}\n"
        "  - {node: 'n[3-4]', switch: [c, d], uplink: s}\n"
    )
    for found in (read_csv(csv), read_yaml(yaml)):
        assert leaves(found) == {"su1": ["n1", "n2"], "su2": ["n3", "n4"]}
        assert hierarchy(found).roots[0].name == "s"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("node,swich\nn1,a\n", "t.csv:1:1: there is no column 'swich'"),
        ("node,switch\nn[1-,a\n", "t.csv:2:1"),
        ("node,switch\nn1,a,b\n", "t.csv:2:1: 3 cells under 2 columns"),
        ("node,switch\nn1,l[1-\n", "t.csv:2:1: hostlist 'l[1-': a bracket that is never closed"),
        ("node,switch\nn1,\n", "t.csv:2:1: neither a switch nor a block"),
        ("\n", "t.csv:1:1: the table is empty"),
    ],
)
def test_mistakes_in_tables_name_their_line(text: str, words: str) -> None:
    with pytest.raises(FabricError) as caught:
        read_csv(text, "t.csv")
    assert words in caught.value.message


def test_forms_are_told_apart() -> None:
    fabric = made.Fabric(["n1"])
    assert detect(made.ibnetdiscover(fabric)) == "ibnetdiscover"
    assert detect(made.lst(fabric)) == "ibdiagnet"
    assert detect(json.dumps(_LLDP_JSON)) == "lldp"
    assert detect(made.nvl72(1)) == "csv"
    assert detect("# x\nlinks:\n  - {node: n1, switch: a}\n") == "yaml"
    with pytest.raises(UsageError, match="no form that is known"):
        detect("hello\n", "x.txt")


_REAL = [
    (read_ibnetdiscover, made.ibnetdiscover(made.Fabric(["n1", "n2"], unit_size=1, rails=2))),
    (read_lst, made.lst(made.Fabric(["n1", "n2"], unit_size=1, rails=2))),
    (read_lldp, json.dumps(_LLDP_JSON)),
    (read_lldp, json.dumps(_LLDP_JSON0)),
    (read_csv, made.nvl72(2)),
    (read_yaml, "links:\n  - {node: n1, switch: [a, b], uplink: s}\n"),
]


@given(
    st.sampled_from(_REAL),
    st.integers(0, 1 << 20),
    st.integers(0, 40),
    st.text(alphabet='[]{}"SH-0a ,;:\n\t#', max_size=12),
)
def test_a_damaged_file_is_read_or_refused_but_breaks_nothing(
    real: tuple[Callable[[str, str], SwitchGraph], str], place: int, cut: int, put: str
) -> None:
    reader, text = real
    start = place % len(text)
    damaged = text[:start] + put + text[start + cut :]
    try:
        found = reader(damaged, "n1.json")
    except FabricError:
        return
    hierarchy(found)
    audit(found, ["n1"])


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["lldp", "interface", "name", "chassis", "value", "id", "x"]),
                inner,
                max_size=3,
            )
        ),
    )
)
def test_any_json_is_read_as_lldp_or_refused(value: object) -> None:
    for text in (json.dumps(value), json.dumps({"lldp": value})):
        with contextlib.suppress(FabricError):
            read_lldp(text, "n1.json")


def test_files_join_to_one_fabric() -> None:
    one = read_csv("node,switch,uplink\nn1,a,s\n")
    other = read_csv("node,switch,uplink\nn2,b,s\n")
    assert len(hierarchy(joined([one, other])).roots) == 1


def test_a_block_in_two_files_is_one_block() -> None:
    tables = ("node,block\nn[1-2],rack1\n", "node,block\nn[2-4],rack1\n")
    found = joined(read_csv(text) for text in tables)
    assert found.blocks == (("rack1", ("n1", "n2", "n3", "n4")),)
    assert audit(found).twice == ()
