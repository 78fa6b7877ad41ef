"""Rules on checkpoints and on what happens when something fails."""

from collections.abc import Callable, Iterator

from slurmkit.spec.finding import Finding
from slurmkit.spec.models import JobSpec, Resilience

_ORDERS = (["shared"], ["nvme", "shared"], ["nvme", "partner", "shared"])


def _actions(resilience: Resilience) -> list[tuple[str, str]]:
    """Return each action in order with its key."""
    first = ("resilience.on_node_failure", resilience.on_node_failure)
    return [first, *((f"resilience.then.{i}", action) for i, action in enumerate(resilience.then))]


def _spares(spec: JobSpec) -> Iterator[Finding]:
    spares = spec.resources.spares
    if spec.resilience is None:
        if spares:
            yield Finding(
                "nothing uses the spare nodes",
                "resources.spares",
                "Add resilience with on_node_failure: spare.",
                warning=True,
            )
        return
    actions = _actions(spec.resilience)
    keys = [key for key, action in actions if action == "spare"]
    if keys and not spares:
        others = [action for _, action in actions if action not in ("spare", "stop")]
        yield Finding(
            "there is no spare node to take over" + (f"; {others[0]} is tried" if others else ""),
            keys[0],
            "Set resources.spares, or choose another action.",
            warning=bool(others),
        )
    if spares and not keys:
        yield Finding(
            "nothing uses the spare nodes",
            "resources.spares",
            "Set resilience.on_node_failure: spare.",
            warning=True,
        )


def _order(spec: JobSpec) -> Iterator[Finding]:
    actions = _actions(spec.resilience) if spec.resilience is not None else []
    seen: set[str] = set()
    for position, (key, action) in enumerate(actions):
        if action in seen:
            yield Finding(f"{action} stands here twice", key, "Keep the first.", warning=True)
        seen.add(action)
        if action == "stop" and position + 1 < len(actions):
            later, never = actions[position + 1]
            yield Finding(
                f"nothing comes after stop, so {never} is never tried", later, "Put stop last."
            )
            return


def _shrink(spec: JobSpec) -> Iterator[Finding]:
    resilience, nodes = spec.resilience, spec.resources.nodes
    if resilience is None:
        return
    keys = [key for key, action in _actions(resilience) if action == "shrink"]
    least = resilience.min_nodes
    if least is not None and not keys:
        yield Finding(
            "only shrink goes on with fewer nodes, and it is not among the actions",
            "resilience.min_nodes",
            "Add shrink under then, or remove this.",
            warning=True,
        )
    elif least is not None and least > nodes:
        yield Finding(
            f"the program runs on {nodes} nodes at most",
            "resilience.min_nodes",
            f"Write at most {nodes}.",
        )
    if keys and (least or 1) >= nodes:
        yield Finding(
            f"shrink has nothing to give up: the program runs on {nodes} and needs {least or 1}",
            keys[0],
            "Lower resilience.min_nodes, or choose another action.",
            warning=True,
        )
    if keys and spec.launch.launcher == "mpirun":
        yield Finding(
            "mpirun takes all nodes of the job, also the lost one, so shrink is not tried",
            keys[0],
            "Use launcher: srun, or successor and requeue, which begin with other nodes.",
            warning=True,
        )


def _unsaved(spec: JobSpec) -> Iterator[Finding]:
    """A restart without a checkpoint begins at the first step."""
    resilience = spec.resilience
    if resilience is None or spec.checkpoint is not None or resilience.on_node_failure == "stop":
        return
    yield Finding(
        "every restart begins at the first step, unless the program saves and restores by itself",
        "resilience",
        "Add checkpoint: true and use slurmkit.train.Session, or ignore this.",
        warning=True,
    )


def _budget(spec: JobSpec) -> Iterator[Finding]:
    resilience = spec.resilience
    if resilience is None or resilience.max_restarts > 0 or resilience.on_node_failure == "stop":
        return
    yield Finding(
        "no restart is allowed, so nothing is tried after a failure",
        "resilience.max_restarts",
        "Write at least 1, or on_node_failure: stop.",
        warning=True,
    )


def _levels(spec: JobSpec) -> Iterator[Finding]:
    if spec.checkpoint is None:
        return
    levels = spec.checkpoint.levels
    if len(set(levels)) < len(levels):
        yield Finding("a level stands here twice", "checkpoint.levels", "Keep one of the two.")
    elif levels[-1] != "shared":
        yield Finding(
            "no copy would outlive the nodes, or slower levels stand before faster ones",
            "checkpoint.levels",
            "Put shared last: [nvme, shared].",
        )
    elif levels not in _ORDERS:
        yield Finding(
            "these levels do not build on each other: a partner's copy is made of the node's own",
            "checkpoint.levels",
            "Write [shared], [nvme, shared] or [nvme, partner, shared].",
        )
    elif "partner" in levels and spec.resources.nodes == 1:
        yield Finding(
            "one node has no partner to keep its copy",
            "checkpoint.levels",
            "Remove partner.",
            warning=True,
        )


def _keep(spec: JobSpec) -> Iterator[Finding]:
    if spec.checkpoint is not None and spec.checkpoint.keep == 1:
        yield Finding(
            "with one checkpoint there is none to fall back on when it turns out to be damaged",
            "checkpoint.keep",
            "Write at least 2.",
            warning=True,
        )


RECOVERY_RULES: tuple[Callable[[JobSpec], Iterator[Finding]], ...] = (
    _spares,
    _order,
    _shrink,
    _unsaved,
    _budget,
    _levels,
    _keep,
)
