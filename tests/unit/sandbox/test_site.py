"""What a sandbox makes of a site: which nodes, and what is changed."""

import ipaddress
from dataclasses import replace
from pathlib import Path

import pytest

from slurmkit.errors import UsageError
from slurmkit.sandbox import elastic, record
from slurmkit.sandbox.layout import Layout, Size
from slurmkit.sandbox.site import Trial, read_trial, spread
from slurmkit.site.lookup import read_site


def _layout(trial: Trial, tmp_path: Path, *, accounting: bool = True) -> Layout:
    return Layout(
        name="trial",
        state_dir=tmp_path,
        subnet=ipaddress.IPv4Network("10.96.0.0/22"),
        size=Size(len(trial.nodes), gpus=2, cpus=4, memory_mib=trial.memory_mib, gpu_type="h100"),
        accounting=accounting,
        site=trial.site.name,
        node_names=trial.nodes,
    )


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, "a"), (2, "af"), (3, "acf"), (4, "abdf"), (6, "abcdef"), (9, "abcdef")],
)
def test_nodes_are_spread_over_the_sites_own(count: int, expected: str) -> None:
    assert spread(list("abcdef"), count) == list(expected)


def test_a_shipped_site_is_found_by_name() -> None:
    trial = read_trial("dgx-h100", 4)
    assert trial.nodes == ("dgx01", "dgx22", "dgx43", "dgx64")
    assert trial.profile == "dgx-h100"
    assert trial.has_database
    assert trial.memory_mib == 1960 * 1024


def test_says_which_sites_there_are() -> None:
    with pytest.raises(UsageError, match="no site folder") as caught:
        read_trial("dgx-h1000", 4)
    assert "dgx-h100, hgx-b300-roce, sandbox" in caught.value.hint


@pytest.mark.parametrize(
    ("node_types", "message"),
    [
        ("{}", "names no nodes"),
        ("{a: {nodes: a-very-long-host-name, cores: 1, memory: 1G}}", "at most 13 letters"),
        ("{a: {nodes: 'n1,login', cores: 1, memory: 1G}}", "login: a sandbox has a host of that"),
    ],
)
def test_refuses_what_a_sandbox_cannot_have(node_types: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(f"name: a\nnode_types: {node_types}\n")
    with pytest.raises(UsageError, match=message):
        read_trial(str(tmp_path), 2)


@pytest.mark.parametrize("count", [0, -1])
def test_no_nodes_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match=f"--nodes {count}: a sandbox has at least one"):
        read_trial("sandbox", count)


