"""From what InfiniBand's tools print to hosts, switches and the cables between them."""

import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from slurmkit.topology.fabric import SwitchGraph, audit, hierarchy
from slurmkit.topology.fabric.errors import FabricError
from slurmkit.topology.fabric.ibdiagnet import read_lst
from slurmkit.topology.fabric.ibnetdiscover import read_ibnetdiscover
from slurmkit.topology.fabric.names import ca_name, switch_name

FABRICS = Path(__file__).parents[2] / "fixtures" / "fabric" / "fabrics.py"
made = SimpleNamespace(**runpy.run_path(str(FABRICS)))


def names(count: int) -> list[str]:
    return [f"gpu{number:04d}" for number in range(1, count + 1)]


def leaves(graph: SwitchGraph) -> dict[str, list[str]]:
    return {unit.name: list(unit.hosts) for unit in hierarchy(graph).leaves}


def test_a_rail_optimised_fabric_becomes_scalable_units() -> None:
    graph = read_ibnetdiscover(made.ibnetdiscover(made.Fabric(names(70), unit_size=32)))
    tree = hierarchy(graph)
    assert tree.rails == 8
    assert leaves(graph) == {
        "su1": names(70)[:32],
        "su2": names(70)[32:64],
        "su3": names(70)[64:],
    }
    (root,) = tree.roots
    assert root.name == "fabric"
    assert root.children == ("su1", "su2", "su3")
    assert root.switches == tuple(f"spine-1-{number}" for number in range(1, 5))
    assert tree.notes == ()


def test_pods_stand_between_units_and_cores() -> None:
    fabric = made.Fabric(names(64), unit_size=16, rails=2, pods=2)
    tree = hierarchy(read_ibnetdiscover(made.ibnetdiscover(fabric)))
    by_name = {unit.name: unit for unit in tree.units}
    assert by_name["pod1"].children == ("su1", "su3")
    assert by_name["pod2"].children == ("su2", "su4")
    assert by_name["fabric"].children == ("pod1", "pod2")
    assert by_name["fabric"].switches == ("core-1", "core-2")


def test_one_rail_keeps_the_names_of_the_leaves() -> None:
    fabric = made.Fabric(names(6), unit_size=3, rails=1, spines=1)
    graph = read_ibnetdiscover(made.ibnetdiscover(fabric))
    assert leaves(graph) == {"leaf-1-1": names(6)[:3], "leaf-2-1": names(6)[3:]}
    assert hierarchy(graph).roots[0].name == "spine-1-1"


def test_both_infiniband_tools_tell_the_same() -> None:
    fabric = made.Fabric(names(40), unit_size=8, pods=2)
    one, other = read_ibnetdiscover(made.ibnetdiscover(fabric)), read_lst(made.lst(fabric))
    assert {(a.host, a.switch, a.device) for a in one.attachments} == {
        (a.host, a.switch, a.device) for a in other.attachments
    }
    assert set(one.cables) == set(other.cables)


def test_lst_leaves_out_cables_that_are_not_active() -> None:
    text = made.lst(made.Fabric(["n1", "n2"], rails=1))
    lines = text.splitlines()
    dead = [line.replace("LOG=ACT", "LOG=DWN") if "{n1 mlx5_0}" in line else line for line in lines]
    graph = read_lst("\n".join(dead))
    assert graph.hosts == ("n2",)
    assert graph.notes == ("2 cables are not active and were left out",)


@pytest.mark.parametrize(
    ("reader", "tool"), [(read_ibnetdiscover, "ibnetdiscover"), (read_lst, "lst")]
)
class TestOddNames:
    """What both InfiniBand tools tell of adapters and switches that are named oddly."""

    def test_adapters_without_a_host_name_are_told(
        self, reader: Callable[[str], SwitchGraph], tool: str
    ) -> None:
        text = getattr(made, tool)(made.Fabric(["n1", "n2"], rails=1))
        graph = reader(text.replace("n2 mlx5_0", "MT4129 ConnectX7 Mellanox Technologies"))
        assert graph.hosts == ("n1",)
        assert "1 adapters have no host name" in graph.notes[0]

    @pytest.mark.parametrize("name", ["Quantum Mellanox Technologies", "MF0;leaf:MQM9700/U1"])
    def test_switches_of_one_name_are_told_apart(
        self, reader: Callable[[str], SwitchGraph], tool: str, name: str
    ) -> None:
        text = getattr(made, tool)(made.Fabric(["n1", "n2"], unit_size=1, rails=1))
        for leaf in ("leaf-1-1", "leaf-2-1"):
            text = text.replace(f"MF0;{leaf}:MQM9700/U1", name)
        assert len(leaves(reader(text))) == 2

    def test_an_adapter_of_two_ports_is_no_doubled_host(
        self, reader: Callable[[str], SwitchGraph], tool: str
    ) -> None:
        fabric = made.Fabric(["n1", "n2"], rails=2, device=lambda _rail: "mlx5_0", ports=True)
        graph = reader(getattr(made, tool)(fabric))
        assert {item.device for item in graph.attachments} == {"mlx5_0", "mlx5_0/2"}
        assert audit(graph).twice == ()


def test_a_listing_that_is_cut_off_behind_the_switches_says_what_it_lacks() -> None:
    text = made.ibnetdiscover(made.Fabric(["n1", "n2"], rails=1))
    graph = read_ibnetdiscover(text[: text.index("caguid")])
    assert graph.hosts == ()
    assert "2 adapters have no host name" in graph.notes[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('switchguid=0x1\nSwitch\t65 "S-01"\t# "a"\n[1]\t"H-0', "ib.txt:3:1: this is no cable"),
        ("switchguid=0x1\nSwitch\t65", "ib.txt:2:1: this line of ibnetdiscover is cut off"),
        ("caguid=0x1\n", "ib.txt:1:1: no switch is in it"),
    ],
)
def test_a_file_that_is_cut_off_is_refused(text: str, words: str) -> None:
    with pytest.raises(FabricError) as caught:
        read_ibnetdiscover(text, "ib.txt")
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("description", "name"),
    [
        ("MF0;leaf-1:MQM9700/U1", "leaf-1"),
        ("MF0;core:CS8500/L03/U1", "core-L03"),
        ("spine 7", "spine-7"),
        ("Quantum Mellanox Technologies", "switch-abc"),
    ],
)
def test_names_of_switches(description: str, name: str) -> None:
    assert switch_name(description, "abc") == name


@pytest.mark.parametrize(
    ("description", "host"),
    [
        ("node01 mlx5_0", ("node01", "mlx5_0")),
        ("node01.example.org HCA-1", ("node01", "HCA-1")),
        ("node01", ("node01", "")),
        ("MT4129 ConnectX7 Mellanox Technologies", ("", "")),
        ("", ("", "")),
    ],
)
def test_names_of_hosts(description: str, host: tuple[str, str]) -> None:
    assert ca_name(description) == host
