"""All checks, in the order in which they are shown."""

from collections.abc import Sequence
from importlib import import_module

from slurmkit.health.check import FULL, QUICK, Check

# One module each in slurmkit.health.checks, with a CHECK: first those that are quick where a site
# says nothing else.
_MODULES = (
    "shared_folder",
    "local_disk",
    "read_only",
    "mounts",
    "memory",
    "memory_size",
    "memory_errors",
    "shared_memory",
    "hugepages",
    "cpu_count",
    "gpu_count",
    "gpu_strays",
    "gpu_xid",
    "pcie_link",
    "rdma_ports",
    "clock_skew",
    "slurm_daemons",
    "gpu_driver",
    "gpu_memory",
    "gpu_nvlink",
    "gpu_temperature",
    "gpu_clocks",
    "gpu_settings",
    "rdma_errors",
    "link_flaps",
    "cpu_frequency",
    "cpu_throttling",
    "clock_sync",
    "stray_processes",
    "stuck_processes",
    "kernel_log",
    "kernel_taint",
)


def all_checks() -> tuple[Check, ...]:
    """Return every check."""
    return tuple(import_module(f"slurmkit.health.checks.{name}").CHECK for name in _MODULES)


def checks_of(level: str, checks: Sequence[Check]) -> tuple[Check, ...]:
    """Return the checks of a level: ``full`` holds those of ``quick``, too.

    Args:
        level: quick or full.
        checks: those to choose from, as a site has configured them.
    """
    levels = (QUICK,) if level == QUICK else (QUICK, FULL)
    return tuple(check for check in checks if check.level in levels)
