"""What a running job asks and tells Slurm about itself, on real clusters of two releases."""

import os
import sys
import time
from pathlib import Path

import pytest

from slurmkit.sandbox import Sandbox

pytestmark = pytest.mark.slurm

# Runs on a host of the cluster, where Slurm's programs are.
_ASK = """
import sys
from slurmkit.errors import SlurmkitError
from slurmkit.slurm.control import JobControl
control = JobControl()
try:
    print(eval(sys.argv[1]))
except SlurmkitError as error:
    print(type(error).__name__, error.message)
"""


class Asker:
    """Jobs on a cluster, and questions about them."""

    def __init__(self, cluster: Sandbox, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder

    def ask(self, expression: str, **names: str) -> str:
        for name, value in names.items():
            expression = expression.replace(name, repr(value))
        done = self.cluster.exec("login", [sys.executable, "-c", _ASK, expression], check=True)
        return done.stdout.strip()

    def submit(self, script: str, *options: str) -> str:
        path = self.folder / "job.sh"
        path.write_text(f"#!/bin/bash\n{script}\n")
        words = ["sbatch", "--parsable", f"--output={self.folder}/out-%a", *options, str(path)]
        return self.cluster.exec("login", words, check=True).stdout.strip()

    def until(self, expression: str, words: str, **names: str) -> str:
        deadline = time.monotonic() + 30
        while True:
            said = self.ask(expression, **names)
            if words in said:
                return said
            assert time.monotonic() < deadline, said
            time.sleep(0.2)


@pytest.fixture
def asker(any_cluster: Sandbox, request: pytest.FixtureRequest) -> Asker:
    folder = any_cluster.shared_dir / f"control-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    return Asker(any_cluster, folder)


def test_a_running_job_and_its_steps(asker: Asker) -> None:
    told = f"{asker.folder}/told"
    script = f"""
    srun --job-name=attempt-7 bash -c 'trap "echo got > {told}; exit 0" TERM; sleep 60 & wait'
    echo $? > {asker.folder}/code
    sleep 60
    """
    job = asker.submit(script, "--nodes=2", "--time=5", "--exclude=node4")
    asker.until("[step.name for step in control.steps(JOB)]", "attempt-7", JOB=job)
    said = asker.ask("control.running_job(JOB)", JOB=job)
    assert "RUNNING" in said
    assert "excluded='node4'" in said
    assert "preempted=False" in said
    left = asker.ask("control.running_job(JOB).end_time", JOB=job)
    assert 200 < float(left) - time.time() < 301
    step = asker.ask("control.steps(JOB)[0].id", JOB=job)
    asker.ask("control.signal_step(STEP, 'TERM')", STEP=step)
    deadline = time.monotonic() + 20
    while not Path(told).exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert asker.ask("control.cancel_step(STEP)", STEP=step) == "None"  # it may have ended: fine
    asker.cluster.exec("login", ["scancel", job], check=True)


def test_a_step_is_cancelled_at_once(asker: Asker) -> None:
    script = "srun --job-name=attempt-1 bash -c 'trap \"\" TERM; sleep 300'; sleep 300"
    job = asker.submit(script, "--nodes=2")
    asker.until("[step.name for step in control.steps(JOB)]", "attempt-1", JOB=job)
    asker.ask("control.cancel_step(control.steps(JOB)[0].id)", JOB=job)
    asker.until("control.steps(JOB)", "[]", JOB=job)
    asker.cluster.exec("login", ["scancel", job], check=True)


def test_an_element_of_an_array_is_told_from_the_others(asker: Asker) -> None:
    job = asker.submit("sleep 60", "--array=3,5", "--nodes=1")
    for task in ("3", "5"):
        asker.until("control.running_job(JOB).state", "RUNNING", JOB=f"{job}_{task}")
    nodes = {asker.ask("control.running_job(JOB).nodes", JOB=f"{job}_{task}") for task in "35"}
    assert "SlurmError" in asker.ask("control.running_job(JOB)", JOB=f"{job}_4")
    assert nodes <= {"node1", "node2", "node3", "node4"}
    asker.cluster.exec("login", ["scancel", job], check=True)


def test_the_grace_is_kill_wait(asker: Asker) -> None:
    assert asker.ask("control.grace_s('debug')") == "5.0"
    assert asker.ask("control.answers()") == "True"


def test_where_no_job_is_preempted_none_is_requeued(asker: Asker) -> None:
    assert asker.ask("control.preemption_requeues('debug')") == "False"
    assert "SlurmError" in asker.ask("control.preemption_requeues('none')")


def test_requeue_and_its_refusal(asker: Asker) -> None:
    job = asker.submit("sleep 60", "--no-requeue", "--nodes=1")
    asker.until("control.running_job(JOB).state", "RUNNING", JOB=job)
    assert "RefusedError" in asker.ask("control.requeue(JOB)", JOB=job)
    asker.cluster.exec("login", ["scancel", job], check=True)
    job = asker.submit("sleep 60", "--requeue", "--nodes=1")
    asker.until("control.running_job(JOB).state", "RUNNING", JOB=job)
    assert asker.ask("control.requeue(JOB)", JOB=job) == "None"
    asker.until("control.running_job(JOB).state", "PENDING", JOB=job)
    assert "sleep 60" in asker.ask("control.batch_script(JOB)", JOB=job)
    asker.cluster.exec("login", ["scancel", job], check=True)


def test_a_job_that_nobody_knows(asker: Asker) -> None:
    assert "Error" in asker.ask("control.running_job('99999999')")
