"""Names that slurmkit gives values to itself: variables of tasks, and options of sbatch."""

import re
import shlex

# What each task learns about its place (`slurmkit exec`); a value from a file would be wrong on all
# ranks but one.
_RANK_VARIABLES = frozenset(
    {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "NODE_RANK"}
    | {"MASTER_ADDR", "MASTER_PORT", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"}
)
_RANK_PREFIXES = ("OMPI_COMM_WORLD_", "PMI_", "PMIX_RANK", "PMIX_NAMESPACE", "SLURMKIT_")
# What Slurm tells a step about itself (srun(1), OUTPUT ENVIRONMENT VARIABLES). Other SLURM_ names
# are options of srun, which somebody may well want to set.
_SLURM_VARIABLES = frozenset(
    {"SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_NPROCS"}
    | {"SLURM_JOBID", "SLURM_NNODES", "SLURM_NODELIST", "SLURM_TASKS_PER_NODE", "SLURM_TASK_PID"}
    | {"SLURM_GTIDS", "SLURM_SUBMIT_DIR", "SLURM_SUBMIT_HOST", "SLURM_RESTART_COUNT"}
    | {"SLURM_CPUS_ON_NODE", "SLURM_JOB_CPUS_PER_NODE", "SLURM_CLUSTER_NAME"}
)
_SLURM_PREFIXES = ("SLURM_JOB_", "SLURM_STEP_", "SLURM_STEPID", "SLURM_ARRAY_", "SLURM_LAUNCH_NODE")

_SHORT = {
    "-A": "--account", "-a": "--array", "-C": "--constraint", "-c": "--cpus-per-task",
    "-D": "--chdir", "-d": "--dependency", "-e": "--error", "-F": "--nodefile", "-G": "--gpus",
    "-J": "--job-name", "-L": "--licenses", "-N": "--nodes", "-n": "--ntasks", "-o": "--output",
    "-p": "--partition", "-q": "--qos", "-t": "--time", "-W": "--wait", "-w": "--nodelist",
    "-x": "--exclude",
}  # fmt: skip
_KEYS = {
    "--account": "resources.account",
    "--array": "array",
    "--chdir": "launch.workdir",
    "--constraint": "resources.constraint",
    "--cpus-per-gpu": "resources.cpus_per_task",
    "--cpus-per-task": "resources.cpus_per_task",
    "--dependency": "after",
    "--exclude": "resources.exclude",
    "--exclusive": "resources.exclusive",
    "--gpus": "resources.gpus_per_node",
    "--gpus-per-node": "resources.gpus_per_node",
    "--gpus-per-socket": "resources.gpus_per_node",
    "--gpus-per-task": "resources.gpus_per_node",
    "--gres": "resources.gpus_per_node",
    "--job-name": "name",
    "--licenses": "resources.licenses",
    "--mem": "resources.memory",
    "--mem-per-cpu": "resources.memory",
    "--mem-per-gpu": "resources.memory",
    "--no-requeue": "resilience.on_node_failure",
    "--nodefile": "resources.nodelist",
    "--nodelist": "resources.nodelist",
    "--nodes": "resources.nodes",
    "--ntasks": "resources.tasks_per_node",
    "--ntasks-per-gpu": "resources.tasks_per_node",
    "--ntasks-per-node": "resources.tasks_per_node",
    "--partition": "resources.partition",
    "--qos": "resources.qos",
    "--reservation": "resources.reservation",
    "--time": "resources.time",
}
_LOG = "slurmkit keeps the job's output in its run directory, where `slurmkit logs` finds it"
_EXPORT = "a comma in a value would cut it off without a word; slurmkit writes export lines instead"
_REFUSED = {
    "--comment": "slurmkit keeps the run's id in the comment, so that nothing is submitted twice",
    "--error": _LOG,
    "--export": _EXPORT,
    "--export-file": _EXPORT,
    "--open-mode": _LOG,
    "--output": _LOG,
    "--test-only": "the job would not be submitted; `slurmkit check` tells whether it could be",
    "--wait": "sbatch would not return; `slurmkit submit --wait` waits",
    "--wrap": "there is a script already; the program belongs under launch.command",
}
_HINTS = {
    "--export": "Put the variables under env.",
    "--export-file": "Put the variables under env.",
}


def why_reserved(variable: str) -> str:
    """Return why a job may not set a variable; empty when it may."""
    if variable in _RANK_VARIABLES or variable.startswith(_RANK_PREFIXES):
        return "slurmkit sets it for every task"
    if variable in _SLURM_VARIABLES or variable.startswith(_SLURM_PREFIXES):
        return "Slurm sets it"
    return ""


def refused_option(line: str, *, has_gpus: bool = False) -> tuple[str, str, str] | None:
    """Judge one ``#SBATCH`` directive that a person wrote.

    Args:
        line: the directive, such as ``--mail-type=END``.
        has_gpus: whether the job asks for GPUs by a key of its own.

    Returns:
        What is wrong, what to do, and the key of job.yaml that says the same (empty for none);
        None when the directive may stay.
    """
    text = line.strip()
    if text.startswith("#SBATCH"):
        rest = text.removeprefix("#SBATCH").strip()
        return f"{line!r} starts with #SBATCH, which slurmkit writes itself", f"Write {rest}.", ""
    if not text.startswith("-"):
        return f"{line!r} is not an option of sbatch", "Write it like --mail-type=END.", ""
    try:
        words = shlex.split(text)
    except ValueError:
        return f"{line!r} has a quote that is not closed", "Close the quote.", ""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("-"):
            name, value = _option(word)
            found = _judge(name, value or ("" if following.startswith("-") else following))
            if found is None and name == "--gres" and has_gpus:
                message = (
                    "--gres would replace the one that asks for the GPUs: Slurm takes the last"
                )
                return message, "Remove it, or resources.gpus_per_node.", ""
            if found is not None:
                return found
    return None


def _judge(name: str, value: str) -> tuple[str, str, str] | None:
    if name == "--gres" and not re.fullmatch(r"gpu(:[^,]*)?", value):
        return None  # another resource, which has no key
    if name == "--exclusive" and value:  # user, mcs or topo: no key says that
        return None
    if name in _REFUSED:
        return f"{name} cannot be set: {_REFUSED[name]}", _HINTS.get(name, "Remove it."), ""
    if key := _KEYS.get(name, ""):
        hint = "Set on_node_failure: stop." if name == "--no-requeue" else f"Set {key} instead."
        return f"{name} has a key of its own, {key}", hint, key
    return None


def _option(word: str) -> tuple[str, str]:
    if not word.startswith("--"):
        return _SHORT.get(word[:2], word[:2]), word[2:].removeprefix("=")
    name, _, value = word.partition("=")
    if name in _KEYS or name in _REFUSED or len(name) < 4:
        return name, value
    # getopt_long(3): sbatch takes any beginning of a name that fits one option only.
    return next((full for full in (*_KEYS, *_REFUSED) if full.startswith(name)), name), value
