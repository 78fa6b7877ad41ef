"""Proof that the SPANK plugin ran in this task; a plugin that a node lacks cannot report itself."""

import os

from slurmkit.launch.placement import wrong

REQUIRED = "SLURMKIT_REQUIRE_SPANK"
TOKEN = "SLURMKIT_SPANK"  # noqa: S105 (the name of a variable)


def require_plugin(env: dict[str, str]) -> None:
    """Raise a UsageError where the affinity plugin had to run in this task and did not.

    The plugin's token ends in job, step and rank: one that was inherited from a task on another
    node proves nothing.
    """
    if env.get(REQUIRED, "0") in ("", "0"):
        return
    if _note(env) is not None:
        return
    host = env.get("SLURMD_NODENAME") or os.uname().nodename
    raise wrong(
        f"{host}: the SPANK plugin spank_slurmkit_affinity.so did not run, and {REQUIRED} is set",
        "install it on that node; `slurmkit plugins check` says there what is missing",
    )


def bound_by_plugin(env: dict[str, str]) -> bool:
    """Whether the affinity plugin has put this very task next to its GPU: its mask is a border."""
    return _note(env) == "bound"


def _note(env: dict[str, str]) -> str | None:
    """Return what the plugin's token says behind this task's place; None when it is not there."""
    names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_PROCID")
    place = ".".join(env.get(name, "?") for name in names)
    token, _, note = env.get(TOKEN, "").partition(" ")
    return note if token.endswith(f"@{place}") else None
