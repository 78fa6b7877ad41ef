"""Bind this task as the affinity planner says, before it becomes the program; no root needed.

Every task computes the plan of its whole node from the same facts, so that none has to wait for
another. Masks, memory policy and environment survive exec. Loaded only when SLURMKIT_AFFINITY asks
for it.
"""

import os

from slurmkit.launch.binding import (
    apply_memory,
    own_cpus,
    read_memory,
    set_cpus,
    step_cpus,
)
from slurmkit.launch.node import Node, host_of, look
from slurmkit.launch.placement import wrong
from slurmkit.launch.spank import bound_by_plugin
from slurmkit.launch.variables import Placement
from slurmkit.topology.affinity import AffinityError, RankPlan, Request, plan_ranks
from slurmkit.topology.cpuset import format_cpulist
from slurmkit.topology.model import Topology

MODES = ("off", "warn", "strict")


class _OwnError(AffinityError):
    """One that no other rank of the node meets: it is about this task's own mask."""


def bind(env: dict[str, str], place: Placement, per_node: bool, program: str = "") -> bool:
    """Apply and verify the plan of this task, as SLURMKIT_AFFINITY says.

    Args:
        env: the task's environment, which gets the plan's variables; those that are set stay.
        place: the task's place.
        per_node: whether this is a launcher that starts the node's ranks itself.
        program: what the task will execute; its folder may tell which NCCL it uses.

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
    exchange = _exchange(env, place, mode == "strict")
    try:
        node = look(env, place, program)
        plan = plan_of_task(node, env, place, before)
        for note in plan.notes:
            speaker.note(note)
        if exchange and not _rails_agree(exchange, node, place, speaker) and mode == "strict":
            return False
        differences = _apply(plan)
    except AffinityError as error:
        set_cpus(before)
        speaker.tell(error)
        if exchange:
            exchange.refuse()
        return mode == "warn"
    for name, value in plan.env.items():
        env.setdefault(name, value)
    for expected, found in differences:
        speaker.say(expected, found, mine=True)
    return not differences or mode == "warn"


def plan_task(
    env: dict[str, str], place: Placement, before: frozenset[int], program: str = ""
) -> RankPlan:
    """Return this task's line of the node's plan.

    Args:
        env: the task's environment.
        place: the task's place.
        before: the CPU mask that the task was started with.
        program: what the task will execute.

    Raises:
        AffinityError: there is no such plan.
    """
    return plan_of_task(look(env, place, program), env, place, before)


def plan_of_task(
    node: Node, env: dict[str, str], place: Placement, before: frozenset[int]
) -> RankPlan:
    """Return this task's line of the plan; see `plan_task`."""
    topology, request = node.topology, node.request
    if bound_by_plugin(env):
        # Its mask is checked, not widened again; its memory policy stays unless the job names one.
        if not env.get("SLURMKIT_AFFINITY_MEMORY"):
            request = request.replace(memory="none")
        return plan_within_mask(topology, request, node.position, before)
    confined, shared = step_cpus(topology.cpus_online, before, env, place.local_world_size)
    if shared:
        return plan_ranks(topology, request.replace(allowed_cpus=confined))[node.position]
    return plan_within_mask(topology, request, node.position, before)


def plan_within_mask(
    topology: Topology, request: Request, position: int, mask: frozenset[int]
) -> RankPlan:
    """Return the plan where Slurm has given every task cores of its own, and only those."""
    plan = plan_ranks(topology, request.replace(policy="none"))[position]
    if request.policy == "none":
        return plan
    own = request.replace(num_ranks=1, allowed_cpus=mask, ranks_per_gpu=1, gpus_allowed=None)
    own = own.replace(gpus_visible=tuple(str(gpu.index) for gpu in plan.gpus))
    try:
        cores = plan_ranks(topology, own)[0]
    except AffinityError as error:
        raise _OwnError(topology.host, error.expected, error.found, hint=error.hint) from error
    return plan.replace(
        cpus=cores.cpus,
        numa=cores.numa,
        memory=cores.memory,
        memory_nodes=cores.memory_nodes,
        notes=(*plan.notes, *cores.notes),
    )


def _exchange(env: dict[str, str], place: Placement, strict: bool) -> "Exchange | None":
    """Return this task's part in comparing rails between nodes; None where there is nothing to."""
    if place.local_world_size == place.world_size:
        return None
    from slurmkit.launch.rails import Exchange, is_needed  # noqa: PLC0415 (several nodes only)

    return Exchange(env, place, strict) if is_needed(env, place) else None


def _rails_agree(exchange: "Exchange", node: Node, place: Placement, speaker: "_Speaker") -> bool:
    """Compare this node's rails with the others'; False when a strict step must not start."""
    from slurmkit.launch.rails import RailsError  # noqa: PLC0415 (several nodes only)
    from slurmkit.topology.affinity_rails import node_rails  # noqa: PLC0415

    try:
        if place.local_rank == 0:
            # NICs follow from the GPUs alone, whatever the masks are.
            lines = plan_ranks(node.topology, node.request.replace(policy="none"))
            exchange.publish(node_rails(node.topology, lines))
        return exchange.agree()
    except RailsError as error:
        speaker.say_of_step(error.message, error.hint)
    except AffinityError as error:
        speaker.tell(error)
    return False


def _apply(plan: RankPlan) -> list[tuple[str, str]]:
    """Apply a plan and return what differs from it afterwards, as (expected, found) pairs."""
    differences = []
    if plan.cpus and own_cpus() != plan.cpus:
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
        self._host = host_of(env)

    def say(self, expected: str, found: str, *, mine: bool = False) -> None:
        if mine or self._place.local_rank == 0:
            self._say(f"{self._who()}: expected {expected}, found {found}")

    def tell(self, error: AffinityError) -> None:
        mine = isinstance(error, _OwnError)
        if not mine and self._place.local_rank != 0:
            return
        own = error.who == f"{self._host}: local rank {self._place.local_rank}"
        who = self._who() if mine or own else error.who
        self._say(f"{who}: expected {error.expected}, found {error.found}", error.hint)

    def say_of_step(self, text: str, hint: str) -> None:
        if self._place.local_rank == 0:
            self._say(f"{self._who()}: {text}", hint)

    def note(self, text: str) -> None:
        self._write(f"warning: affinity: {self._who()}: {text}")

    def _say(self, text: str, hint: str = "") -> None:
        kind = "error" if self._mode == "strict" else "warning"
        self._write(f"{kind}: affinity: {text}{f'; {hint}' if hint else ''}")

    def _who(self) -> str:
        return f"{self._host}: rank {self._place.rank} (local rank {self._place.local_rank})"

    def _write(self, line: str) -> None:
        os.write(2, f"slurmkit: {line}\n".encode("utf-8", "surrogateescape"))


TYPE_CHECKING = False
if TYPE_CHECKING:
    from slurmkit.launch.rails import Exchange
