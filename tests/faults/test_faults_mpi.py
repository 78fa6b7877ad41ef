"""MPI programs in C and Python go on after a failure, and end with the very same result."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slurm
STARTERS = Path(__file__).parents[2] / "templates/starters"
# Ranks that wait would take the CPU from those that work: here are more ranks than cores.
ENV = 'OMP_NUM_THREADS: "1", OMPI_MCA_mpi_yield_when_idle: "1", UCX_TLS: "tcp,self"'
CELLS, STEPS = 48, 600


@pytest.fixture(scope="module")
def heat(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """The starter's program, compiled; a function that puts it into a folder."""
    if shutil.which("mpicc") is None:
        pytest.skip("mpicc is not installed (apt-get install libopenmpi-dev)")
    program = tmp_path_factory.mktemp("heat") / "heat"
    source = STARTERS / "heat-mpi/heat.c"
    subprocess.run(["mpicc", "-O2", "-Wall", "-o", program, source], check=True, timeout=60)
    return lambda folder: Path(shutil.copy(program, folder / "heat"))


def plate() -> str:
    """The digest of the plate as NumPy computes it, in the order of operations of heat.c."""
    field = np.zeros((CELLS, CELLS))
    field[0] = 100.0
    for _ in range(STEPS):
        inner = (field[:-2, 1:-1] + field[2:, 1:-1]) + (field[1:-1, :-2] + field[1:-1, 2:])
        field[1:-1, 1:-1] = 0.25 * inner
    return hashlib.sha256(field.tobytes()).hexdigest()


def submit_heat(lab: Any, heat: Any, name: str = "heat", **sections: str) -> Any:
    program = heat(lab.folder)
    sections = {"env": ENV, "checkpoint": "dir: ckpt, every: 50 steps, keep: 3", **sections}
    return lab.submit(name, [program, CELLS, STEPS, 10], kind="mpi", **sections)


def check_heat(lab: Any, run: Any) -> None:
    assert (lab.folder / "plate.bin").exists(), run.said()
    found = hashlib.sha256((lab.folder / "plate.bin").read_bytes()).hexdigest()
    assert found == plate(), run.said()
    run.check_commits()


def started_from(run: Any) -> list[int]:
    """The step that each attempt began with, as rank 0 said."""
    logs = sorted(run.element.glob("attempts/*/rank-00000.log"), key=lambda p: int(p.parts[-2]))
    logs = logs or sorted(run.element.rglob("*rank*0.log"))
    words = [line for log in logs for line in log.read_text().splitlines() if "from step" in line]
    return [int(line.rpartition(" ")[2]) for line in words]


def test_a_c_program_goes_on_on_another_node(lab: Any, heat: Any) -> None:
    run = submit_heat(lab, heat)
    run.until(run.committed, 60, "a checkpoint")
    record = run.events("attempt_started")[-1].fields
    victim = record["step_nodes"][-1]
    assert victim != record["host"]
    lab.cluster.kill(victim)
    run.until_done(120)
    check_heat(lab, run)
    assert [item.fields["host"] for item in run.events("node_lost")] == [victim]
    assert run.decisions() == ["spare", "done"]
    first, second = started_from(run)
    assert first == 0
    assert second >= 50


def test_a_c_program_is_warned_by_a_file_and_goes_on_later(lab: Any, heat: Any) -> None:
    """The end of the time is announced; what saved then goes on in the next start."""
    run = submit_heat(lab, heat, checkpoint="dir: ckpt, every: 10000 steps, keep: 3")
    run.until(lambda: started_from(run), 60, "the program's first words")
    lab.slurm("scancel", "--batch", "--signal=USR1", run.job_id)
    lab.slurm("scancel", "--batch", "--signal=USR2", run.job_id)
    run.until_event("warned")
    run.until(run.committed, 60, "a checkpoint")
    (saved,) = (manifest["step"] for manifest in run.committed())
    assert 0 < saved < STEPS
    run.until_event("attempt_ended", 60)
    run.until(lambda: run.waits() or len(started_from(run)) > 1, 60, "the next start")
    if run.waits():
        run.hurry()
    run.until_done(120)
    check_heat(lab, run)
    assert started_from(run) == [0, saved]


