"""Representative scripts, read in review: tests/fixtures/scripts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

_TRAIN = ["python", "train.py", "--lr", "3e-4"]
_SITE: dict[str, Any] = {
    "default_account": "physics",
    "default_partition": "gpu",
    "partitions": {"gpu": {"node_type": "dgx", "default_time": "12h"}},
    "node_types": {"dgx": {"gpus": 8, "gpu_type": "h100", "cpus": 224}},
    "env": {"SITE_SCRATCH": "/scratch"},
    "env_presets": {"nccl": {"NCCL_IB_HCA": "mlx5", "NCCL_DEBUG": "WARN"}},
    "presets_for": {"torch": ["nccl"]},
    "modules": {"init": "/etc/profile.d/lmod.sh", "default": ["slurm"]},
    "sbatch": ["--mail-type=FAIL"],
}


@dataclass(frozen=True)
class Case:
    """One golden file."""

    name: str
    job: dict[str, Any]
    site: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case(
        "torch-srun",
        {
            "resources": {"nodes": 2, "gpus_per_node": "h100:8", "time": "4h"},
            "launch": {"kind": "torch", "command": _TRAIN},
        },
    ),
    Case(
        "torch-srun-site",
        {
            "resources": {"nodes": 2, "gpus_per_node": 8, "spares": 1, "memory": "200G/gpu"},
            "launch": {"kind": "torch", "command": _TRAIN, "workdir": "src"},
            "env": {"NCCL_DEBUG": "INFO"},
            "secrets": ["HF_TOKEN"],
            "software": {"modules": ["cuda/12.4"], "venv": "venv", "setup": "ulimit -n 65536"},
            "checkpoint": {},
            "resilience": {"on_node_failure": "spare", "then": ["requeue"]},
            "sbatch": ["--mail-user=me@example.org"],
        },
        _SITE,
    ),
    Case(
        "torch-recovery",
        {
            "resources": {"nodes": 4, "gpus_per_node": 8, "spares": 1, "time": "1d"},
            "launch": {"kind": "torch", "command": _TRAIN},
            "checkpoint": {
                "dir": "ckpt",
                "every": "10m",
                "keep": 5,
                "async": False,
                "levels": ["nvme", "shared"],
            },
            "resilience": {
                "on_node_failure": "spare",
                "then": ["shrink", "successor", "requeue"],
                "min_nodes": 2,
                "heartbeat_s": 0.5,
                "max_restarts": 3,
                "hang": "30m",
                "preflight": "full",
            },
        },
        {"local_dir": "/scratch/${USER}/tmp"},
    ),
    Case(
        "torch-recovery-array",
        {
            "resources": {"nodes": 2, "gpus_per_node": 8},
            "launch": {"kind": "torch", "launcher": "torchrun", "command": _TRAIN},
            "array": "0-3",
            "checkpoint": {"dir": "~/check points", "every": "100 steps"},
            "resilience": ["successor", "requeue"],
        },
        options={"run_dir": None},
    ),
    Case(
        "torch-recovery-portable",
        {
            "resources": {"nodes": 2, "gpus_per_node": 8, "spares": 1},
            "launch": {"kind": "torch", "command": _TRAIN},
            "checkpoint": True,
            "resilience": ["spare", "requeue"],
        },
        options={"portable": True},
    ),
    Case(
        "mpi-mpirun-recovery",
        {
            "resources": {"nodes": 4, "tasks_per_node": 8, "time": "4h"},
            "launch": {"kind": "mpi", "launcher": "mpirun", "command": ["./solver"]},
            "resilience": ["shrink", "successor", "requeue", "stop"],
        },
        {"sbatch_from_compute_nodes": False},
    ),
    Case(
        "torch-torchrun",
        {
            "resources": {"nodes": 2, "gpus_per_node": 8, "cpus_per_task": 12},
            "launch": {"kind": "torch", "launcher": "torchrun", "command": _TRAIN},
        },
    ),
    Case(
        "torch-torchrun-portable",
        {
            "resources": {"nodes": 2, "gpus_per_node": 8, "cpus_per_task": 12},
            "launch": {"kind": "torch", "launcher": "torchrun", "command": ["./train", "--fast"]},
        },
        options={"portable": True},
    ),
    Case(
        "torch-portable",
        {
            "resources": {"nodes": 2, "gpus_per_node": 8},
            "launch": {"kind": "torch", "command": _TRAIN},
            "secrets": ["HF_TOKEN", "WANDB_API_KEY"],
            "checkpoint": {},
        },
        options={"portable": True},
    ),
    Case(
        "torch-sweep-pyxis",
        {
            "resources": {"nodes": 2, "gpus_per_node": 8},
            "launch": {"kind": "torch", "command": ["python", "train.py", "--lr={sweep.lr}"]},
            "sweep": {"lr": [0.1, 0.01, 0.001], "seed": [1, 2, 3], "limit": 2},
            "secrets": ["HF_TOKEN"],
            "software": {
                "container": {
                    "image": "nvcr.io#nvidia/pytorch:24.10-py3",
                    "runtime": "pyxis",
                    "mounts": ["/datasets:/datasets:ro", "cache:/root/.cache"],
                }
            },
        },
    ),
    Case(
        "torchrun-apptainer",
        {
            "resources": {"nodes": 2, "gpus_per_node": 4},
            "launch": {
                "kind": "torch",
                "launcher": "torchrun",
                "command": ["python", "-m", "train"],
            },
            "software": {"container": {"image": "torch.sif", "runtime": "apptainer"}},
        },
    ),
    Case(
        "mpi-srun-plain",
        {
            "resources": {"nodes": 4, "tasks_per_node": 32, "memory": 0, "exclusive": True},
            "launch": {"kind": "mpi", "command": ["./solver", "input.nml"]},
            "software": {"modules": ["gcc/13", "openmpi/5"]},
        },
        options={"run_dir": None},
    ),
    Case(
        "mpi-mpirun",
        {
            "resources": {"nodes": 4, "tasks_per_node": 8, "cpus_per_task": 4, "memory": "4G/cpu"},
            "launch": {"kind": "mpi", "launcher": "mpirun", "command": ["./solver"]},
            "software": {"conda": "mpi"},
        },
    ),
    Case(
        "mpi-mpirun-portable",
        {
            "resources": {"nodes": 2, "tasks_per_node": 2},
            "launch": {"kind": "mpi", "launcher": "mpirun", "command": ["./solver"]},
        },
        options={"portable": True},
    ),
    Case(
        "command-array-after",
        {
            "resources": {"partition": "cpu", "time": 30, "constraint": "avx512&local ssd"},
            "launch": {"command": ["./work.sh"]},
            "array": "0-99%10",
        },
        options={"dependencies": (("ok", "41"), ("ok", "42"), ("any", "40"))},
    ),
    Case(
        "command-hard-values",
        {
            "name": 'it\'s "50%" done #1',
            "launch": {
                "command": ["echo", "", "-n", "a b", "it's", 'say "hi"', "$HOME `id`", "!!"]
            },
            "env": {"TEXT": "one\ntwo\r\n\ttab", "MIXED": 'it\'s $5 "net"', "SNOW": "☃ snowman"},
            "after": ["prepare-data"],
        },
        options={"run_dir": None},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_script_is_the_reviewed_one(
    case: Case, script: Callable[..., str], golden: Callable[[str, str], None]
) -> None:
    golden(f"{case.name}.sbatch", script(case.job, case.site, **case.options))
