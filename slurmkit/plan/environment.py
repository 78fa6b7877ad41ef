"""The environment of every task, in layers: defaults, the site's, its presets', the job's."""

import re

from slurmkit.plan.affinity import choose_affinity
from slurmkit.plan.inputs import Inputs
from slurmkit.plan.model import Kind, Shape
from slurmkit.plan.shape import choose_partition

# bash refuses or ignores an assignment to these (bash(1), "Shell Variables"), so that a script
# could not export them unchanged.
_SHELL_OWNED = frozenset(
    {"BASHOPTS", "BASHPID", "BASH_ALIASES", "BASH_ARGC", "BASH_ARGV", "BASH_ARGV0", "BASH_CMDS"}
    | {"BASH_COMMAND", "BASH_LINENO", "BASH_MONOSECONDS", "BASH_SOURCE", "BASH_SUBSHELL"}
    | {"BASH_VERSINFO", "DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS", "EUID", "FUNCNAME", "GROUPS"}
    | {"HISTCMD", "LINENO", "OPTIND", "PIPESTATUS", "PPID", "RANDOM", "SECONDS", "SHELLOPTS"}
    | {"SHLVL", "SRANDOM", "UID", "_"}
)

_PLAIN = re.compile(r"[\w.,:=^/+-]+", re.ASCII)

# What the shipped templates keep for themselves; a task would get their value instead.
_SCRIPT_OWNED = frozenset(
    {"line_labels", "module_init", "mpi_plugin", "mpi_settings", "mpirun", "mpirun_options"}
    | {"port_try", "secrets_file"}
    | {"slurmkit", "start_task", "sweep_values"}
)


def choose_env(inputs: Inputs, shape: Shape) -> tuple[tuple[str, str], ...]:
    """Return the variables by name; later layers win, and a name keeps the place of its first."""
    site, kind = inputs.site, inputs.spec.launch.kind
    layers = [("site.fabric", _fabric(inputs)), ("site.env", site.env)]
    for preset in site.presets_for.get(kind, []):
        if preset not in site.env_presets:
            inputs.report(
                f"presets_for.{kind} names {preset!r}, which is not under env_presets",
                key="site.presets_for",
                code="unknown-preset",
            )
        layers.append((f"site.env_presets.{preset}", site.env_presets.get(preset, {})))
    layers.append(("env", inputs.spec.env))
    env = _defaults(kind, shape)
    env.update(choose_affinity(inputs))
    for key, layer in layers:
        _check(inputs, key, layer)
        env.update(layer)
    return tuple(env.items())


def choose_defaults(inputs: Inputs, env: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Return the variables that stay as whoever submits has set them: those of the fabric alone.

    A value that bash would read as more than text stands as it is, and wins.
    """
    fabric = _fabric(inputs)
    return tuple(
        name for name, value in env if fabric.get(name) == value and _PLAIN.fullmatch(value)
    )


def check_secrets(inputs: Inputs) -> None:
    """Report secrets whose variables would not arrive."""
    for index, secret in enumerate(inputs.spec.secrets):
        if reason := why_not_settable(secret.name):
            message = f"no secret can be in {secret.name}: {reason}"
            inputs.report(message, key=f"secrets.{index}", code="env-name")


def why_not_settable(name: str) -> str:
    """Return why a script cannot hand a variable on to tasks unchanged; empty when it can."""
    if name in _SHELL_OWNED:
        return "bash keeps it for itself"
    return "the batch script uses a variable of that name" if name in _SCRIPT_OWNED else ""


def _defaults(kind: Kind, shape: Shape) -> dict[str, str]:
    # Without a limit every rank starts a thread per CPU of the node.
    defaults = {"OMP_NUM_THREADS": str(shape.cpus_per_task)}
    if kind == "torch":
        # The last lines before a crash would be lost in Python's buffer.
        defaults["PYTHONUNBUFFERED"] = "1"
    return defaults


def _fabric(inputs: Inputs) -> dict[str, str]:
    """Return what the site's fabric asks for; a job on one node has no use for it."""
    fabric = inputs.site.fabric
    if fabric is None or inputs.spec.resources.nodes == 1:
        return {}
    if fabric.partitions and not _partitions_of(inputs) <= set(fabric.partitions):
        return {}
    from slurmkit.site.fabric import environment  # noqa: PLC0415 - few sites name one

    return environment(fabric)


def _partitions_of(inputs: Inputs) -> set[str]:
    """Return the partitions that a job may run in; an empty name where nobody says."""
    named = choose_partition(inputs)
    if named is None and inputs.limits is not None:
        default = inputs.limits.default_partition()
        named = default.name if default is not None else None
    return set((named or "").split(","))


def _check(inputs: Inputs, key: str, layer: dict[str, str]) -> None:
    for name in layer:
        if reason := why_not_settable(name):
            message = f"a job cannot set {name}: {reason}"
            inputs.report(message, key=f"{key}.{name}", code="env-name")
