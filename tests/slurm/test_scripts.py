"""Rendered scripts under plain sbatch on real clusters: ranks, arrays, values, signals, secrets."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from slurmkit.plan.planner import Context, make_plan
from slurmkit.render.renderer import render
from slurmkit.sandbox import Sandbox
from slurmkit.site.models import Site
from slurmkit.spec.models import JobSpec

pytestmark = pytest.mark.slurm

_BIN = Path(sys.executable).parent
_SHOW = """\
import json, os, sys
name = f"{os.environ.get('SLURM_ARRAY_TASK_ID', 'x')}-{os.environ['RANK']}.json"
with open(os.path.join(os.environ["OUT"], name), "w") as file:
    json.dump({"argv": sys.argv[1:], "env": dict(os.environ), "host": os.uname().nodename}, file)
"""
_SHOW_COMMAND = [sys.executable, "show.py"]
_HELLO_MPI = """\
#include <mpi.h>
#include <stdio.h>
int main(int argc, char **argv) {
  int rank, size, sum;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  printf("rank %d of %d sum %d\\n", rank, size, sum);
  return MPI_Finalize();
}
"""
_ALL_REDUCE = """\
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([float(dist.get_rank())])
dist.all_reduce(total)
print(f"rank {dist.get_rank()} of {dist.get_world_size()} sum {total.item():g}", flush=True)
dist.destroy_process_group()
"""


@dataclass(frozen=True)
class Desk:
    """A folder that all hosts see, with a program that writes down what it is given."""

    cluster: Sandbox
    folder: Path

    def render(self, job: dict[str, Any], *, portable: bool = False, run_dir: str = "") -> Path:
        spec = JobSpec.model_validate({"name": "job", **job})
        context = Context(
            base_dir=str(self.folder),
            run_root=str(self.folder / "runs"),
            run_dir=run_dir or None,
            slurmkit=str(_BIN / "slurmkit"),
            portable=portable,
        )
        path = self.folder / "job.sbatch"
        text = render(make_plan(spec, Site(), None, context), [])
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        return path

    def submit(self, script: Path, *options: str, **env: str) -> str:
        """Submit by plain sbatch and return the job id."""
        path = f"{_BIN}:/usr/local/bin:/usr/bin:/bin:/usr/sbin"
        done = self.cluster.exec(
            "login",
            ["sbatch", "--parsable", *options, script.name],
            cwd=self.folder,
            env={"PATH": path, **env},
            check=True,
        )
        return done.stdout.strip()

    def wait(self, job_id: str, timeout_s: float = 120.0) -> int:
        """Return the job's exit code, or that of its first element that failed."""
        deadline = time.monotonic() + timeout_s
        running = ["squeue", "-h", "-o", "%T", "-j", job_id, "-t", "PD,R,CG"]
        while self.cluster.exec("login", running).stdout:
            assert time.monotonic() < deadline, f"job {job_id} did not end"
            time.sleep(0.2)  # sbatch --wait would look after 2, 10 and 42 s
        told = self.cluster.exec("login", ["scontrol", "show", "job", job_id], check=True).stdout
        codes = re.findall(r" ExitCode=(\d+):", told)
        return next((int(code) for code in codes if code != "0"), 0)

    def run(self, script: Path, code: int = 0, **env: str) -> str:
        """Submit by plain sbatch, wait for the end, and return what the logs hold."""
        found = self.wait(self.submit(script, **env))
        paths = sorted(self.folder.glob("slurm-*.out"))
        log = "".join(path.read_text(errors="replace") for path in paths)
        assert found == code, f"exit code {found}\n{log}"
        return log

    def shown(self) -> dict[str, Any]:
        """Return what the tasks were given, by ELEMENT-RANK."""
        return {
            path.stem: json.loads(path.read_text()) for path in (self.folder / "out").glob("*.json")
        }


def _desk(cluster: Sandbox, request: pytest.FixtureRequest) -> Desk:
    folder = cluster.shared_dir / re.sub(r"\W+", "-", f"scripts {request.node.name}")
    (folder / "out").mkdir(parents=True)
    (folder / "show.py").write_text(_SHOW)
    return Desk(cluster, folder)


