"""Which hooks a job has: decided once, on the batch host, and handed on by one variable."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: The entry points' group.
GROUP = "slurmkit.hooks"
#: Modules and objects, such as ``site_checks,more.checks:plugin``; set and empty for none.
VARIABLE = "SLURMKIT_HOOKS"
#: Turns the built-in check of free space on.
MIN_FREE = "SLURMKIT_MIN_FREE"
_BUILT_IN = "slurmkit.hooks.free_space"


def installed() -> str:
    """Return the entry points of this Python as the variable has them, ordered by their names."""
    # Not at the top: tasks read this module, too, and never look entry points up.
    from importlib.metadata import entry_points  # noqa: PLC0415

    found = sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value))
    names = (f"{entry.module}:{entry.attr}" if entry.attr else entry.module for entry in found)
    return ",".join(dict.fromkeys(names))


def chosen(env: "Mapping[str, str]") -> list[str]:
    """Return the hooks that an environment asks for, in the order in which they are called."""
    names = [name.strip() for name in env.get(VARIABLE, "").split(",")]
    if env.get(MIN_FREE):
        names.insert(0, _BUILT_IN)
    return list(dict.fromkeys(name for name in names if name))
