"""Bind this task as the affinity planner says, before it becomes the program; no root needed.

Every task computes the plan of its whole node from the same facts, so that none has to wait for
another. Masks, memory policy and environment survive exec. Loaded only when SLURMKIT_AFFINITY asks
for it.
"""

import os

from slurmkit.launch.binding import (
    allowed_memory_nodes,
    apply_memory,
    own_cpus,
    read_memory,
    set_cpus,
    step_cpus,
)
from slurmkit.launch.placement import wrong
from slurmkit.launch.variables import Placement
from slurmkit.topology.affinity import AffinityError, RankPlan, Request, plan_ranks
from slurmkit.topology.affinity_gpus import visible_gpus
from slurmkit.topology.cpuset import format_cpulist
from slurmkit.topology.model import Topology

MODES = ("off", "warn", "strict")


def bind(env: dict[str, str], place: Placement, per_node: bool) -> bool:
    """Apply and verify the plan of this task, as SLURMKIT_AFFINITY says.

    Args:
        env: the task's environment, which gets the plan's variables; those that are set stay.
        place: the task's place.
        per_node: whether this is a launcher that starts the node's ranks itself.

    Returns:
        False when the program must not start: the mode is strict, and something differs.

    Raises:
        UsageError: SLURMKIT_AFFINITY or SLURMKIT_TOPOLOGY makes no sense.
    """
    mode = env.get("SLURMKIT_AFFINITY", "")
    if mode not in MODES:
        raise wrong(
            f"SLURMKIT_AFFINITY={mode!r} is no mode of affinity", f"Modes: {', '.join(MODES)}."
        )
    if mode == "off":
        return True
    speaker = _Speaker(env, place, mode)
    if per_node:
        speaker.say(
            "one task per rank",
            "one launcher for all ranks of the node (torchrun), which starts them unbound; "
            "launcher: srun binds them",
        )
        return mode == "warn"
    before = own_cpus()
    try:
        plan = plan_task(env, place, before)
        for note in plan.notes:
            speaker.note(note)
        differences = _apply(plan)
    except AffinityError as error:
        set_cpus(before)
        speaker.say(error.expected, error.found, error.hint)
        return mode == "warn"
    for name, value in plan.env.items():
        env.setdefault(name, value)
    for expected, found in differences:
        speaker.say(expected, found, mine=True)
    return not differences or mode == "warn"


def plan_task(env: dict[str, str], place: Placement, before: frozenset[int]) -> RankPlan:
    """Return this task's line of the node's plan.

    Args:
        env: the task's environment.
        place: the task's place.
        before: the CPU mask that the task was started with.

    Raises:
        AffinityError: there is no such plan.
    """
    topology = _topology(env)
    count = place.local_world_size
    request = Request(
        num_ranks=count,
        policy=env.get("SLURMKIT_AFFINITY_POLICY") or "nearest",
        allowed_mems=allowed_memory_nodes(),
        gpus_visible=_tokens(env),
        gpus_allowed=_gpus_of_step(env),
        socket_interfaces=_socket_interfaces(env, place),
    )
    topology = _with_mig(topology, request)
    if topology.gpus and _without_gpus(env):
        request = request.replace(gpus_visible=())
    visible = visible_gpus(topology, request)
    position = place.local_rank
    if len(visible) < count and _hides_peers(request, len(visible)):
        # Slurm gave this task its own GPU and hides the others (--gpus-per-task): the plan is for
        # all GPUs of the step, and the task takes the line of its GPU.
        request = request.replace(gpus_visible=None, num_ranks=len(request.gpus_allowed or ()))
        step = visible_gpus(topology, request)
        position = [gpu.index for gpu in step].index(visible[0].index)
    elif visible and count > len(visible) and count % len(visible) == 0:
        request = request.replace(ranks_per_gpu=count // len(visible))
    confined, shared = step_cpus(topology.cpus_online, before, env, count)
    if shared:
        return plan_ranks(topology, request.replace(allowed_cpus=confined))[position]
    return plan_within_mask(topology, request, position, before)


def plan_within_mask(
    topology: Topology, request: Request, position: int, mask: frozenset[int]
) -> RankPlan:
    """Return the plan where Slurm has given every task cores of its own, and only those."""
    plan = plan_ranks(topology, request.replace(policy="none"))[position]
    if request.policy == "none":
        return plan
    own = request.replace(num_ranks=1, allowed_cpus=mask, ranks_per_gpu=1, gpus_allowed=None)
    cores = plan_ranks(
        topology, own.replace(gpus_visible=tuple(str(gpu.index) for gpu in plan.gpus))
    )[0]
    return plan.replace(
        cpus=cores.cpus,
        numa=cores.numa,
        memory=cores.memory,
        memory_nodes=cores.memory_nodes,
        notes=(*plan.notes, *cores.notes),
    )


def _apply(plan: RankPlan) -> list[tuple[str, str]]:
    """Apply a plan and return what differs from it afterwards, as (expected, found) pairs."""
    differences = []
    if plan.cpus:
        refusal = set_cpus(plan.cpus)
        found = own_cpus()
        if found != plan.cpus:
            reason = f" ({refusal})" if refusal else ""
            differences.append(
                (f"CPUs {format_cpulist(plan.cpus)}", f"CPUs {format_cpulist(found)}{reason}")
            )
    if plan.memory != "none":
        refusal = apply_memory(plan.memory, plan.memory_nodes)
        expected, actual = read_memory(plan.memory, plan.memory_nodes)
        if actual != expected:
            reason = f" ({refusal})" if refusal else ""
            differences.append((f"memory policy {expected}", f"{actual}{reason}"))
    return differences


class _Speaker:
    """Says what differs in one line; what all ranks of a node share, its first rank alone says."""

    def __init__(self, env: dict[str, str], place: Placement, mode: str) -> None:
        self._place = place
        self._mode = mode
        self._host = _host(env)

    def say(self, expected: str, found: str, hint: str = "", *, mine: bool = False) -> None:
        if not mine and self._place.local_rank != 0:
            return
        kind = "error" if self._mode == "strict" else "warning"
        tail = f"; {hint}" if hint else ""
        self._write(f"{kind}: affinity: {self._who()}: expected {expected}, found {found}{tail}")

    def note(self, text: str) -> None:
        self._write(f"warning: affinity: {self._who()}: {text}")

    def _who(self) -> str:
        return f"{self._host}: rank {self._place.rank} (local rank {self._place.local_rank})"

    def _write(self, line: str) -> None:
        os.write(2, f"slurmkit: {line}\n".encode("utf-8", "surrogateescape"))


def _topology(env: dict[str, str]) -> Topology:
    path = env.get("SLURMKIT_TOPOLOGY")
    if path:
        return _from_file(path).replace(host=_host(env))
    from slurmkit.topology.discover import discover  # noqa: PLC0415 (a file may take its place)

    return discover().replace(host=_host(env))


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


def _host(env: dict[str, str]) -> str:
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
    if (place.num_nodes or 1) == 1 or not address:
        return ()
    from slurmkit.launch.interface import interface_to  # noqa: PLC0415

    name = interface_to(address)
    return (name,) if name else ()
