"""The environment of every task, in layers: defaults, the site's, its presets', the job's."""

from slurmkit.plan.inputs import Inputs
from slurmkit.plan.model import Kind, Shape
from slurmkit.spec.models import ENV_NAME

# bash refuses or ignores an assignment to these (bash(1), "Shell Variables"), so that a script
# could not export them unchanged.
_SHELL_OWNED = frozenset(
    {"BASHOPTS", "BASHPID", "BASH_ALIASES", "BASH_ARGC", "BASH_ARGV", "BASH_ARGV0", "BASH_CMDS"}
    | {"BASH_COMMAND", "BASH_LINENO", "BASH_MONOSECONDS", "BASH_SOURCE", "BASH_SUBSHELL"}
    | {"BASH_VERSINFO", "DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS", "EUID", "FUNCNAME", "GROUPS"}
    | {"HISTCMD", "LINENO", "OPTIND", "PIPESTATUS", "PPID", "RANDOM", "SECONDS", "SHELLOPTS"}
    | {"SHLVL", "SRANDOM", "UID", "_"}
)


def choose_env(inputs: Inputs, shape: Shape) -> tuple[tuple[str, str], ...]:
    """Return the variables by name; later layers win, and a name keeps the place of its first."""
    site, kind = inputs.site, inputs.spec.launch.kind
    layers = [("site.env", site.env)]
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
    for key, layer in layers:
        _check(inputs, key, layer)
        env.update(layer)
    return tuple(env.items())


def shell_owned(name: str) -> bool:
    """Tell whether bash keeps a variable for itself, so that no script can set it."""
    return name in _SHELL_OWNED


def _defaults(kind: Kind, shape: Shape) -> dict[str, str]:
    # Without a limit every rank starts a thread per CPU of the node.
    defaults = {"OMP_NUM_THREADS": str(shape.cpus_per_task)}
    if kind == "torch":
        # The last lines before a crash would be lost in Python's buffer.
        defaults["PYTHONUNBUFFERED"] = "1"
    return defaults


def _check(inputs: Inputs, key: str, layer: dict[str, str]) -> None:
    for name, value in layer.items():
        where = f"{key}.{name}"
        if not ENV_NAME.fullmatch(name):
            message = f"{name!r} is not a variable name; use letters, digits and '_'"
            inputs.report(message, key=key, code="env-name")
        elif shell_owned(name):
            message = f"bash keeps {name} for itself, so a job cannot set it"
            inputs.report(message, key=where, code="env-name")
        if "\0" in value:
            message = "holds a NUL byte, which no environment variable can carry"
            inputs.report(message, key=where, code="env-value")
