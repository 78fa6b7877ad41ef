"""Sizes, names, networks and configuration text of sandboxes."""

import ipaddress
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmkit.errors import UsageError
from slurmkit.hostlist import expand
from slurmkit.sandbox.layout import Layout, Size, check_name, choose_subnet
from slurmkit.sandbox.slurm_conf import cgroup_conf, etc_hosts, gres_conf, nsswitch_conf, slurm_conf

SUBNET = ipaddress.IPv4Network("10.96.4.0/22")


def layout(**changes: object) -> Layout:
    return Layout(name="demo", state_dir=Path("/state/demo"), subnet=SUBNET, **changes)  # type: ignore[arg-type]


def keys(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if "=" in line and not line.startswith("#")]
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


@pytest.mark.parametrize("name", ["a", "demo", "ci-2", "0", "x" * 32])
def test_names_that_a_sandbox_can_bear(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a/b", "..", "a b", "x" * 33, "ü", "a\n"])
def test_names_that_it_cannot_bear(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a sandbox"):
        check_name(name)


@pytest.mark.parametrize(
    "wrong", [{"nodes": 0}, {"nodes": 1001}, {"gpus": -1}, {"cpus": 0}, {"memory_mib": 10}]
)
def test_impossible_sizes(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        Size(**wrong)


networks = st.integers(0, 255).map(lambda i: ipaddress.IPv4Network((0x0A600000 + (i << 10), 22)))


@given(st.from_regex(r"[a-z]{1,20}", fullmatch=True), st.lists(networks, max_size=40))
def test_a_network_is_never_one_in_use(name: str, taken: list[ipaddress.IPv4Network]) -> None:
    chosen = choose_subnet(name, taken)
    assert not any(chosen.overlaps(other) for other in taken)
    assert chosen == choose_subnet(name, taken)
    assert chosen.num_addresses > 1000


def test_networks_run_out() -> None:
    with pytest.raises(UsageError, match="no free network"):
        choose_subnet("a", [ipaddress.IPv4Network("10.0.0.0/8")])


@given(st.integers(1, 1000))
@settings(deadline=None)  # a busy machine is not a wrong address
def test_every_host_has_an_address_of_its_own(nodes: int) -> None:
    made = layout(size=Size(nodes=nodes))
    addresses = [made.address(host) for host in made.hosts]
    assert len(set(addresses)) == len(made.hosts) == nodes + 2
    assert all(ipaddress.IPv4Address(a) in SUBNET for a in addresses)
    assert str(SUBNET.broadcast_address) not in addresses
    assert expand(made.node_range) == list(made.nodes)
    assert f"{made.address('login')} login\n" in etc_hosts(made)


@given(st.integers(0, 64), st.integers(1, 300))
def test_every_gpu_is_near_some_cores(gpus: int, cpus: int) -> None:
    text = gres_conf(layout(size=Size(gpus=gpus, cpus=cpus)))
    files = re.findall(r"File=(\S+) Cores=(\d+)-(\d+)", text)
    named = [device for file, _, _ in files for device in expand(file)]
    assert named == [f"/dev/nvidia{i}" for i in range(gpus)]
    assert all(0 <= int(first) <= int(last) < cpus for _, first, last in files)
    sockets = re.search(
        r"Sockets=(\d+) CoresPerSocket=(\d+)", slurm_conf(layout(size=Size(cpus=cpus)))
    )
    assert sockets
    assert int(sockets[1]) * int(sockets[2]) == cpus


def test_own_lines_replace_those_of_the_same_key() -> None:
    extra = ("maxarraysize=5", "PartitionName=more Nodes=node1", "SlurmdDebug=debug2")
    text = slurm_conf(layout(slurm_conf=extra))
    assert "MaxArraySize=1001" not in text
    assert "SlurmdDebug=info" not in text
    assert "PartitionName=debug" in text
    assert text.endswith("\n".join(extra) + "\n")


def test_timeout_and_untyped_gpus_arrive() -> None:
    text = slurm_conf(layout(slurmd_timeout_s=44, size=Size(gpu_type="", gpus=3)))
    assert keys(text)["SlurmdTimeout"] == "44"
    assert "Gres=gpu:3 " in text
    assert "Type=" not in gres_conf(layout(size=Size(gpu_type="")))
    assert "Gres=" not in slurm_conf(layout(size=Size(gpus=0)))


def test_cgroups_are_off_where_slurm_can_say_so() -> None:
    assert "disabled" in cgroup_conf((26, 5))
    assert "disabled" not in cgroup_conf((22, 5))


def test_host_names_come_from_files_alone(tmp_path: Path) -> None:
    original = tmp_path / "nsswitch.conf"
    original.write_text("passwd: files sss\nhosts: files mdns4 dns\ngroup: files\n")
    lines = nsswitch_conf(original).splitlines()
    assert "passwd: files sss" in lines
    assert [line for line in lines if line.startswith("hosts:")] == ["hosts: files"]
    assert "hosts: files\n" in nsswitch_conf(tmp_path / "absent")
