"""Which GPUs a rank has: CUDA_VISIBLE_DEVICES mapped through the topology, never taken as indices.

Sources: CUDA C++ programming guide, "CUDA Environment Variables" (tokens, abbreviated UUIDs, a
token that names no device ends the list); NVIDIA MIG user guide (names of MIG devices); Slurm's
gres.conf(5) and srun(1) (SLURM_STEP_GPUS, renumbering under ConstrainDevices).
"""

from slurmkit.topology.affinity_values import Request, infeasible
from slurmkit.topology.model import Gpu, Topology

_UUIDS = "Name GPUs by UUID: nvidia-smi -L lists them."


def gpus_of_ranks(topology: Topology, request: Request) -> list[tuple[Gpu, ...]]:
    """Return the GPUs of each rank, () for every rank on a node where none is visible.

    Raises:
        AffinityError: a token names no GPU, or the GPUs do not suffice for the ranks.
    """
    visible = visible_gpus(topology, request)
    ranks = range(request.num_ranks)
    if not visible:
        return [() for _ in ranks]
    if request.ranks_per_gpu > 1:
        wanted = -(-request.num_ranks // request.ranks_per_gpu)
        if wanted > len(visible):
            raise infeasible(
                topology.host,
                request.num_ranks - 1,
                f"{wanted} GPUs, one for each {request.ranks_per_gpu} ranks",
                f"{len(visible)} visible",
            )
        # As programs choose: cuda.set_device(local_rank % device_count()).
        return [(visible[rank % len(visible)],) for rank in ranks]
    each = request.gpus_per_rank
    if request.num_ranks * each > len(visible):
        raise infeasible(
            topology.host,
            len(visible) // each,
            f"{request.num_ranks * each} GPUs for {request.num_ranks} ranks",
            f"{len(visible)} visible",
            "Start fewer ranks, or say that several ranks share a GPU.",
        )
    return [tuple(visible[rank * each : (rank + 1) * each]) for rank in ranks]


def visible_gpus(topology: Topology, request: Request) -> list[Gpu]:
    """Return the GPUs that CUDA sees, in its order; a GPU stands once for each of its MIG devices.

    Raises:
        AffinityError: a token names no GPU of the topology, or could mean two.
    """
    if request.gpus_visible is None:
        return _allowed_gpus(topology, request)
    tokens = [token.strip() for token in request.gpus_visible]
    if tokens in ([], [""], ["NoDevFiles"]):  # the last is what Slurm sets for no GPU
        return []
    if "-1" in tokens:  # CUDA ends the list at a token that names no device; -1 is its usual form
        tokens = tokens[: tokens.index("-1")]
    if len(set(tokens)) != len(tokens):
        raise infeasible(
            topology.host, None, "every GPU once in CUDA_VISIBLE_DEVICES", _list(tokens)
        )
    numbered = _numbering(topology, request, tokens)
    found = [
        numbered[int(token)] if token.isdigit() else _by_name(topology, token) for token in tokens
    ]
    whole = [gpu.index for gpu, token in zip(found, tokens, strict=True) if not _is_mig(token)]
    if len(set(whole)) != len(whole):
        raise infeasible(
            topology.host, None, "every GPU once in CUDA_VISIBLE_DEVICES", _list(tokens)
        )
    return found


def _allowed_gpus(topology: Topology, request: Request) -> list[Gpu]:
    """Return the GPUs that Slurm gave the step, in PCI order; all where it does not tell."""
    if request.gpus_allowed is None:
        return list(topology.gpus)
    # Slurm's number is that of the device file, which is the driver's minor number.
    minors = all(gpu.minor is not None for gpu in topology.gpus)
    by_number = {(gpu.minor if minors else gpu.index): gpu for gpu in topology.gpus}
    missing = [number for number in request.gpus_allowed if number not in by_number]
    if missing:
        raise infeasible(
            topology.host,
            None,
            f"the GPUs {_list(request.gpus_allowed)} that Slurm gave the step",
            f"no GPU {_list(missing)} in the topology",
        )
    wanted = {by_number[number].index for number in request.gpus_allowed}
    return [gpu for gpu in topology.gpus if gpu.index in wanted]


def _numbering(topology: Topology, request: Request, tokens: list[str]) -> dict[int, Gpu]:
    """Return what the numbers among the tokens count.

    All GPUs of the node in PCI order; or, where a device cgroup hides the others, those of the step
    from 0.
    """
    numbers = [int(token) for token in tokens if token.isdigit()]
    node = {gpu.index: gpu for gpu in topology.gpus}
    if not numbers:
        return node
    step = dict(enumerate(_allowed_gpus(topology, request)))
    readings = []
    if all(number in node for number in numbers):
        chosen = {node[number].index for number in numbers}
        if request.gpus_allowed is None or chosen <= {gpu.index for gpu in step.values()}:
            readings.append(node)
    if request.gpus_allowed is not None and all(number in step for number in numbers):
        readings.append(step)
    if not readings:
        raise infeasible(
            topology.host,
            None,
            f"CUDA_VISIBLE_DEVICES to name some of {max(len(step), 1)} GPUs",
            _list(tokens),
            "" if topology.gpus else "The topology has no GPU.",
        )
    first, last = readings[0], readings[-1]
    if any(first[number] != last[number] for number in numbers):
        raise infeasible(
            topology.host,
            None,
            "CUDA_VISIBLE_DEVICES that means one set of GPUs",
            f"{_list(tokens)} while Slurm gave GPUs {_list(request.gpus_allowed or ())}: "
            "numbers of the node, or of the step's own GPUs",
            _UUIDS,
        )
    return first


def _by_name(topology: Topology, token: str) -> Gpu:
    """Return the GPU of a UUID, of the beginning of one, or of a MIG device."""
    if token.startswith("MIG-GPU-"):  # MIG-GPU-<UUID>/<instance>/<instance>, drivers before R470
        found = _beginning(topology.gpus, token.removeprefix("MIG-").partition("/")[0])
    elif _is_mig(token):
        found = [
            gpu
            for gpu in topology.gpus
            if any(mig.uuid.lower().startswith(token.lower()) for mig in gpu.mig)
        ]
    else:
        found = _beginning(topology.gpus, token)
    if len(found) == 1:
        return found[0]
    known = any(gpu.mig if _is_mig(token) else gpu.uuid for gpu in topology.gpus)
    what = "MIG devices" if _is_mig(token) else "UUIDs"
    raise infeasible(
        topology.host,
        None,
        f"one GPU for {token!r} of CUDA_VISIBLE_DEVICES",
        f"{len(found)}" if known else f"a topology that knows no {what}",
        _UUIDS if known else "NVML knows them: install nvidia-ml-py beside slurmkit.",
    )


def _beginning(gpus: tuple[Gpu, ...], token: str) -> list[Gpu]:
    if not token.lower().startswith("gpu-"):
        return []
    return [gpu for gpu in gpus if gpu.uuid and gpu.uuid.lower().startswith(token.lower())]


def _is_mig(token: str) -> bool:
    return token.startswith("MIG-")


def _list(values: "Iterable[object]") -> str:
    return ",".join(str(value) for value in values) or "none"


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
