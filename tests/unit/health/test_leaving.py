"""Jobs that leave a node: who can by itself, what Slurm says of nodes, what the agent says."""

from pathlib import Path

import pytest

from slurmkit.api import health_node
from slurmkit.api.health_node import _supervised_jobs
from slurmkit.errors import SlurmError, SlurmkitError
from slurmkit.health.run import preflight
from slurmkit.slurm.nodes import NodeRecord, parse_node, parse_sinfo
from slurmkit.supervise.agent_events import NodeUnfit
from slurmkit.supervise.agent_messages import event_of

# As scontrol of 22.05 and of 26.05 print it; lines that do not matter are left out.
OLD = """NodeName=node3 Arch=x86_64 CoresPerSocket=32
   CPUAlloc=0 CPUEfctv=64 CPUTot=64 CPULoad=1.83
   State=MIXED*+DRAIN+PLANNED ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A
   Partitions=debug,long,closed
   ExtSensorsJoules=n/s ExtSensorsWatts=0 ExtSensorsTemp=n/s
   Reason=a|b State=IDLE x [root@2026-11-21T15:21:42]

"""
NEW = """NodeName=node1 Arch=x86_64 CoresPerSocket=32
   State=IDLE ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A
   Comment=Reason=none
   GresDrain=N/A
"""


def test_a_node_as_scontrol_shows_it() -> None:
    found = parse_node("node3", OLD)
    assert found.flags == {"MIXED", "DRAIN", "PLANNED"}
    assert (found.reason, found.reason_by) == ("a|b State=IDLE x", "root")
    assert found.reason_at == 1795274502.0
    assert parse_node("node1", NEW) == NodeRecord("node1", frozenset({"IDLE"}))
    with pytest.raises(SlurmError, match="no state"):
        parse_node("node1", "slurm_load_node error: Invalid node name specified\n")


def test_all_nodes_as_sinfo_shows_them() -> None:
    printed = (
        "node1|idle|Unknown|Unknown|none\nnode1|idle|Unknown|Unknown|none\n"
        "node2|draining@|root|2026-11-21T15:10:37|a|b\nnode3|drained*|root|2026-11-21T15:10:37|c\n"
    )
    first, second, third = parse_sinfo(printed)
    assert first == NodeRecord("node1", frozenset({"IDLE"}))
    assert second.flags == {"MIXED", "DRAIN"}
    assert second.reason == "a|b"
    assert "DRAIN" in third.flags


def process(proc: Path, pid: int, command: str, **environ: str) -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "cmdline").write_text(command.replace(" ", "\0"))
    (folder / "environ").write_text("\0".join(f"{name}={text}" for name, text in environ.items()))


def test_jobs_that_move_by_themselves_and_those_that_have_moved(tmp_path: Path) -> None:
    agent = "/opt/bin/python -m slurmkit agent /runs/control/agents.json"
    process(tmp_path, 10, agent, SLURM_JOB_ID="1", SLURM_STEP_ID="0")
    process(tmp_path, 11, "python train.py", SLURM_JOB_ID="1", SLURM_STEP_ID="1")
    # Its ranks have left; the agent and the batch script stay.
    process(tmp_path, 20, agent, SLURM_JOB_ID="2", SLURM_STEP_ID="0")
    process(tmp_path, 21, "slurmkit supervise /runs/x -- srun a", SLURM_JOB_ID="2")
    # This one has nobody who would move it.
    process(tmp_path, 30, "python train.py", SLURM_JOB_ID="3", SLURM_STEP_ID="0")
    assert _supervised_jobs(tmp_path) == {"1": True, "2": False}


def test_what_an_agent_says_of_its_node() -> None:
    said = event_of("node2", {"type": "unfit", "why": "gpu-xid: Xid 79"})
    assert said == NodeUnfit("node2", "gpu-xid: Xid 79")


def test_a_broken_file_of_the_site_keeps_no_job_from_its_preflight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "health.json").write_text("{")
    monkeypatch.setenv("SLURMKIT_HEALTH_CONF", str(tmp_path / "health.json"))
    found = preflight("quick", folder=None, num_gpus=None, within_s=9.0)
    assert "memory" in {item.check for item in found}


def test_one_run_at_a_time_and_a_place_for_it_when_the_disk_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "lock"
    with health_node._alone(lock) as first, health_node._alone(lock) as second:
        assert (first, second) == (True, False)
    with health_node._alone(tmp_path / "lock") as again:
        assert again
    monkeypatch.setattr(health_node, "_IN_MEMORY", tmp_path / "memory")
    assert health_node._usable(tmp_path / "state") == tmp_path / "state"
    # As a disk that is read-only: nothing can be made there.
    assert health_node._usable(Path("/proc/health")) == tmp_path / "memory"
    monkeypatch.setattr(health_node, "_IN_MEMORY", Path("/proc/memory"))
    with pytest.raises(SlurmkitError, match="neither /proc/health nor /proc/memory can be written"):
        health_node._usable(Path("/proc/health"))
