"""All checks, in the order in which they are shown."""

from collections.abc import Sequence
from importlib import import_module

from slurmkit.health.check import FULL, QUICK, Check

# One module each in slurmkit.health.checks, with a CHECK. Those that quick needs come first: a
# prolog imports no others.
_QUICK = (
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
)
_FULL = (
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
    return _load((*_QUICK, *_FULL))


def quick_checks() -> tuple[Check, ...]:
    """Return the checks that are quick where a site says nothing else."""
    return _load(_QUICK)


def _load(names: Sequence[str]) -> tuple[Check, ...]:
    return tuple(import_module(f"slurmkit.health.checks.{name}").CHECK for name in names)


def checks_of(level: str, checks: Sequence[Check] | None = None) -> tuple[Check, ...]:
    """Return the checks of a level: ``full`` holds those of ``quick``, too.

    Args:
        level: quick or full.
        checks: those to choose from, as a site has configured them; None for all as they are.
    """
    if checks is None:
        checks = quick_checks() if level == QUICK else all_checks()
    levels = (QUICK,) if level == QUICK else (QUICK, FULL)
    return tuple(check for check in checks if check.level in levels)
