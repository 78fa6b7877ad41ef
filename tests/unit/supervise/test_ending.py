"""What becomes of a job, from Slurm's states and from what slurmstepd wrote."""

from pathlib import Path

import pytest

from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.secretfile import read_secrets, write_secrets
from slurmkit.supervise.context import JobContext, job_context, step_hosts
from slurmkit.supervise.ending import Fate, fate_of, remove_secrets_if_over

_STEPD = b"[rank 0] slurmstepd-node1: error: *** STEP 4.0 ON node1 CANCELLED AT 2026-11-20T13:01:31"


@pytest.mark.parametrize(
    ("states", "said", "fate"),
    [
        ([], b"", Fate()),
        (["RUNNING", "RUNNING"], b"", Fate()),
        # the step alone was ended: KillOnBadExit, or TERM to the batch script
        (["RUNNING", "RUNNING"], _STEPD + b" ***", Fate()),
        (["CANCELLED", "COMPLETING"], b"", Fate("cancelled")),
        (["COMPLETING", "COMPLETING"], _STEPD + b" ***", Fate("cancelled")),
        (
            ["COMPLETING", "COMPLETING"],
            _STEPD + b" DUE TO JOB REQUEUE ***",
            Fate("requeued", again=True),
        ),
        (["PENDING", "COMPLETING"], b"", Fate("requeued", again=True)),
        ([], _STEPD + b" DUE TO NODE FAILURE, SEE SLURMCTLD LOG", Fate("node_fail", again=True)),
        (["COMPLETING"], _STEPD + b" DUE TO TIME LIMIT ***", Fate("timeout")),
        (["TIMEOUT", "COMPLETING"], b"", Fate("timeout")),
        (["COMPLETING"], _STEPD + b" DUE TO PREEMPTION ***", Fate("preempted", again=True)),
        (["PREEMPTED", "PREEMPTED"], _STEPD + b" DUE TO PREEMPTION ***", Fate("preempted")),
        (
            ["COMPLETING"],
            b"[rank 0] [2026-11-20T13:25:47.036] error: *** STEP 9.0 ON node1 CANCELLED AT "
            b"2026-11-20T13:25:47 DUE TO JOB REQUEUE ***",
            Fate("requeued", again=True),
        ),
        # of several steps the last one counts
        (
            ["COMPLETING"],
            _STEPD + b" ***\n" + _STEPD + b" DUE TO JOB REQUEUE ***",
            Fate("requeued", again=True),
        ),
    ],
)
def test_fate(states: list[str], said: bytes, fate: Fate) -> None:
    assert fate_of(states, said) == fate


def _job(task: int | None = None, size: int = 0) -> JobContext:
    return JobContext("7", "7", task, size, 0, "n1", "n1")


def test_secrets_go_with_the_run(tmp_path: Path) -> None:
    write_secrets(tmp_path, {"A": "b"})
    assert remove_secrets_if_over(RunDir(tmp_path), _job())
    assert read_secrets(tmp_path) is None
    assert not remove_secrets_if_over(RunDir(tmp_path), _job())


def test_secrets_go_with_the_last_element_of_an_array(tmp_path: Path) -> None:
    write_secrets(tmp_path, {"A": "b"})
    run = RunDir(tmp_path)
    for task in (4, 0, 2):
        run.element(task).new_attempt()
    assert not remove_secrets_if_over(run, _job(2, 3))
    assert not remove_secrets_if_over(run, _job(2, 3))
    assert not remove_secrets_if_over(run, _job(4, 3))
    assert read_secrets(tmp_path) == {"A": "b"}
    assert remove_secrets_if_over(run, _job(0, 3))


def test_context_of_a_job_and_of_an_element() -> None:
    env = {"SLURM_JOB_ID": "12", "SLURM_JOB_NODELIST": "n[1-2]", "SLURMD_NODENAME": "n1"}
    assert job_context(env) == JobContext("12", "12", None, 0, 0, "n[1-2]", "n1")
    array = {
        "SLURM_ARRAY_JOB_ID": "10",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_ARRAY_TASK_COUNT": "9",
        "SLURM_RESTART_COUNT": "1",
    }
    assert job_context(env | array) == JobContext("12", "10_3", 3, 9, 1, "n[1-2]", "n1")
    outside = job_context({})
    assert (outside.job_id, outside.key) == ("local", "")


@pytest.mark.parametrize(
    ("command", "hosts"),
    [
        (["srun", "--nodelist=n[2-3]", "x"], ["n2", "n3"]),
        (["srun", "-w", "n3", "x"], ["n3"]),
        (["srun", "x"], ["n1", "n2"]),
        (["srun", "--", "x", "--nodelist=n9"], ["n1", "n2"]),
        (["srun", "--nodelist=./hosts", "x"], ["n1", "n2"]),
        (["srun", "-w", "n[1-", "x"], ["n1", "n2"]),
    ],
)
def test_hosts_of_the_step(command: list[str], hosts: list[str]) -> None:
    job = job_context({"SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n[1-2]"})
    assert step_hosts(command, job) == hosts
