"""All checks, in the order in which they are shown."""

from importlib import import_module

from slurmkit.health.check import FULL, QUICK, Check

# One module each in slurmkit.health.checks, with a CHECK.
_MODULES = (
    "shared_folder",
    "local_disk",
    "read_only",
    "memory",
    "shared_memory",
    "hugepages",
    "gpu_count",
    "gpu_strays",
    "gpu_xid",
    "gpu_memory",
    "rdma_ports",
    "clock_skew",
)


def all_checks() -> tuple[Check, ...]:
    """Return every check."""
    return tuple(import_module(f"slurmkit.health.checks.{name}").CHECK for name in _MODULES)


def checks_of(level: str) -> tuple[Check, ...]:
    """Return the checks of a level: ``full`` holds those of ``quick``, too."""
    levels = (QUICK,) if level == QUICK else (QUICK, FULL)
    return tuple(check for check in all_checks() if check.level in levels)
