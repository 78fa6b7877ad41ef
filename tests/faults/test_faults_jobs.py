"""Elements of an array, a job that comes back after its end, and programs in C."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm
PROGRAMS = Path(__file__).parent / "programs"


def test_a_late_requeue_ends_at_once(lab) -> None:
    run = lab.train("train", "--epochs", 1)
    run.until_done()
    run.until_gone()
    before = run.steps(), len(run.committed()), len(run.events("attempt_started"))
    lab.slurm("scontrol", "requeue", run.job_id)
    run.hurry()
    assert run.until_gone() == "COMPLETED 0:0"
    assert (run.steps(), len(run.committed()), len(run.events("attempt_started"))) == before
    assert len({record.incarnation for record in run.ledger()}) <= 2


def test_an_element_of_an_array_fails_alone(lab) -> None:
    for task in (0, 1):
        (lab.folder / f"element-{task}").mkdir()
    folder = f"{lab.folder}/element-$SLURM_ARRAY_TASK_ID"
    script = f"exec python {PROGRAMS / 'plain.py'} --folder {folder}"
    run = lab.submit(
        "array",
        ["sh", "-c", f'{script} --fault "$0"', "{sweep.fault}"],
        sweep='fault: ["none:0:0", "kill:1:23"]',
        checkpoint="",
        resources="nodes: 2, tasks_per_node: 1, cpus_per_task: 1, time: 10m",
        resilience="on_node_failure: requeue, heartbeat_s: 1",
    )
    elements = [run.of_element(task, lab.folder / f"element-{task}") for task in (0, 1)]
    for element in elements:
        element.until_done()
        element.check_plain()
    assert [element.decisions() for element in elements] == [["done"], ["relaunch", "done"]]


@pytest.mark.skipif(shutil.which("mpicc") is None, reason="there is no MPI compiler here")
@pytest.mark.parametrize("fault", ["node", "rank"])
def test_an_unmodified_mpi_program_in_c(lab, fault: str) -> None:
    program = lab.folder / "ring"
    subprocess.run(["mpicc", "-O1", "-o", program, PROGRAMS / "ring.c"], check=True, timeout=60)
    run = lab.submit("ring", [program], checkpoint="", kind="mpi")

    def lines() -> list[str]:
        logs = sorted(run.path.glob("logs/attempt-*/rank-00000.log"))
        return logs[-1].read_text().splitlines() if logs else []

    run.until(lambda: "step 10" in lines(), 60, "step 10")
    if fault == "node":
        lab.cluster.kill(hosts_of(run)[1])
    else:
        lab.cluster.exec(hosts_of(run)[1], ["pkill", "-KILL", "-x", "ring"])
    run.until_done()
    assert lines()[-1] == f"total {3 * 60 * 61 // 2} of 2 ranks"
    assert run.decisions() == [{"node": "spare", "rank": "relaunch"}[fault], "done"]
    run.check_ledger()


def hosts_of(run) -> list[str]:
    (started,) = run.events("attempt_started")
    hosts: list[str] = run.lab.slurm(
        "scontrol", "show", "hostnames", started.fields["nodes"]
    ).split()
    return hosts
