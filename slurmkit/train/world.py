"""Who this process is among the ranks: process group, device, and how it ends."""

import gc
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from slurmkit.train.errors import TrainError
from slurmkit.train.meeting import await_store

_NEEDED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_HOW = "start it through `slurmkit submit`, `slurmkit run` or torchrun"


@dataclass(frozen=True)
class World:
    """This process among the ranks.

    Attributes:
        rank: its number.
        local_rank: its number on its node.
        size: how many ranks there are.
        device: what it computes on.
        joined: whether the process group was made here, and has to be destroyed here.
    """

    rank: int
    local_rank: int
    size: int
    device: torch.device
    joined: bool


def join(
    timeout: timedelta, backend: str | None = None, env: Mapping[str, str] = os.environ
) -> World:
    """Meet the other ranks, as the environment of the launcher describes them.

    A program that has made its process group already keeps it. A process alone gets a group of one,
    so that programs have one path.

    Args:
        timeout: how long to wait for a rank that never comes, or stops answering.
        backend: of the process group; None takes NCCL for GPUs and gloo for CPUs.
        env: the environment.

    Raises:
        TrainError: the environment is incomplete, there are fewer GPUs than ranks, or rank 0 is not
            there in time.
    """
    local_rank = int(env.get("LOCAL_RANK", "0"))
    if dist.is_initialized():
        device = _device(local_rank, env)
        return World(dist.get_rank(), local_rank, dist.get_world_size(), device, joined=False)
    missing = [name for name in _NEEDED if name not in env]
    if "RANK" in env and missing:
        raise TrainError(f"RANK is set, but {', '.join(missing)} not", hint=_HOW)
    # A bare srun would otherwise train one whole model per task, each believing to be alone.
    if "RANK" not in env and int(env.get("SLURM_STEP_NUM_TASKS") or "1") > 1:
        raise TrainError("srun started several tasks, but no RANK is set", hint=_HOW)
    device = _device(local_rank, env)
    on_gpu = device.type != "cpu"
    chosen = backend or ("nccl" if on_gpu else "gloo")
    bound = device if on_gpu else None  # NCCL connects now, not in the first step
    if "RANK" in env:
        if env["RANK"] != "0":
            size, seconds = int(env["WORLD_SIZE"]), timeout.total_seconds()
            await_store(env["MASTER_ADDR"], int(env["MASTER_PORT"]), size, seconds)
        dist.init_process_group(chosen, init_method="env://", timeout=timeout, device_id=bound)
        # What torch has loaded stays until the end. Else each pass of the collector walks it again,
        # which is a fifth of what torch's optimizers then take to load torch._dynamo.
        gc.collect()
        gc.freeze()
    else:
        store = torch.distributed.HashStore()  # type: ignore[attr-defined]  # public, in the docs
        dist.init_process_group(chosen, store=store, rank=0, world_size=1, device_id=bound)
    return World(dist.get_rank(), local_rank, dist.get_world_size(), device, joined=True)


def _device(local_rank: int, env: Mapping[str, str]) -> torch.device:
    if not torch.cuda.is_available():
        if "OMP_NUM_THREADS" not in env and "SLURM_CPUS_PER_TASK" in env:
            # torch reads the first by itself; with neither, every rank uses all cores of the node.
            torch.set_num_threads(int(env["SLURM_CPUS_PER_TASK"]))
        return torch.device("cpu")
    # Slurm may show each task only its own GPU, which then is number 0 in every task.
    visible = torch.cuda.device_count()
    if visible > 1 and local_rank >= visible:
        raise TrainError(f"local rank {local_rank} has no GPU, only {visible} are visible")
    device = torch.device("cuda", local_rank if visible > 1 else 0)
    torch.cuda.set_device(device)
    return device


def leave(side_group: Any) -> None:
    """Destroy the process groups, so that no thread of theirs is alive when Python ends.

    gloo's threads can ask for Python's lock while Python takes itself apart, and then hang or abort
    (torch 2.13, pytorch issue 190489). DistributedDataParallel holds on to its group, and if it is
    the last to let go, both may wait for each other for ever. So it loses its reducer here: a
    wrapped model cannot train any more, while the model inside stays as it is.
    """
    gc.unfreeze()
    for thing in gc.get_objects():
        if type(thing) is DistributedDataParallel:
            vars(thing).update(reducer=None, logger=None, process_group=None)
    gc.collect()
    if side_group is not None:
        dist.destroy_process_group(side_group)
    dist.destroy_process_group()


def die_at_once_on_errors() -> None:
    """End the process right after the traceback of an error that nobody caught.

    Without a last word with peers that may wait in a collective, so that the launcher sees the exit
    code and stops them; and without Python's clean-up, in which gloo may hang.
    """
    shown = sys.excepthook

    def show_and_die(
        type_: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        shown(type_, error, traceback)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    sys.excepthook = show_and_die
