"""Every check finds its mistake, at its line, with the message that the reference page shows.

``#!`` marks the line at which the problem has to be.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from slurmkit.check import CHECKS
from slurmkit.check.facts import (
    LastSave,
    ModuleFact,
    PathFact,
    ProgramFact,
    RunRootFact,
    SecretFact,
)
from slurmkit.check.registry import Check
from slurmkit.errors import Problem
from slurmkit.limits import NodeShape, ReservationInfo
from slurmkit.mpi.found import Found
from slurmkit.mpi.look import Look

NOW = 1_800_000_000.0
HOUR = 3600
ROOT = RunRootFact("/data/runs", "/data", writable=True, free_bytes=10**12, free_files=10**6)
SAVED = {"last_save": LastSave(150.0, 10**9)}
PYTHON = ProgramFact("launch.command.0", "python", "/usr/bin/python")


@dataclass(frozen=True)
class Case:
    """One mistake: the job, and what about cluster, machine, site and script is not as usual."""

    job: str
    cluster: Mapping[str, Any] | None = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    site: Mapping[str, Any] = field(default_factory=dict)
    script: Callable[[str], str] = lambda script: script


def batch(**fields: Any) -> dict[str, Any]:
    return {"partitions": {"batch": fields}}


def down(*hosts: str, reason: str = "Not responding") -> dict[str, Any]:
    kind: tuple[Any, ...] = (32, 64 * 1024, 0, "", frozenset({"cpu", "rack1"}))
    up = tuple(host for host in ("n1", "n2", "n3", "n4") if host not in hosts)
    return batch(nodes=(NodeShape(up, *kind), NodeShape(hosts, *kind, usable=False, reason=reason)))


CASES = {
    # the partition
    "partition-unknown": Case("resources: {partition: gpuu} #!"),
    "partition-missing": Case("resources: {nodes: 2} #!", batch(default=False)),
    "partition-closed": Case("resources: {partition: batch} #!", batch(state="DRAIN")),
    "partition-down": Case("resources: {partition: batch} #!", batch(state="DOWN")),
    "time-over-partition": Case(
        "resources:\n  partition: batch\n  time: 12h #!\n", batch(max_time_s=2 * HOUR)
    ),
    "time-missing": Case(
        "resources: {partition: batch} #!", batch(max_time_s=7 * 24 * HOUR, default_time_s=None)
    ),
    "warned-at-start": Case("checkpoint: {keep: 2} #!\n", batch(default_time_s=60)),
    "group-not-allowed": Case(
        "resources: {partition: private} #!",
        {"partitions": {"private": {"allow_groups": frozenset({"physics"}), "default_time_s": 1}}},
    ),
    # how many nodes
    "nodes-over-limit": Case("resources:\n  nodes: 16 #!\n", batch(max_nodes=8, nodes=())),
    "nodes-under-limit": Case(
        "resources:\n  partition: large\n",
        {"partitions": {"large": {"min_nodes": 4, "default_time_s": HOUR}}},
    ),
    "nodes-over-partition": Case("resources:\n  nodes: 8 #!\n"),
    "spares-over-partition": Case(
        "resources:\n  nodes: 3\n  spares: 2 #!\nresilience: {on_node_failure: spare}\n"
    ),
    "exclude-leaves-too-few": Case('resources:\n  nodes: 2\n  exclude: "n[1-3]" #!\n'),
    "constraint-count": Case(
        'resources:\n  partition: all\n  nodes: 5\n  constraint: "[rack1*1&rack2*4]" #!\n',
        {"partitions": {}},
    ),
    "no-fitting-nodes": Case(
        "resources:\n"
        "  partition: all\n"
        "  nodes: 3\n"
        "  cpus_per_task: 8\n"
        "  tasks_per_node: 1\n"
        "  memory: 100G #!\n"
        "  gpus_per_node: 1\n",
    ),
    "too-few-nodes-up": Case("resources:\n  nodes: 4 #!\n", down("n2")),
    # what one node holds
    "cpus-per-task-over-node": Case("resources:\n  cpus_per_task: 64 #!\n"),
    "cpus-over-node": Case("resources:\n  cpus_per_task: 8\n  tasks_per_node: 8 #!\n"),
    "memory-over-node": Case("resources:\n  memory: 128G #!\n"),
    "memory-over-limit": Case(
        "resources:\n  memory: 48G #!\n", batch(max_mem_per_node_mib=32 * 1024)
    ),
    "gpus-over-node": Case("resources:\n  partition: gpu\n  gpus_per_node: 16 #!\n"),
    "gpu-type-unknown": Case('resources:\n  partition: gpu\n  gpus_per_node: "a10:1" #!\n'),
    # where
    "constraint-unknown": Case("resources:\n  constraint: cpu|infinband #!\n"),
    "constraint-not-in-partition": Case("resources:\n  constraint: gpu&nvlink #!\n"),
    "host-unknown": Case("resources:\n  nodelist: n9 #!\n"),
    "host-not-in-partition": Case("resources:\n  nodelist: g1 #!\n"),
    "host-down": Case("resources:\n  nodelist: n2 #!\n", down("n2")),
    "reservation-unknown": Case("resources:\n  reservation: workshop #!\n", {"reservations": {}}),
    "reservation-ended": Case(
        "resources:\n  reservation: workshop #!\n", machine={"now": NOW + 3 * HOUR + 5}
    ),
    "reservation-not-yours": Case(
        "resources:\n  reservation: workshop #!\n",
        {
            "reservations": {
                "workshop": ReservationInfo(
                    "workshop", NOW - HOUR, NOW + HOUR, 2, users=frozenset({"user2", "user3"})
                )
            }
        },
    ),
    "reservation-too-small": Case("resources:\n  nodes: 4\n  reservation: workshop #!\n"),
    "reservation-too-short": Case(
        "resources:\n  time: 12h #!\n  reservation: workshop\n",
    ),
    "reservation-ends-soon": Case("resources:\n  time: 2h #!\n  reservation: workshop\n"),
    "reservation-elsewhere": Case(
        "resources:\n  partition: batch\n  reservation: workshop #!\n",
        {
            "reservations": {
                "workshop": ReservationInfo("workshop", NOW, NOW + HOUR, 2, partition="gpu")
            }
        },
    ),
    # who pays
    "account-unknown": Case("resources:\n  account: phsyics #!\n"),
    "account-missing": Case(
        "resources: {nodes: 1} #!\n", {"accounts": frozenset(), "default_account": ""}
    ),
    "account-not-in-partition": Case(
        "resources:\n  partition: gpu\n  account: biology #!\n",
        {"partitions": {"gpu": {"allow_accounts": frozenset({"physics"})}}},
    ),
    "qos-unknown": Case("resources:\n  qos: hihg #!\n"),
    "qos-not-yours": Case("resources:\n  qos: high #!\n", {"user_qos": frozenset({"normal"})}),
    "account-unheeded": Case(
        "resources:\n  account: phsyics #!\n", {"accounting_enforced": frozenset()}
    ),
    "qos-unheeded": Case("resources:\n  qos: hihg #!\n", {"accounting_enforced": frozenset()}),
    "qos-not-in-partition": Case(
        "resources:\n  partition: gpu\n  qos: low #!\n",
        {"partitions": {"gpu": {"deny_qos": frozenset({"low"})}}},
    ),
    "time-over-qos": Case("resources:\n  time: 12h #!\n  qos: debug\n"),
    "nodes-over-qos": Case("resources:\n  nodes: 16 #!\n  qos: debug\n", batch(nodes=())),
    "gpus-over-qos": Case(
        "resources:\n  partition: gpu\n  nodes: 2\n  gpus_per_node: 8 #!\n  qos: debug\n"
    ),
    # the cluster as a whole
    "license-unknown": Case("resources:\n  licenses: matlb #!\n"),
    "license-too-many": Case('resources:\n  licenses: "matlab:20" #!\n'),
    "array-too-large": Case("array: 0-1001 #!\n"),
    "array-over-job-count": Case(
        "array: 1-20000 #!\n", {"max_array_size": 30000, "max_job_count": 10000}
    ),
    "mpi-plugin-missing": Case(
        "launch:\n  kind: mpi\n  mpi: pmix #!\n  command: [./solve]\n",
        {"mpi_plugins": frozenset({"none", "pmi2"})},
    ),
    "mpi-no-plugin": Case(
        "launch: #!\n  kind: mpi\n  command: [./solve]\nresources: {nodes: 2, tasks_per_node: 4}\n",
        {"mpi_plugins": frozenset({"none"})},
    ),
    "pyxis-missing": Case(
        "software:\n  container:\n    image: debian\n    runtime: pyxis #!\n",
        {"srun_plugin_options": frozenset({"--other"})},
    ),
    # what comes first
    "dependency-unknown": Case("after:\n  - 4711 #!\n", machine={"known_jobs": {"4711": None}}),
    "dependency-never-met": Case("after: [4711] #!\n", machine={"known_jobs": {"4711": "FAILED"}}),
    # environment and ranks
    "env-path": Case("env:\n  PATH: /home/user1/bin #!\n"),
    "string-too-long": Case(f"env:\n  DATA: {'x' * 199995} #!\n"),
    "env-too-large": Case("env: {A: '1'} #!\n", machine={"environ_bytes": 2_499_945}),
    "gpus-shared-by-ranks": Case(
        "launch: {kind: torch, command: [python, train.py]}\n"
        "resources:\n  partition: gpu\n  gpus_per_node: 4\n  tasks_per_node: 8 #!\n"
    ),
    "gpus-idle": Case(
        "launch: {kind: torch, command: [python, train.py]}\n"
        "resources:\n  partition: gpu\n  gpus_per_node: 8\n  tasks_per_node: 2 #!\n"
    ),
    # how ranks meet
    "mpi-unfit": Case(
        "launch:\n  kind: mpi\n  mpi: pmix #!\n  command: [./solve]\n"
        "resources: {nodes: 2, tasks_per_node: 2}\n",
        {"mpi_plugins": frozenset({"none", "pmi2", "pmix"})},
        machine={"mpi": Look(Found("mpich", "4.0.2", ("pmi2", "pmi1")), certain=True)},
    ),
    "mpi-library-missing": Case(
        "launch:\n  kind: mpi\n  command: [./solver] #!\n",
        machine={"mpi": Look(None, missing="libmpi.so.40")},
    ),
    "mpirun-foreign": Case(
        "launch:\n  kind: mpi\n  launcher: mpirun #!\n  command: [./solve]\n",
        machine={
            "mpi": Look(Found("mpich", "4.0.2", ("pmi2", "pmi1")), certain=True),
            "mpirun": "",
        },
    ),
    # checkpoints and recovery
    "successor-not-possible": Case(
        "resilience:\n  on_node_failure: successor #!\n  then: [requeue]\n",
        site={"sbatch_from_compute_nodes": False},
    ),
    "successor-uncertain": Case(
        "checkpoint: true\nresilience:\n  on_node_failure: shrink\n  then:\n  - successor #!\n"
    ),
    "requeue-off": Case("resources: {nodes: 1}\n", {"job_requeue": False}),
    "warning-shortened": Case("checkpoint: true\nresources:\n  time: 3m #!\n"),
    "warning-too-late": Case("checkpoint: true #!\n", machine=SAVED),
    "hang-too-short": Case(
        "checkpoint: true\nresilience:\n  hang: 60s #!\n",
        machine=SAVED,
        site={"signal": {"lead_s": 300}},
    ),
    "hang-over-time": Case("checkpoint: true\nresources: {time: 1h}\nresilience:\n  hang: 2h #!\n"),
    "checkpoint-not-writable": Case(
        "checkpoint:\n  dir: /data/ckpt #!\n",
        machine={"checkpoint_dir": RunRootFact("/data/ckpt", "/data", writable=False)},
    ),
    "checkpoint-node-local": Case(
        "checkpoint:\n  dir: /scratch/ckpt #!\n",
        machine={
            "checkpoint_dir": RunRootFact(
                "/scratch/ckpt", "/scratch", writable=True, node_local=True, file_system="ext4"
            )
        },
    ),
    "checkpoint-in-code": Case(
        "checkpoint:\n  dir: /home/user1/code/ckpt #!\n",
        machine={
            "checkpoint_dir": RunRootFact(
                "/home/user1/code/ckpt", "/home/user1/code", writable=True
            ),
            "paths": (PathFact("launch.workdir", "/home/user1/code", "folder"),),
        },
    ),
    "checkpoint-no-room": Case(
        "checkpoint:\n  keep: 3 #!\n",
        machine={
            "last_save": LastSave(10.0, 50 * 10**9),
            "run_root": replace(ROOT, free_bytes=10**11),
        },
    ),
    "local-dir-unknown": Case("checkpoint:\n  levels: [nvme, shared] #!\n"),
    "ranks-unwatched": Case(
        "resilience: requeue #!\nsoftware: {container: {image: a.sqsh, runtime: pyxis}}\n"
    ),
    "preempted-without-grace": Case(
        "checkpoint:\n  every: 1h #!\nresources: {partition: batch}\n",
        {
            "partitions": {
                "batch": {"preempt_mode": "REQUEUE"},
                "all": {"priority_tier": 10},
            },
            "preempt_by": "partition_prio",
        },
    ),
    # what the program needs
    "workdir-missing": Case(
        "launch:\n  command: [hostname]\n  workdir: /home/user1/trainig #!\n",
        machine={"paths": (PathFact("launch.workdir", "/home/user1/trainig", "missing"),)},
    ),
    "program-missing": Case(
        "launch:\n  command: [pyhton, train.py] #!\n",
        machine={"programs": (ProgramFact("launch.command.0", "pyhton", "", "python"),)},
    ),
    "program-elsewhere": Case(
        "launch:\n  command: [nvidia-smi] #!\n",
        machine={"programs": (ProgramFact("launch.command.0", "nvidia-smi", ""),)},
    ),
    "program-not-executable": Case(
        "launch:\n  command: [./run.sh] #!\n",
        machine={
            "programs": (
                ProgramFact("launch.command.0", "./run.sh", "/home/user1/run.sh", executable=False),
            )
        },
    ),
    "script-file-missing": Case(
        "launch:\n  command:\n    - python\n    - trian.py #!\n",
        machine={
            "programs": (PYTHON,),
            "script_file": PathFact(
                "launch.command.1", "/home/user1/llama/trian.py", "missing", near="train.py"
            ),
        },
    ),
    "venv-missing": Case(
        "software:\n  venv: .venv #!\n",
        machine={
            "paths": (PathFact("software.venv", "/home/user1/llama/.venv", "missing"),),
            "venv_python": False,
        },
    ),
    "conda-missing": Case(
        "software:\n  conda: ./envs/torhc #!\n",
        machine={
            "paths": (PathFact("software.conda", "/home/user1/envs/torhc", "missing", "torch"),)
        },
    ),
    "conda-unknown": Case(
        "software:\n  conda: torhc #!\n", machine={"conda_found": False, "conda_near": "torch"}
    ),
    "image-missing": Case(
        "software:\n  container:\n    image: /images/pytorch-24.10.sqsh #!\n    runtime: pyxis\n",
        machine={
            "paths": (
                PathFact("software.container.image", "/images/pytorch-24.10.sqsh", "missing"),
            )
        },
    ),
    "mount-missing": Case(
        "software:\n"
        "  container:\n"
        "    image: nvcr.io#nvidia/pytorch:24.10-py3\n"
        "    runtime: pyxis\n"
        "    mounts:\n"
        "      - /scratch/user1/data:/data #!\n",
        machine={
            "paths": (PathFact("software.container.mounts.0", "/scratch/user1/data", "missing"),)
        },
    ),
    "module-unknown": Case(
        "software:\n  modules: [gcc, cuda/12.44] #!\n",
        machine={
            "modules": (
                ModuleFact("software.modules.0", "gcc", True),
                ModuleFact("software.modules.1", "cuda/12.44", False, "cuda/12.4"),
            )
        },
    ),
    "module-command-missing": Case(
        "software:\n  modules: [gcc] #!\n", machine={"has_module_command": False}
    ),
    "path-node-local": Case(
        "launch:\n  command: [hostname]\n  workdir: /run/llama #!\n",
        machine={
            "paths": (
                PathFact(
                    "launch.workdir",
                    "/run/llama",
                    "folder",
                    node_local=True,
                    file_system="tmpfs",
                ),
            )
        },
    ),
    # files and secrets
    "run-root-not-writable": Case(
        "resources: {nodes: 1}\n",
        machine={"run_root": RunRootFact("/data/runs", "/data", writable=False)},
    ),
    "run-root-node-local": Case(
        "resources: {nodes: 1}\n",
        machine={
            "run_root": RunRootFact(
                "/tmp/runs", "/tmp", writable=True, node_local=True, file_system="tmpfs"
            )
        },
    ),
    "run-root-full": Case(
        "resources: {nodes: 1}\n",
        machine={
            "run_root": RunRootFact("/data/runs", "/data", writable=True, free_bytes=12_500_000)
        },
    ),
    "secret-missing": Case(
        "secrets:\n  - HF_TOKEN #!\n",
        machine={"secrets": (SecretFact("secrets.0", "HF_TOKEN", "HF_TOKEN", present=False),)},
    ),
    "secret-exposed": Case(
        "secrets:\n  - name: HF_TOKEN #!\n    file: token\n",
        machine={
            "secrets": (
                SecretFact(
                    "secrets.0", "HF_TOKEN", path="/home/user1/token", mode=0o644, owner=1000
                ),
            )
        },
    ),
    "secret-empty": Case(
        "secrets: [HF_TOKEN] #!\n",
        machine={"secrets": (SecretFact("secrets.0", "HF_TOKEN", "HF_TOKEN", empty=True),)},
    ),
    # the script
    "directive-ignored": Case(
        "resources: {nodes: 1}\n", script=lambda script: f"{script}#SBATCH --mem=64G\n"
    ),
    "script-too-large": Case(
        "env: {A: '1'} #!\n", script=lambda script: script.ljust(5_452_595, "#")
    ),
    "setup-syntax": Case(
        "software:\n  setup: [echo, fi] #!\n",
        machine={"setup_complaint": "line 2: syntax error near unexpected token `fi'"},
    ),
    "directive-unknown": Case("sbatch:\n  - --mail-tpye=END #!\n"),
}


def line_of(case: Case) -> int | None:
    """Return the number of the marked line."""
    lines = case.job.splitlines()
    return next((number for number, line in enumerate(lines, 1) if line.endswith("#!")), None)


@pytest.fixture
def found(request: pytest.FixtureRequest, judge: Callable[..., list[Problem]]) -> list[Problem]:
    case = CASES[request.param]
    return judge(case.job, case.cluster, case.machine, case.site, case.script)


def about_case(check: Check) -> Any:
    return pytest.param(check.about.id, check, id=check.about.id)


@pytest.mark.parametrize(
    ("found", "check"), [about_case(check) for check in CHECKS], indirect=["found"]
)
def test_the_mistake_is_found_and_named(found: list[Problem], check: Check, tmp_path: Path) -> None:
    about = check.about
    mine = [problem for problem in found if problem.code == about.id]
    assert [problem.message for problem in mine] == [about.example]
    problem = mine[0]
    assert problem.warning is about.warning
    line = line_of(CASES[about.id])
    if line is not None:
        assert problem.where is not None
        assert problem.where.line == line
        assert problem.where.file.endswith("job.yaml")
    errors = [other for other in found if not other.warning and other not in mine]
    assert errors == [], "a mistake is named once"


def test_every_case_is_of_a_check() -> None:
    assert list(CASES) == [check.about.id for check in CHECKS]


def test_hints_say_what_to_do(judge: Callable[..., list[Problem]]) -> None:
    for name, case in CASES.items():
        problems = judge(case.job, case.cluster, case.machine, case.site, case.script)
        hint = next(problem.hint for problem in problems if problem.code == name)
        assert hint, name