@pytest.mark.long
def test_a_c_program_goes_on_with_fewer_ranks(lab: Any, heat: Any) -> None:
    """What was saved by three ranks is read by two, and the result is the same to the last bit."""
    run = submit_heat(
        lab,
        heat,
        resources="nodes: 3, tasks_per_node: 1, cpus_per_task: 1, time: 10m",
        resilience="on_node_failure: shrink, min_nodes: 2, heartbeat_s: 1",
    )
    run.until(run.committed, 60, "a checkpoint")
    lab.cluster.kill(run.events("attempt_started")[-1].fields["step_nodes"][-1])
    run.until_done(120)
    check_heat(lab, run)
    assert run.decisions() == ["shrink", "done"]
    said = [line for line in run.said().splitlines() if "ranks, 48 x 48 cells, from step" in line]
    assert any("3 ranks" in line for line in said), run.said()
    assert any("2 ranks" in line for line in said), run.said()


@pytest.mark.long
@pytest.mark.parametrize("family", ["openmpi", "mpich"])
def test_a_rank_of_mpirun_is_killed(lab: Any, tmp_path: Path, family: str) -> None:
    """With the mpirun of each MPI: the whole program is started again, from its checkpoint."""
    compiler = f"mpicc.{family}"
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    program = lab.folder / "heat"
    source = STARTERS / "heat-mpi/heat.c"
    subprocess.run([compiler, "-O2", "-o", program, source], check=True, timeout=60)
    root = 'OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1"'
    job = (
        f"name: mpirun\nenv: {{{ENV}, {root}}}\n"
        "resources: {nodes: 2, tasks_per_node: 1, cpus_per_task: 1, time: 10m}\n"
        "checkpoint: {dir: ckpt, every: 50 steps, keep: 3}\n"
        "resilience: {on_node_failure: successor, heartbeat_s: 1}\n"
        f"launch: {{kind: mpi, launcher: mpirun, command: [./heat, '{CELLS}', '{STEPS}', '10']}}\n"
    )
    run = lab.submit_text("mpirun", job)
    run.until(run.committed, 60, "a checkpoint")
    victim = run.events("attempt_started")[-1].fields["step_nodes"][-1]
    lab.cluster.exec(victim, ["pkill", "-KILL", "-x", "heat"], check=True)
    run.until((lab.folder / "plate.bin").exists, 120, "the result")
    run.until_done(60)
    check_heat(lab, run)
    assert run.decisions()[0] == "relaunch"
    assert run.events("task_exited")[0].fields["host"] == victim


@pytest.mark.long
def test_ranks_that_slurm_cannot_bring_together_are_started_again(lab: Any, heat: Any) -> None:
    """Two nodes do not reach each other: PMIx gives up after some 30 s, and MPI_Init waits on."""
    nodes = sorted(host.name for host in lab.cluster.status() if host.name.startswith("node"))
    (address,) = lab.cluster.exec(nodes[2], ["hostname", "-I"], check=True).stdout.split()
    cut = ["ip", "route", "add", "unreachable", address]
    lab.cluster.exec(nodes[1], cut, check=True)
    try:
        run = submit_heat(
            lab,
            heat,
            resources="nodes: 3, tasks_per_node: 1, cpus_per_task: 1, time: 10m",
            resilience="on_node_failure: requeue, heartbeat_s: 1",
        )
        run.until(lambda: run.events("failure"), 120, "PMIx gives up")
    finally:
        lab.cluster.exec(nodes[1], ["ip", "route", "del", "unreachable", address], check=True)
    run.until_done(120)
    check_heat(lab, run)
    assert run.decisions() == ["relaunch", "done"]
    # Ranks that did not meet wait for ever, or crash.
    assert run.events("failure")[0].fields["kind"] in ("hang", "transient")
    assert f"PMIx on {nodes[1]}" in run.events("failure")[0].fields["reason"]
    assert "PMIx" in lab.slurmkit("explain", run.path).stdout


