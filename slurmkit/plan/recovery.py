"""What happens when something fails or time ends: checkpoints, the supervisor's orders, Slurm's."""

import posixpath
from collections.abc import Iterator

from slurmkit.plan.inputs import Inputs
from slurmkit.plan.model import Checkpoints, Directive, Recovery, Variable, Word
from slurmkit.plan.shape import choose_time
from slurmkit.plan.words import join_word, path_word, variables_word
from slurmkit.spec.values import every_text
from slurmkit.units import parse_duration_s

#: Where node-local copies go at a site that names no folder for them.
DEFAULT_LOCAL_DIR = "/tmp"  # noqa: S108 - a default that a check warns about
_LOCAL_LEVELS = frozenset({"nvme", "partner"})
_NEED_SURVIVORS = frozenset({"spare", "shrink", "successor"})
# mpirun takes all nodes of the allocation, so nothing can leave one out for the next launch.
_NEED_SRUN = frozenset({"spare", "shrink"})


def choose_checkpoints(inputs: Inputs) -> Checkpoints | None:
    """Return where and how often the program saves; None when the job does not say that it does."""
    wanted = inputs.spec.checkpoint
    if wanted is None or inputs.context.portable:
        return None
    has_local = inputs.site.local_dir is not None or not _LOCAL_LEVELS.isdisjoint(wanted.levels)
    local_dir = variables_word(inputs.site.local_dir or DEFAULT_LOCAL_DIR)
    return Checkpoints(
        dir=_folder(inputs, wanted.dir),
        every=every_text(wanted.every),
        keep=wanted.keep,
        asynchronous=wanted.async_,
        levels=tuple(wanted.levels),
        local_dir=local_dir if has_local else None,
    )


def _folder(inputs: Inputs, path: str) -> Word:
    """Return a folder of the element's own; one that is relative the supervisor makes absolute."""
    if not path.startswith(("/", "~")):
        return (posixpath.normpath(path),)
    folder = path_word(path, "/")
    is_array = inputs.spec.array is not None or inputs.spec.sweep is not None
    return join_word(folder, "/", (Variable("SLURM_ARRAY_TASK_ID"),)) if is_array else folder


def choose_recovery(inputs: Inputs) -> Recovery | None:
    """Return what the supervisor is told; None when it is only to watch."""
    wanted = inputs.spec.resilience
    if wanted is None or inputs.context.portable:
        return None
    actions = possible_actions(inputs)
    hang = str(wanted.hang)
    if hang not in ("auto", "off"):
        seconds = parse_duration_s(wanted.hang)
        hang = "off" if seconds is None else f"{seconds}s"
    return Recovery(
        actions=actions,
        min_nodes=(wanted.min_nodes or 1) if "shrink" in actions else None,
        max_restarts=wanted.max_restarts,
        heartbeat_s=f"{wanted.heartbeat_s:g}",
        hang=hang,
        preflight=wanted.preflight,
    )


def possible_actions(inputs: Inputs) -> tuple[str, ...]:
    """Return what may be tried after a node failure here, in order; ``stop`` when nothing may."""
    wanted = inputs.spec.resilience
    actions = [wanted.on_node_failure, *wanted.then] if wanted is not None else []
    without = set(_NEED_SRUN) if inputs.spec.launch.launcher == "mpirun" else set()
    if inputs.site.sbatch_from_compute_nodes is False:
        without.add("successor")
    left = tuple(action for action in dict.fromkeys(actions) if action not in without)
    return left or ("stop",)


def wants_warning(inputs: Inputs) -> bool:
    """Tell whether the program is told before its time ends.

    A program that does not expect the signal dies of it, so only jobs that say that they save
    checkpoints or recover get it.
    """
    says_so = inputs.spec.checkpoint is not None or inputs.spec.resilience is not None
    return says_so and inputs.site.signal.lead_s > 0


def recovery_directives(inputs: Inputs) -> Iterator[Directive]:
    """Yield what Slurm itself is told."""
    portable = inputs.context.portable
    actions = possible_actions(inputs) if inputs.spec.resilience is not None else ()
    if "stop" in actions and "requeue" not in actions:
        yield Directive("--no-requeue")
    else:
        yield Directive("--requeue", None, "start again when a node fails")
    if not portable and _NEED_SURVIVORS.intersection(actions):
        yield Directive("--no-kill", None, "the supervisor goes on with the nodes that are left")
    if wants_warning(inputs):
        # The supervisor takes the place of the batch shell, gets the signal and passes it on to the
        # ranks. Without it Slurm has to tell the ranks itself, which it does not do with "B:".
        target = "" if portable else "B:"
        value = f"{target}{inputs.site.signal.name}@{_lead_s(inputs)}"
        yield Directive("--signal", value, "time to save a checkpoint")


def _lead_s(inputs: Inputs) -> int:
    """Return the seconds between warning and end: at most half of a short job's time."""
    time = choose_time(inputs)
    limit_s = parse_duration_s(time) if time is not None else None
    lead_s = inputs.site.signal.lead_s
    return lead_s if limit_s is None else min(lead_s, limit_s // 2)


def recovery_notes(inputs: Inputs) -> Iterator[str]:
    """Yield what the reader of the script should know of what is not in it."""
    spec = inputs.spec
    if inputs.context.portable:
        if spec.resources.spares:
            yield "Left out: the spare nodes, because only slurmkit would use them."
        if spec.resilience is not None:
            yield (
                "Left out: resilience. Nothing here notices a lost node before Slurm does, counts"
                " restarts or avoids bad nodes."
            )
        if spec.checkpoint is not None:
            yield (
                "Left out: checkpoint. The program is told before its time ends; where and how"
                " often it saves, and what it restores, is its own affair."
            )
        return
    if spec.resilience is None:
        return
    kept = possible_actions(inputs)
    for action in dict.fromkeys((spec.resilience.on_node_failure, *spec.resilience.then)):
        if action in kept:
            continue
        why = (
            f"site {inputs.site.name!r} lets no compute node submit jobs"
            if action == "successor"
            else "mpirun takes all nodes of the job, the lost one, too"
        )
        yield f"Left out: {action}, because {why}."