@pytest.fixture
def desk(cluster: Sandbox, request: pytest.FixtureRequest) -> Desk:
    return _desk(cluster, request)


@pytest.fixture
def any_desk(any_cluster: Sandbox, request: pytest.FixtureRequest) -> Desk:
    return _desk(any_cluster, request)


def _job(desk: Desk, **sections: Any) -> dict[str, Any]:
    return {
        "resources": {"nodes": 2, "tasks_per_node": 2, "time": "5m"},
        "launch": {"kind": "torch", "command": _SHOW_COMMAND},
        "env": {"OUT": str(desk.folder / "out")},
        **sections,
    }


@pytest.mark.parametrize("portable", [False, True], ids=["plain", "portable"])
def test_ranks_are_right_on_two_nodes_beside_a_spare(any_desk: Desk, portable: bool) -> None:
    resources = {"nodes": 2, "spares": 1, "gpus_per_node": 2, "cpus_per_task": 3, "time": "5m"}
    any_desk.run(any_desk.render(_job(any_desk, resources=resources), portable=portable))
    shown = any_desk.shown()
    assert sorted(shown) == ["x-0", "x-1", "x-2", "x-3"]
    first = shown["x-0"]["host"]
    for rank in range(4):
        env = shown[f"x-{rank}"]["env"]
        place = [env[name] for name in ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK")]
        assert place == [str(rank % 2), str(rank // 2), str(rank // 2)]
        assert (env["WORLD_SIZE"], env["LOCAL_WORLD_SIZE"]) == ("4", "2")
        assert (env["OMPI_COMM_WORLD_RANK"], env["MPI_LOCALRANKID"]) == (str(rank), str(rank % 2))
        assert env["MASTER_ADDR"] == first
        assert env["MASTER_PORT"] == shown["x-0"]["env"]["MASTER_PORT"]
        assert 10240 <= int(env["MASTER_PORT"]) < 32768
        assert env["SRUN_CPUS_PER_TASK"] == env["OMP_NUM_THREADS"] == "3"
        assert env["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert len({item["host"] for item in shown.values()}) == 2


@pytest.mark.parametrize("portable", [False, True], ids=["plain", "portable"])
def test_every_combination_of_a_sweep_runs_once(any_desk: Desk, portable: bool) -> None:
    job = _job(
        any_desk,
        resources={"time": "5m"},
        sweep={"lr": ["0.1", "it's $5", 'a "b"'], "seed": [1, 2, 3]},
        launch={"command": [*_SHOW_COMMAND, "--lr={sweep.lr}", "{sweep.seed}", "{sweep.no}"]},
    )
    any_desk.run(any_desk.render(job, portable=portable))
    shown = any_desk.shown()
    expected = [
        [f"--lr={lr}", seed, "{sweep.no}"]
        for lr in ("0.1", "it's $5", 'a "b"')
        for seed in ("1", "2", "3")
    ]
    assert [shown[f"{index}-0"]["argv"] for index in range(9)] == expected
    assert len(shown) == 9
    assert shown["5-0"]["env"]["SWEEP_LR"] == "it's $5"
    assert shown["5-0"]["env"]["SWEEP_SEED"] == "3"


_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,11}", fullmatch=True).map(lambda name: f"Z{name}")
_TEXTS = st.text(
    st.sampled_from(" ,'\"$`\\!\n\r\t~#-{}*=;%&|<>()[]?\x01\x1b\x7fé☃“\u00a0\u2028")
    | st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    max_size=20,
)


@pytest.mark.parametrize("portable", [False, True], ids=["plain", "portable"])
def test_any_value_arrives_unchanged_in_every_task(any_desk: Desk, portable: bool) -> None:
    # One job carries all that hypothesis finds: what is tried is text, not the order of events.
    env: dict[str, str] = {"Z": "a,b", "ZX": "x=1,y=2", "ZNL": "1\n\n#SBATCH --hold\n", "ZE": ""}
    argv = ["", "-n", "--", "~", "*", "$HOME", "%j", "\\", "'", "\n"]

    @settings(
        max_examples=60, phases=[Phase.generate], database=None, deadline=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(_NAMES, _TEXTS, _TEXTS)
    def collect(name: str, value: str, argument: str) -> None:
        env.setdefault(name, value)
        argv.append(argument)

    collect()
    job = _job(any_desk, launch={"kind": "torch", "command": [*_SHOW_COMMAND, *argv]})
    job["env"] |= env
    any_desk.run(any_desk.render(job, portable=portable))
    shown = any_desk.shown()
    assert len(shown) == 4
    for task in shown.values():
        assert task["argv"] == argv
        assert {name: task["env"].get(name) for name in env} == env


@pytest.mark.parametrize(
    "name", ["two words", 'it\'s "50%" #1', "back\\slash", "ünï ☃", "%j", "a&b;c|d(e)<f>*?[g]~"]
)
def test_directives_reach_slurm_as_they_are(any_desk: Desk, name: str) -> None:
    run_dir = any_desk.folder / "r u'n #1 %j 50% \""
    (run_dir / "logs").mkdir(parents=True)
    job = {"name": name, "resources": {"time": "5m"}, "launch": {"command": ["sleep", "0"]}}
    script = any_desk.render(job, run_dir=str(run_dir))
    job_id = any_desk.submit(script, "--hold")
    told = any_desk.cluster.exec("login", ["squeue", "-h", "-j", job_id, "-o", "%j"], check=True)
    assert told.stdout.rstrip("\n") == name
    any_desk.cluster.exec("login", ["scontrol", "release", job_id], check=True)
    log = run_dir / "logs" / f"slurm-{job_id}.out"
    any_desk.wait(job_id)
    assert log.is_file(), list(run_dir.rglob("*"))


@pytest.mark.parametrize("portable", [False, True], ids=["plain", "portable"])
def test_a_rank_that_fails_ends_the_job_which_fails(any_desk: Desk, portable: bool) -> None:
    text = 'if [ "$RANK" = 2 ]; then exit 7; fi; sleep 100'
    job = _job(any_desk, launch={"kind": "torch", "command": ["bash", "-c", text]})
    started = time.monotonic()
    # srun returns the highest code, so that of the ranks that it ended.
    log = any_desk.run(any_desk.render(job, portable=portable), code=128 + signal.SIGTERM)
    assert time.monotonic() - started < 60
    assert "task 2: Exited with exit code 7" in log


def test_the_warning_reaches_every_rank_through_the_supervisor(any_desk: Desk) -> None:
    text = "trap 'echo warned; exit 0' USR2; echo ready; for i in {1..600}; do sleep 0.1; done"
    job = _job(any_desk, launch={"kind": "torch", "command": ["bash", "-c", text]}, checkpoint={})
    script = any_desk.render(job)
    job_id = any_desk.submit(script)
    log = any_desk.folder / f"slurm-{job_id}.out"
    deadline = time.monotonic() + 60
    while not log.is_file() or log.read_text().count("ready") < 4:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    command = ["scancel", "--batch", "--signal=USR2", job_id]
    any_desk.cluster.exec("login", command, check=True)
    any_desk.wait(job_id)
    assert log.read_text().count("warned") == 4


@pytest.mark.parametrize("portable", [False, True], ids=["plain", "portable"])
def test_secrets_come_from_the_environment_of_sbatch_or_the_job_says_so(
    desk: Desk, portable: bool
) -> None:
    script = desk.render(_job(desk, secrets=["MY_TOKEN"]), portable=portable)
    log = desk.run(script, code=1)
    assert "MY_TOKEN: this job needs it" in log
    assert desk.shown() == {}
    log = desk.run(script, MY_TOKEN="s3 cr'et")
    assert {task["env"]["MY_TOKEN"] for task in desk.shown().values()} == {"s3 cr'et"}
    assert "s3" not in script.read_text() + log


def test_a_portable_script_reads_secrets_from_a_file(desk: Desk) -> None:
    (desk.folder / "my secrets").write_text("MY_TOKEN='s3 cr$et'\n")
    script = desk.render(_job(desk, secrets=["MY_TOKEN"]), portable=True)
    desk.run(script, SECRETS_FILE=str(desk.folder / "my secrets"))
    assert {task["env"]["MY_TOKEN"] for task in desk.shown().values()} == {"s3 cr$et"}


def test_a_surrounding_job_does_not_leak_its_binding(desk: Desk) -> None:
    # What an salloc with an interactive step leaves in the shell that calls sbatch.
    outer = {
        "SLURM_CPU_BIND": "quiet,mask_cpu:0x1",
        "SLURM_CPU_BIND_TYPE": "mask_cpu:",
        "SLURM_CPU_BIND_LIST": "0x1",
        "SLURM_EXPORT_ENV": "NONE",
        "SLURM_DISTRIBUTION": "cyclic",
    }
    desk.run(desk.render(_job(desk)), **outer)
    shown = desk.shown()
    assert sorted(shown) == ["x-0", "x-1", "x-2", "x-3"]
    assert shown["x-0"]["host"] == shown["x-1"]["host"] != shown["x-2"]["host"]


def test_software_is_loaded_before_the_program(desk: Desk) -> None:
    bin_dir = desk.folder / "my venv" / "bin"
    bin_dir.mkdir(parents=True)
    (bin_dir / "activate").write_text('export VENV_SEEN="$PS1_MISSING yes"\n')
    init = desk.folder / "my modules.sh"
    init.write_text('module() { export LOADED="${LOADED-} $*"; echo "$NOT_SET" > /dev/null; }\n')
    job = _job(
        desk,
        software={"modules": ["gcc/13"], "venv": "my venv", "setup": "export SEEN=$VENV_SEEN-2"},
    )
    spec = JobSpec.model_validate({"name": "job", **job})
    site = Site.model_validate({"modules": {"init": str(init)}})
    context = Context(base_dir=str(desk.folder), run_root="/tmp", portable=True)
    script = desk.folder / "job.sbatch"
    script.write_text(render(make_plan(spec, site, None, context), []))
    desk.run(script)
    env = desk.shown()["x-3"]["env"]
    assert (env["LOADED"], env["SEEN"]) == (" purge load gcc/13", " yes-2")


@pytest.mark.parametrize("launcher", ["srun", "mpirun"])
@pytest.mark.parametrize("portable", [False, True], ids=["plain", "portable"])
def test_mpi_programs_find_each_other(desk: Desk, launcher: str, portable: bool) -> None:
    compiler = shutil.which("mpicc")
    if compiler is None:
        pytest.skip("mpicc is not installed (apt-get install libopenmpi-dev)")
    source, program = desk.folder / "hello.c", desk.folder / "hello"
    source.write_text(_HELLO_MPI)
    subprocess.run([compiler, "-o", str(program), str(source)], check=True, timeout=60)
    job = _job(
        desk,
        resources={"nodes": 2, "tasks_per_node": 2, "cpus_per_task": 2, "time": "5m"},
        launch={"kind": "mpi", "launcher": launcher, "command": ["./hello"]},
    )
    job["env"] |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    log = desk.run(desk.render(job, portable=portable))
    assert sorted(re.findall(r"rank \d of 4 sum 6", log)) == [
        f"rank {rank} of 4 sum 6" for rank in range(4)
    ]


@pytest.mark.parametrize("portable", [False, True], ids=["plain", "portable"])
def test_torchrun_meets_at_the_first_node_and_lines_name_their_rank(
    desk: Desk, portable: bool
) -> None:
    pytest.importorskip("torch", reason="torch is not installed (pip install slurmkit[torch])")
    (desk.folder / "reduce.py").write_text(_ALL_REDUCE)
    job = _job(
        desk,
        launch={"kind": "torch", "launcher": "torchrun", "command": [sys.executable, "reduce.py"]},
    )
    log = desk.run(desk.render(job, portable=portable))
    label = r"^\d: \[(\d)\]: ?" if portable else r"^\[rank (\d)\] "
    found = re.findall(label + r"rank (\d) of 4 sum 6$", log, re.MULTILINE)
    assert sorted(found) == [(str(rank), str(rank)) for rank in range(4)], log
