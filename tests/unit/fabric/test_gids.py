"""The GID index: found in the node's own tables, by type, address and network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slurmkit.errors import UsageError
from slurmkit.launch.gid import set_gid_index
from slurmkit.launch.variables import Placement
from slurmkit.topology.fake_sysfs import write_sysfs
from slurmkit.topology.gids import (
    Choice,
    Gid,
    RocePort,
    choose_gids,
    parse_subnets,
    read_roce_ports,
)
from slurmkit.topology.model import Port, Topology
from slurmkit.topology.profile import load_profile
from slurmkit.topology.sysfs import Tree

V1, V2 = "IB/RoCE v1", "RoCE v2"
_LOCAL = "fe80:0000:0000:0000:5a6b:03ff:fe0a:0001"


def port(hca: str, *gids: tuple[int, str, str], **more: object) -> RocePort:
    entries = tuple(Gid(index, kind, address) for index, kind, address in gids)
    return RocePort(hca, 1, True, (), entries).replace(**more)


def usual(hca: str, last: int, index: int = 3) -> RocePort:
    address = f"10.1.0.{last}"
    return port(hca, (0, V1, ""), (1, V2, ""), (index - 1, V1, address), (index, V2, address))


CASES = {
    "all at one index": ((usual("mlx5_0", 1), usual("mlx5_1", 2)), "", (), (3, (3, 3), 0, 0)),
    "each at its own": ((usual("mlx5_0", 1), usual("mlx5_1", 2, 5)), "", (), (None, (3, 5), 0, 0)),
    "v1 alone": ((port("mlx5_0", (2, V1, "10.1.0.1")),), "", (), (None, (), 1, 0)),
    "link-local alone": ((port("mlx5_0", (1, V2, "")),), "", (), (None, (), 1, 0)),
    "one of two missing": (
        (usual("mlx5_0", 1), port("mlx5_1", (1, V2, ""))),
        "",
        (),
        (3, (3,), 1, 0),
    ),
    "a port that is down": (
        (usual("mlx5_0", 1), usual("mlx5_1", 2, 5).replace(active=False)),
        "",
        (),
        (3, (3,), 0, 0),
    ),
    "the subnet decides": (
        (port("mlx5_0", (3, V2, "192.168.0.1"), (5, V2, "10.1.0.1")),),
        "10.1.0.0/16",
        (),
        (5, (5,), 0, 0),
    ),
    "two addresses, no subnet": (
        (port("mlx5_0", (3, V2, "192.168.0.1"), (5, V2, "10.1.0.1")),),
        "",
        (),
        (3, (3,), 0, 1),
    ),
    "storage is of another network": (
        (usual("mlx5_0", 1), port("mlx5_2", (3, V2, "172.16.0.1"))),
        "10.1.0.0/16",
        (),
        (3, (3,), 0, 0),
    ),
    "storage that is named counts": (
        (usual("mlx5_0", 1), port("mlx5_2", (3, V2, "172.16.0.1"))),
        "10.1.0.0/16",
        ("mlx5_0", "mlx5_2"),
        (3, (3,), 1, 0),
    ),
    "nobody has an address in the subnet": (
        (usual("mlx5_0", 1), usual("mlx5_1", 2)),
        "10.9.0.0/16",
        (),
        (None, (), 2, 0),
    ),
    "a common index among several": (
        (
            port("mlx5_0", (3, V2, "10.1.0.1"), (5, V2, "10.2.0.1")),
            port("mlx5_1", (5, V2, "10.1.0.2")),
        ),
        "",
        (),
        (5, (5, 5), 0, 1),
    ),
    "two networks": (
        (usual("mlx5_0", 1), port("mlx5_1", (3, V2, "10.2.0.1"))),
        "10.1.0.0/16,10.2.0.0/16",
        (),
        (3, (3, 3), 0, 0),
    ),
    "nothing there": ((), "", (), (None, (), 0, 0)),
}


@pytest.mark.parametrize("case", CASES)
def test_choice(case: str) -> None:
    ports, subnet, named, (index, by_hca, num_missing, num_unclear) = CASES[case]
    found = choose_gids(ports, subnet, named)
    assert found.index == index
    assert tuple(at for _, at in found.by_hca) == by_hca
    assert (len(found.missing), len(found.unclear)) == (num_missing, num_unclear)


def test_the_cards_own_interface_comes_before_its_vlans() -> None:
    entries = (Gid(3, V2, "10.5.0.1", "roce0.100"), Gid(5, V2, "10.1.0.1", "roce0"))
    both = RocePort("mlx5_0", 1, True, ("roce0",), entries)
    assert choose_gids((both,)) == Choice(5, (("mlx5_0:1", 5),))


@pytest.mark.parametrize("text", ["10.1.0.0/33", "10.1.0/24", "host", "10.1.0.0/x", "1.2.3.256"])
def test_no_network(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_subnets(text)


def node(root: Path, *indices: int, state: str = "ACTIVE") -> Topology:
    """Write a node whose compute HCAs are on RoCE, each with its address at one index."""
    platform = load_profile("dgx-h100")
    few = frozenset((0, 1))
    numa = tuple(
        place.replace(cpus=few if place.index == 0 else frozenset()) for place in platform.numa
    )
    nics = tuple(nic for nic in platform.nics if nic.ports)[:4]
    platform = platform.replace(numa=numa, cpus_online=few, smt=(), gpus=(), nics=nics)
    places = {nic.name: at for at, nic in enumerate(n for n in platform.nics if n.ports)}
    nics = []
    for nic in platform.nics:
        at = places.get(nic.name)
        if at is None:
            nics.append(nic)
            continue
        index = indices[at % len(indices)]
        mapped = f"0000:0000:0000:0000:0000:ffff:0a01:{at:04x}"
        gids = (f"0:{V1}:{_LOCAL}", f"1:{V2}:{_LOCAL}", f"{index}:{V2}:{mapped}")
        ports = (Port(1, state, 400.0, "Ethernet", gids if index else gids[:2]),)
        nics.append(nic.replace(ports=ports))
    return write_sysfs(platform.replace(nics=tuple(nics)), root)


def test_a_tree_is_read_as_the_kernel_writes_it(tmp_path: Path) -> None:
    node(tmp_path, 3)
    ports = read_roce_ports(Tree(str(tmp_path)))
    assert len(ports) == 4
    assert all(found.active for found in ports)
    assert [gid.address for gid in ports[0].gids if gid.index == 3] == ["10.1.0.0"]


_PLACE = Placement(0, 16, 0, 8, 0, 2)


def launch(root: Path, env: dict[str, str], mode: str = "auto") -> tuple[bool, dict[str, str]]:
    env = {"SLURMKIT_GID": mode, **env}
    started = set_gid_index(env, _PLACE, str(root))
    return started, env


def test_ranks_get_the_index_and_keep_their_own(tmp_path: Path) -> None:
    node(tmp_path, 3)
    _, env = launch(tmp_path, {})
    assert (env["NCCL_IB_GID_INDEX"], env["UCX_IB_GID_INDEX"]) == ("3", "3")
    _, env = launch(tmp_path, {"NCCL_IB_GID_INDEX": "7"})
    assert (env["NCCL_IB_GID_INDEX"], env["UCX_IB_GID_INDEX"]) == ("7", "3")


def test_without_a_common_index_each_rank_has_that_of_its_own_hca(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = [n.name for n in node(tmp_path, 3, 5).nics if n.ports]
    _, env = launch(tmp_path, {"UCX_NET_DEVICES": f"{names[1]}:1"})
    assert "NCCL_IB_GID_INDEX" not in env
    assert env["UCX_IB_GID_INDEX"] == "5"
    assert "share no GID index" in capfd.readouterr().err


def test_an_exact_list_of_hcas_says_which_count(tmp_path: Path) -> None:
    names = [n.name for n in node(tmp_path, 3, 5).nics if n.ports]
    _, env = launch(tmp_path, {"NCCL_IB_HCA": f"={names[1]}:1,{names[3]}"})
    assert env["NCCL_IB_GID_INDEX"] == "5"


def test_a_missing_gid_is_said_and_stops_a_strict_job(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    node(tmp_path, 3, 0)
    started, env = launch(tmp_path, {})
    assert started
    assert env["NCCL_IB_GID_INDEX"] == "3"
    said = capfd.readouterr().err
    assert "no RoCE v2 GID with an IPv4 address" in said
    assert said.startswith("slurmkit: warning: fabric: ")
    assert launch(tmp_path, {}, "strict")[0] is False
    assert "slurmkit: error: fabric" in capfd.readouterr().err


def test_one_rank_of_a_node_speaks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    node(tmp_path, 0)
    set_gid_index({"SLURMKIT_GID": "auto"}, Placement(9, 16, 1, 8, 1, 2), str(tmp_path))
    assert capfd.readouterr().err == ""


def test_a_node_without_roce_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    launch(tmp_path, {"SLURMD_NODENAME": "node7"})
    assert "fabric: node7: no active RoCE port" in capfd.readouterr().err


@pytest.mark.parametrize("env", [{"SLURMKIT_GID": "yes"}, {"SLURMKIT_GID_SUBNET": "ten"}])
def test_nonsense_is_refused(tmp_path: Path, env: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        launch(tmp_path, env, env.get("SLURMKIT_GID", "auto"))


def test_it_loads_nothing_that_ranks_would_wait_for() -> None:
    code = "import sys, slurmkit.launch.gid; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        timeout=30,
    )
    heavy = {"ipaddress", "pydantic", "yaml", "json", "ctypes", "pathlib", "slurmkit.launch.node"}
    assert not heavy & set(done.stdout.split())
