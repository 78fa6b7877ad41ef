"""What a task knows about its node before it plans: the topology, and what its ranks ask for."""

import os

from slurmkit.launch.binding import allowed_memory_nodes
from slurmkit.launch.placement import wrong
from slurmkit.launch.variables import Placement
from slurmkit.record import Record
from slurmkit.topology.affinity import Request
from slurmkit.topology.affinity_gpus import visible_gpus
from slurmkit.topology.model import Topology


class Node(Record):
    """A node and this task's place on it.

    Attributes:
        topology: the node.
        request: what its ranks ask for.
        position: this task's line of the plan.
    """

    topology: Topology
    request: Request
    position: int


def look(env: dict[str, str], place: Placement, program: str = "") -> Node:
    """Return the node and what its ranks ask for, as environment and kernel tell.

    Raises:
        AffinityError: CUDA_VISIBLE_DEVICES does not fit the node.
    """
    topology = _topology(env)
    count = place.local_world_size
    request = requested(env, place, program)
    topology = _with_mig(topology, request)
    if topology.gpus and _without_gpus(env):
        request = request.replace(gpus_visible=())
    visible = visible_gpus(topology, request)
    if len(visible) < count and _hides_peers(request, len(visible)):
        # Slurm gave this task its own GPU and hides the others (--gpus-per-task): the plan is for
        # all GPUs of the step, and the task takes the line of its GPU.
        request = request.replace(gpus_visible=None, num_ranks=len(request.gpus_allowed or ()))
        step = visible_gpus(topology, request)
        return Node(topology, request, [gpu.index for gpu in step].index(visible[0].index))
    if visible and count > len(visible) and count % len(visible) == 0:
        request = request.replace(ranks_per_gpu=count // len(visible))
    return Node(topology, request, place.local_rank)


def requested(env: dict[str, str], place: Placement, program: str) -> Request:
    """Return what the variables of job and site ask for, before the GPUs are looked at.

    Raises:
        UsageError: SLURMKIT_AFFINITY_RESERVED_CORES is no number.
    """
    several = place.local_world_size < place.world_size
    wiring = env.get("SLURMKIT_AFFINITY_WIRING", "") if several else ""
    return Request(
        num_ranks=place.local_world_size,
        policy=env.get("SLURMKIT_AFFINITY_POLICY") or "nearest",
        smt=env.get("SLURMKIT_AFFINITY_SMT") or "use",
        reserved_cores=_reserved_cores(env),
        memory=env.get("SLURMKIT_AFFINITY_MEMORY") or "local",
        allowed_mems=allowed_memory_nodes(),
        gpus_visible=_tokens(env),
        gpus_allowed=_gpus_of_step(env),
        nccl_version=_nccl_version(env, program) if wiring == "rails" else None,
        cross_node=wiring,
        socket_interfaces=_socket_interfaces(env, place),
    )


def _reserved_cores(env: dict[str, str]) -> int:
    text = env.get("SLURMKIT_AFFINITY_RESERVED_CORES") or "0"
    if not (text.isascii() and text.isdigit()):
        raise wrong(f"SLURMKIT_AFFINITY_RESERVED_CORES={text!r} is not a number")
    return int(text)


def _nccl_version(env: dict[str, str], program: str) -> tuple[int, ...] | None:
    from slurmkit.launch.nccl import nccl_version  # noqa: PLC0415 (only rails need it)

    return nccl_version(env, program)


def _topology(env: dict[str, str]) -> Topology:
    path = env.get("SLURMKIT_TOPOLOGY")
    if path:
        return _from_file(path).replace(host=host_of(env))
    from slurmkit.topology.discover import discover  # noqa: PLC0415 (a file may take its place)

    return discover().replace(host=host_of(env))


def _from_file(path: str) -> Topology:
    """Read the file of SLURMKIT_TOPOLOGY; JSON without the readers of the other formats."""
    import json  # noqa: PLC0415

    try:
        with open(path, "rb") as file:  # noqa: PTH123 (no pathlib: every rank runs this)
            data = file.read()
    except OSError as error:
        raise wrong(f"cannot read SLURMKIT_TOPOLOGY={path}: {error.strerror}") from error
    if data.lstrip()[:1] == b"{":
        from slurmkit.topology.export_json import from_json  # noqa: PLC0415

        try:
            return from_json(json.loads(data))
        except ValueError as error:
            raise wrong(f"SLURMKIT_TOPOLOGY={path} is not JSON: {error}") from error
    from pathlib import Path  # noqa: PLC0415

    from slurmkit.topology.load import load_topology  # noqa: PLC0415

    return load_topology(Path(path))


def host_of(env: dict[str, str]) -> str:
    """Return the name of this host in Slurm."""
    return env.get("SLURMD_NODENAME") or os.uname().nodename


def _tokens(env: dict[str, str]) -> tuple[str, ...] | None:
    visible = env.get("CUDA_VISIBLE_DEVICES")
    return None if visible is None else tuple(visible.split(","))


def _gpus_of_step(env: dict[str, str]) -> tuple[int, ...] | None:
    """Return the GPUs that Slurm says it gave, by its own numbers (srun(1))."""
    text = env.get("SLURM_STEP_GPUS") or env.get("SLURM_JOB_GPUS") or ""
    numbers = text.split(",")
    if not all(number.isascii() and number.isdigit() for number in numbers):
        return None
    return tuple(int(number) for number in numbers)


def _without_gpus(env: dict[str, str]) -> bool:
    """Whether Slurm gave the step no GPU: then its ranks are not for the GPUs that the node has.

    Where the site has GPUs that Slurm does not know (no gres.conf), CUDA_VISIBLE_DEVICES tells.
    """
    given = ("CUDA_VISIBLE_DEVICES", "SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "SLURM_GPUS_ON_NODE")
    return "SLURM_JOB_ID" in env and not any(name in env for name in given)


def _hides_peers(request: Request, num_visible: int) -> bool:
    return num_visible == 1 and len(request.gpus_allowed or ()) >= request.num_ranks


def _with_mig(topology: Topology, request: Request) -> Topology:
    """Ask NVML where CUDA_VISIBLE_DEVICES names what the kernel's own files do not tell."""
    tokens = request.gpus_visible or ()
    unknown_uuid = any(t.startswith("GPU-") for t in tokens) and not any(
        gpu.uuid for gpu in topology.gpus
    )
    unknown_mig = any(t.startswith("MIG-") and not t.startswith("MIG-GPU-") for t in tokens)
    if topology.source != "sysfs" or not (unknown_uuid or unknown_mig):
        return topology
    from slurmkit.topology.nvml import add_nvml  # noqa: PLC0415 (loading the driver takes long)

    return add_nvml(topology)


def _socket_interfaces(env: dict[str, str], place: Placement) -> tuple[str, ...]:
    """Return the interface that leads to MASTER_ADDR, over which the ranks must meet anyhow."""
    address = env.get("MASTER_ADDR", "")
    if place.local_world_size == place.world_size or not address:
        return ()
    from slurmkit.launch.interface import interface_to  # noqa: PLC0415

    name = interface_to(address)
    return (name,) if name else ()