def test_the_nodes_are_made_like_those_with_gpus(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(
        "name: a\nnode_types:\n  cpu: {nodes: 'c[1-9]', cores: 4, memory: 8G}\n"
        "  gpu: {nodes: 'g[1-9]', topology: dgx-h100, gpus: 8, memory: 80G}\n"
    )
    trial = read_trial(str(tmp_path), 1)
    assert (trial.kind.gpus, trial.profile, trial.memory_mib) == (8, "dgx-h100", 80 * 1024)
    files, _ = trial.files(_layout(trial, tmp_path, accounting=False), (24, 11))
    lines = files["/etc/slurm/slurm.conf"].text.splitlines()
    gres = {
        line.split()[0]: "Gres=gpu:h100:2" in line for line in lines if line.startswith("NodeN")
    }
    assert gres == {"NodeName=c1": False, "NodeName=g1": True}


def test_the_files_are_the_sites_with_what_one_machine_lacks_changed(tmp_path: Path) -> None:
    trial = read_trial("dgx-h100", 4)
    files, changes = trial.files(_layout(trial, tmp_path), (24, 11))
    told = [str(change) for change in changes]
    conf = files["/etc/slurm/slurm.conf"].text
    assert "NodeName=dgx[01,22,43,64] Sockets=2 CoresPerSocket=2 ThreadsPerCore=1" in conf
    assert "PartitionName=debug Nodes=dgx64 " in conf
    assert "SlurmdParameters=config_overrides" in conf
    assert "KillOnBadExit=1" in conf
    assert files["/etc/slurm/topology.conf"].text.count("Nodes=dgx") == 2
    assert "slurm.conf: ClusterName: dgx-h100 -> trial" in told
    assert "slurm.conf: NodeName: Gres: gpu:h100:8 -> gpu:h100:2" in told
    # No change without a word, and no word about what is as it was.
    assert not any("KillOnBadExit" in line or "SelectType" in line for line in told)
    assert not any(line.startswith("job_submit.lua") for line in told)


def test_a_site_of_another_release_says_so(tmp_path: Path) -> None:
    trial = read_trial("dgx-h100", 2)
    _, changes = trial.files(_layout(trial, tmp_path), (26, 5))
    assert str(changes[0]) == "all files: release: 24.11 -> 26.05"


def test_without_slurmdbd_there_are_no_tiers(tmp_path: Path) -> None:
    trial = read_trial("dgx-h100", 2)
    files, _ = trial.files(_layout(trial, tmp_path, accounting=False), (26, 5))
    conf = files["/etc/slurm/slurm.conf"].text
    assert "AccountingStorageType=accounting_storage/none" in conf
    assert "PreemptType" not in conf
    assert "/etc/slurm/slurmdbd.conf" not in files


def test_the_site_of_a_sandbox_can_be_read_again(tmp_path: Path) -> None:
    """Its own commands read it, such as the one that makes tiers and accounts."""
    (tmp_path / "site.yaml").write_text(
        "node_types: {a: {nodes: 'n[1-9]', cores: 4, memory: 8G}, b: {}}\n"
        "health: {node_types: {b: {mounts: [/raid]}}}\nslurm: {database: db}\n"
        "switches: {leaves: {s1: {nodes: 'n[1-5]'}, s2: {nodes: 'n[6-9]'}}}\n"
        "tiers: {x: {qos: x, preemptible: true}}\n"
        "accounts: {c: {tiers: [x], users: [root, user1]}}\n"
    )
    trial = read_trial(str(tmp_path), 2)
    files, _ = trial.files(_layout(trial, tmp_path), (24, 11))
    again = tmp_path / "again.yaml"
    again.write_text(files["/etc/slurmkit/site.yaml"].text)
    site = read_site(again).site
    assert site.node_types["a"].nodes == "n[1,9]"
    assert site.accounts["c"].users == ["root", "user1"]
    assert site.health == trial.site.health


def test_lines_of_the_site_give_way_to_those_of_the_sandbox(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(
        "node_types: {a: {nodes: n1, cores: 4, memory: 8G}}\n"
        "slurm: {lines: ['SlurmdParameters=numa_node_as_socket', 'MinJobAge=100', 'KillWait=9']}\n"
    )
    trial = read_trial(str(tmp_path), 1)
    layout = replace(_layout(trial, tmp_path, accounting=False), slurm_conf=("KillWait=8",))
    files, _ = trial.files(layout, (24, 11))
    lines = files["/etc/slurm/slurm.conf"].text.splitlines()
    keys = ("SlurmdParameters=", "MinJobAge=", "KillWait=")
    assert [line for line in lines if line.startswith(keys)] == [
        *("MinJobAge=100", "SlurmdParameters=config_overrides", "KillWait=8"),
    ]


def test_idle_nodes_are_stopped_by_the_sandboxs_own_driver(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(
        "name: a\nnode_types: {a: {nodes: 'n[1-9]', cores: 4, memory: 8G}}\n"
        "elastic: {driver: /sbin/bmc, nodes: 'n[5-9]', present: false, keep: 7}\n"
    )
    trial = read_trial(str(tmp_path), 3)
    assert trial.nodes == ("n1", "n5", "n9")
    assert trial.is_elastic
    files, _ = trial.files(_layout(trial, tmp_path, accounting=False), (24, 11))
    conf = files["/etc/slurm/slurm.conf"].text
    assert "SuspendExcNodes=n[5,9]:1,n1" in conf
    assert "State=CLOUD" not in conf
    assert f"driver: {tmp_path}/elastic/driver" in files["/etc/slurmkit/site.yaml"].text
    assert "ELASTIC_LOG=" in files["/etc/slurm/elastic/settings"].text


def test_the_driver_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    layout = _layout(read_trial("sandbox", 2), tmp_path)
    said = "failed 'restart' is none of start, stop and list"
    assert elastic.respond(layout, "restart", ["node1"]) == [f"node1 {said}"]
    assert elastic.respond(layout, "start", ["other"]) == [
        "other failed it is no node of this sandbox"
    ]


def test_the_record_keeps_names_and_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURMKIT_SANDBOX_ROOT", str(tmp_path))
    trial = read_trial("hgx-b300-roce", 2)
    layout = _layout(trial, tmp_path / "trial")
    layout.state_dir.mkdir()
    record.write_record(layout, record.PHASE_UP)
    record.write_changes(layout, ["a: b: c -> d"])
    read = record.read_record("trial")
    assert read is not None
    assert read[0].nodes == ("b300-01", "b300-16")
    assert read[0].node_range == "b300-[01,16]"
    assert read[0].address("b300-16") == "10.96.0.18"
    assert record.read_changes(read[0]) == ["a: b: c -> d"]
