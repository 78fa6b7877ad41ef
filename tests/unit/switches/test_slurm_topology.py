"""topology.conf and topology.yaml of a fabric, by release; and the section of site.yaml."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from slurmkit.api.schemas import schema_of
from slurmkit.cli.app import app
from slurmkit.errors import InvalidInputError
from slurmkit.hostlist import expand
from slurmkit.site.generate.release import Release
from slurmkit.site.lookup import read_site
from slurmkit.site.models import Site
from slurmkit.site.switches import graph_of, section_of, slurm_conf_lines, topology_files
from slurmkit.topology.fabric import SwitchGraph, hierarchy, slurm_topology, topology_plugin
from slurmkit.topology.fabric.errors import FabricError
from slurmkit.topology.fabric.ibnetdiscover import read_ibnetdiscover
from slurmkit.topology.fabric.table import read_csv
from slurmkit.yamlfile.reader import read_document
from slurmkit.yamlfile.validate import build
from slurmkit.yamlfile.writer import dump

FABRICS = Path(__file__).parents[2] / "fixtures" / "fabric" / "fabrics.py"
made = SimpleNamespace(**runpy.run_path(str(FABRICS)))
OLD, BLOCKS, YAML = (Release.parse(text) for text in ("22.05", "24.11", "26.05"))


@pytest.fixture
def racks() -> SwitchGraph:
    return read_csv(made.nvl72(4))


@pytest.fixture
def units() -> SwitchGraph:
    fabric = made.Fabric([f"n{number}" for number in range(1, 9)], unit_size=4, rails=2)
    return read_ibnetdiscover(made.ibnetdiscover(fabric))


def site(text: str) -> Site:
    return build(Site, read_document(text.encode(), "site.yaml"))


def test_a_tree_for_an_old_release(units: SwitchGraph) -> None:
    (text,) = slurm_topology(units, OLD).values()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == [
        "SwitchName=su1 Nodes=n[1-4]",
        "SwitchName=su2 Nodes=n[5-8]",
        "SwitchName=fabric Switches=su[1-2]",
    ]
    assert "# su1 stands for leaf-1-[1-2]" in text
    assert topology_plugin(units, OLD) == ["TopologyPlugin=topology/tree"]


def test_blocks_where_the_release_knows_them(racks: SwitchGraph) -> None:
    text = slurm_topology(racks, BLOCKS)["topology.conf"]
    assert "BlockName=rack1 Nodes=gb[0001-0018]\n" in text
    assert text.endswith("BlockSizes=18\n")
    assert topology_plugin(racks, BLOCKS) == ["TopologyPlugin=topology/block"]
    # Before 23.11 there are none: the leaves of the racks are all that can be told.
    assert "BlockName" not in slurm_topology(racks, OLD)["topology.conf"]
    assert topology_plugin(racks, OLD) == ["TopologyPlugin=topology/tree"]


def test_blocks_without_switches_are_a_tree_for_an_old_release() -> None:
    found = read_csv("node,block\nn[1-2],a\nn[3-4],b\n")
    text = slurm_topology(found, OLD)["topology.conf"]
    assert "SwitchName=a Nodes=n[1-2]\nSwitchName=b Nodes=n[3-4]\n" in text
    assert "SwitchName=fabric Switches=a,b\n" in text


def test_yaml_since_25_05(racks: SwitchGraph, units: SwitchGraph) -> None:
    for release, name in (("24.11", "topology.conf"), ("25.05", "topology.yaml")):
        assert list(slurm_topology(units, Release.parse(release))) == [name]
    both = yaml.safe_load(slurm_topology(racks, YAML)["topology.yaml"])
    assert [(one["topology"], one["cluster_default"]) for one in both] == [
        ("block", True),
        ("tree", False),
    ]
    assert both[0]["block"]["block_sizes"] == [18]
    hosts = [host for block in both[0]["block"]["blocks"] for host in expand(block["nodes"])]
    assert len(hosts) == len(set(hosts)) == 72
    (tree,) = yaml.safe_load(slurm_topology(units, YAML)["topology.yaml"])
    assert tree["cluster_default"] is True
    assert tree["tree"]["switches"][-1] == {"switch": "fabric", "children": "su[1-2]"}
    assert topology_plugin(units, YAML) == []


def test_a_tree_can_be_asked_for(racks: SwitchGraph) -> None:
    assert "SwitchName=su1" in slurm_topology(racks, BLOCKS, "tree")["topology.conf"]


def test_nothing_is_written_for_no_fabric() -> None:
    assert slurm_topology(SwitchGraph(), OLD) == {}
    assert topology_plugin(SwitchGraph(), OLD) == []


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((20,), "block rack1 has 18 nodes only"),
        ((18, 54), "block size 54 is not 18 times a power of two"),
        ((18, 18), "block size 18 is not"),
    ],
)
def test_block_sizes_that_slurm_refuses(
    racks: SwitchGraph, sizes: tuple[int, ...], words: str
) -> None:
    with pytest.raises(FabricError, match=words):
        slurm_topology(racks, BLOCKS, "block", sizes)
    assert "BlockSizes=18,36,72\n" in "".join(
        slurm_topology(racks, BLOCKS, "block", (18, 36, 72)).values()
    )


def test_a_node_in_two_blocks_is_refused() -> None:
    found = read_csv("node,block\nn[1-2],a\nn[2-3],b\n")
    with pytest.raises(FabricError, match="n2 stands in the blocks a and b"):
        slurm_topology(found, BLOCKS)


def test_the_section_of_site_yaml_tells_the_same(units: SwitchGraph, racks: SwitchGraph) -> None:
    pods = made.Fabric([f"n{number}" for number in range(1, 17)], unit_size=4, rails=2, pods=2)
    for graph in (units, racks, read_ibnetdiscover(made.ibnetdiscover(pods))):
        described = site(dump({"switches": section_of(graph)}))
        assert described.switches is not None
        again = graph_of(described.switches)
        assert hierarchy(again).units == hierarchy(graph).units
        assert topology_files(described, YAML) == slurm_topology(graph, YAML)
        assert slurm_conf_lines(described, OLD) == topology_plugin(graph, OLD)


def test_none_turns_it_off() -> None:
    off = site("switches: {topology: none, leaves: {a: {nodes: n1}}}\n")
    assert topology_files(off, OLD) == {}
    assert slurm_conf_lines(off, OLD) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "switches: {blocks: {a: 'n[1-2]', b: 'n[2-3]'}}",
            "2:20: switches.blocks: n2 stands in the blocks a and b",
        ),
        (
            "switches: {blocks: {a: 'n[1-3]'}, block_sizes: [4]}",
            "switches.block_sizes: block size 4: block a has 3 nodes only",
        ),
        (
            "switches: {leaves: {a: {nodes: 'n[1-5]'}}}",
            "switches.leaves.a.nodes: n[4-5] is among no node_types.NAME.nodes",
        ),
        (
            "elastic: {driver: /bin/machines, nodes: 'n[3-4]'}",
            "elastic.nodes: n4 is among no node_types.NAME.nodes",
        ),
    ],
)
def test_what_a_site_must_not_say(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(f"node_types: {{a: {{nodes: 'n[1-3]'}}}}\n{text}\n")
    with pytest.raises(InvalidInputError) as caught:
        read_site(path)
    assert words in caught.value.message


# -- the command ----------------------------------------------------------------------------------


def test_the_command_prints_the_file(tmp_path: Path) -> None:
    path = tmp_path / "ib.txt"
    path.write_text(made.ibnetdiscover(made.Fabric(["n1", "n2"], unit_size=1, rails=2)))
    done = CliRunner().invoke(app, ["site", "topology", str(path), "--slurm-version", "22.05"])
    assert done.exit_code == 0, done.output
    assert "SwitchName=fabric Switches=su[1-2]\n" in done.stdout
    assert "TopologyPlugin=topology/tree" in done.stderr
    assert "2 rails" in done.stderr


def test_the_command_ends_with_1_when_a_node_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("node,switch\nn[1-2],a\nlogin,a\n")
    args = ["site", "topology", str(path), "--nodes", "n[1-3]"]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 1
    assert "without a cable: n3" in done.stderr
    assert "left out: login" in done.stderr
    report = json.loads(CliRunner().invoke(app, [*args, "--json"]).stdout)
    assert (report["missing"], report["unknown"]) == (["n3"], ["login"])
    jsonschema.validate(report, schema_of("site-topology"))


def test_the_command_prints_the_section(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("node,switch,uplink\nn[1-2],a b,s\n")
    done = CliRunner().invoke(app, ["site", "topology", str(path), "--site-yaml"])
    assert yaml.safe_load(done.stdout) == {
        "switches": {"leaves": {"a,b": {"nodes": "n[1-2]", "up": "s"}}}
    }