@pytest.mark.long
def test_damage_is_passed_over(lab: Any, heat: Any) -> None:
    """The newest checkpoint is damaged while its rank is dying: the one before is taken."""
    run = submit_heat(lab, heat)
    run.until(lambda: len(run.committed()) > 1, 60, "two checkpoints")
    nodes = run.events("attempt_started")[-1].fields["step_nodes"]
    lab.slurm("scancel", "--signal=STOP", f"{run.job_id}.0")
    older, newest = (manifest["step"] for manifest in run.committed()[-2:])
    with (run.element / f"ckpt/step-{newest:010d}/plate.bin").open("r+b") as file:
        file.write(b"damage")
    lab.cluster.kill(nodes[-1])
    run.until_done(120)
    check_heat(lab, run)
    assert started_from(run)[:2] == [0, older]


def sgd(lab: Any, name: str, pause: float) -> Any:
    command = ["python", STARTERS / "mpi4py-sgd/sgd.py", "--steps=120", f"--pause={pause}"]
    checkpoint = "dir: ckpt, every: 20 steps, keep: 3"
    return lab.submit(name, command, kind="mpi", env=ENV, checkpoint=checkpoint)


def digest_of(run: Any) -> str:
    done = [line for line in run.said().splitlines() if "done: weights " in line]
    assert done, run.said()
    return done[-1].rpartition(" ")[2]


def test_mpi4py_sgd_killed_and_resumed_has_the_weights_of_a_run_that_was_not(lab: Any) -> None:
    pytest.importorskip("mpi4py")
    run = sgd(lab, "killed", 0.05)
    run.until(run.committed, 60, "a checkpoint")
    victim = run.events("attempt_started")[-1].fields["step_nodes"][-1]
    lab.cluster.kill(victim)
    run.until_done(120)
    run.check_commits()
    assert run.decisions() == ["spare", "done"]
    assert started_from(run)[1] >= 20
    lab.mend()
    undisturbed = sgd(lab, "undisturbed", 0)
    undisturbed.until_done(120)
    assert started_from(undisturbed) == [0]
    assert digest_of(run) == digest_of(undisturbed)


def test_the_environment_of_the_protocol(lab: Any) -> None:
    """What docs/how-to/checkpoint-any-program.md names is there, and right."""
    names = "SLURMKIT_RESTART_DIR SLURMKIT_WARNING_FILE SLURMKIT_CHECKPOINT_DIR SLURMKIT"
    script = (
        "import json, os, subprocess; dir = os.environ['SLURMKIT_RESTART_DIR']\n"
        "tool = os.environ['SLURMKIT']\n"
        "if os.environ['SLURM_PROCID'] == '0':\n"
        "    step = str(int(dir[-10:]) + 1) if dir else '1'\n"
        "    new = subprocess.run([tool, 'ckpt', 'begin', step], text=True, check=True,\n"
        "                         stdout=subprocess.PIPE).stdout.strip()\n"
        "    open(new + '/state', 'w').write(step)\n"
        "    subprocess.run([tool, 'ckpt', 'commit', step], check=True)\n"
        f"    seen = {{name: os.environ[name] for name in '{names}'.split()}}\n"
        "    open(f'seen-{step}.json', 'w').write(json.dumps(seen))\n"
        "    raise SystemExit(step == '1')\n"
    )
    run = lab.submit("any", ["python", "-c", script], kind="command")
    run.until_done()
    first, second = (
        json.loads((lab.folder / f"seen-{step}.json").read_text()) for step in ("1", "2")
    )
    folder = str(run.element / "ckpt")
    assert first["SLURMKIT_RESTART_DIR"] == ""
    assert second["SLURMKIT_RESTART_DIR"] == f"{folder}/step-0000000001"
    assert first["SLURMKIT_CHECKPOINT_DIR"] == folder
    assert first["SLURMKIT_WARNING_FILE"] != second["SLURMKIT_WARNING_FILE"]
    assert not Path(first["SLURMKIT_WARNING_FILE"]).exists()
