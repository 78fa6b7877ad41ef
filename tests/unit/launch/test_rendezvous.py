"""Ranks meet where rank 0 of their own step says, and nowhere else."""

import os
import threading
import time
from pathlib import Path

import pytest

from slurmkit.errors import SlurmkitError, UsageError
from slurmkit.launch.rendezvous import await_published, publish, resolve, step_key
from slurmkit.launch.variables import Placement

PLACE = Placement(3, 4, 1, 2, 1, 2)
ALONE = Placement(0, 1, 0, 1, 0, 1)
RANK_0 = Placement(0, 4, 0, 2, 0, 2)
STEP = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_CLUSTER_NAME": "c",
    "SLURM_SRUN_COMM_HOST": "10.0.0.1",
    "SLURM_SRUN_COMM_PORT": "4711",
}
SUPERVISED = STEP | {
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "17000",
    "SLURMKIT_RENDEZVOUS_HOST": "node1",
    "SLURMKIT_INCARNATION": "7.0.abcd",
}


def test_the_supervisors_word_is_taken() -> None:
    assert resolve(PLACE, SUPERVISED) == ("node1", "17000")


def test_the_users_own_is_taken() -> None:
    env = STEP | {"MASTER_ADDR": "node1-ib0", "MASTER_PORT": "29500"}
    assert resolve(PLACE, env) == ("node1-ib0", "29500")


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1", "::1"])
def test_localhost_for_several_nodes_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="ranks cannot meet there"):
        resolve(PLACE, STEP | {"MASTER_ADDR": address, "MASTER_PORT": "29500"})


def test_rank_0_elsewhere_is_refused() -> None:
    with pytest.raises(UsageError, match="rank 0 runs on node2"):
        resolve(RANK_0, SUPERVISED | {"SLURMD_NODENAME": "node2"})


@pytest.mark.parametrize(
    "change",
    [
        {"SLURMKIT_INCARNATION": "6.0.abcd"},  # inherited from another job
        {"SLURM_STEP_NODELIST": "node[2-3]"},  # a step that begins without the batch host
    ],
)
def test_a_rendezvous_of_another_step_is_not_taken(change: dict[str, str], tmp_path: Path) -> None:
    env = SUPERVISED | change | {"SLURMKIT_RENDEZVOUS_DIR": str(tmp_path)}
    address, port = resolve(RANK_0, env | {"SLURMD_NODENAME": "node9"}) or ("", "")
    assert address == "node9"
    assert resolve(PLACE, env) == ("node9", port)


def test_rank_0_publishes_and_the_others_read(tmp_path: Path) -> None:
    env = STEP | {"HOME": str(tmp_path), "SLURMKIT_MASTER_ADDR_SUFFIX": "-ib0"}
    found: list[tuple[str, str] | None] = []
    waiting = threading.Thread(target=lambda: found.append(resolve(PLACE, env)))
    waiting.start()
    time.sleep(0.1)
    published = resolve(RANK_0, env | {"SLURMD_NODENAME": "node1"})
    waiting.join(10)
    assert found == [published]
    assert published
    assert published[0] == "node1-ib0"
    (file,) = (tmp_path / ".cache" / "slurmkit" / "rendezvous").iterdir()
    assert file.name == "c_7_0_0_10.0.0.1_4711"


def test_the_runs_folder_is_used_when_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "array" / "3" / "rendezvous").mkdir(parents=True)
    env = STEP | {"SLURMKIT_RUN_DIR": str(tmp_path), "SLURM_ARRAY_TASK_ID": "3"}
    resolve(RANK_0, env)
    assert list((tmp_path / "array" / "3" / "rendezvous").iterdir())


@pytest.mark.parametrize(
    "name",
    [
        "SLURM_CLUSTER_NAME",
        "SLURM_JOB_ID",
        "SLURM_STEP_ID",
        "SLURM_RESTART_COUNT",
        "SLURM_SRUN_COMM_PORT",
    ],
)
def test_nothing_that_another_step_published_is_read(name: str, tmp_path: Path) -> None:
    env = STEP | {"SLURMKIT_RENDEZVOUS_DIR": str(tmp_path), "SLURMKIT_RENDEZVOUS_TIMEOUT_S": "0.1"}
    resolve(RANK_0, env)
    with pytest.raises(SlurmkitError, match="rank 0 on node1 published no address"):
        resolve(PLACE, env | {name: "99"})


def test_a_task_alone_needs_nobody(tmp_path: Path) -> None:
    env = STEP | {"SLURMD_NODENAME": "node1", "HOME": "/nonexistent"}
    assert (resolve(ALONE, env) or ("",))[0] == "node1"


def test_mpirun_without_pmix_has_no_rendezvous() -> None:
    assert step_key({"PMI_RANK": "0"}) == ""
    assert resolve(Placement(1, 4, 1, 2), {"PMI_RANK": "1"}) is None
    assert step_key({"PMIX_NAMESPACE": "prterun/x@1"}) == "mpirun_prterun-x@1"


def test_ranks_of_mpirun_have_one_key_also_where_a_step_started_its_daemon() -> None:
    """Open MPI starts its daemons on other nodes by srun, and none where it runs itself."""
    here = {"SLURM_JOB_ID": "7", "PMIX_NAMESPACE": "1266024449"}
    assert step_key(here) == step_key(here | STEP) == "mpirun_1266024449"
    by_slurm = STEP | {"PMIX_NAMESPACE": "slurm.pmix.7.0"}
    assert step_key(by_slurm) == step_key(STEP)


def test_a_silent_rank_0_is_named(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(SlurmkitError) as caught:
        await_published(str(tmp_path / "key"), "node1", 0.2)
    assert time.monotonic() - started < 5
    message = str(caught.value)
    for part in ("rank 0 on node1", str(tmp_path / "key"), os.uname().nodename, "0.2 s"):
        assert part in message


def test_a_bad_timeout_is_refused(tmp_path: Path) -> None:
    env = STEP | {"SLURMKIT_RENDEZVOUS_DIR": str(tmp_path), "SLURMKIT_RENDEZVOUS_TIMEOUT_S": "soon"}
    with pytest.raises(UsageError, match="SLURMKIT_RENDEZVOUS_TIMEOUT_S='soon'"):
        resolve(PLACE, env)


def test_an_unwritable_folder_is_named() -> None:
    with pytest.raises(UsageError, match="cannot publish its address in /proc/none") as caught:
        publish("/proc/none/key", "a", "1")
    assert "SLURMKIT_RENDEZVOUS_DIR" in caught.value.hint


def test_what_is_days_old_is_swept(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    os.utime(tmp_path / "old", (0, 0))
    (tmp_path / "other").touch()
    publish(str(tmp_path / "key"), "a", "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "other"]
