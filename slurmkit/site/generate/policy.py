"""The rules that slurmctld and sbatch hold jobs to: the shipped Lua scripts, the site's policy."""

from typing import TYPE_CHECKING, Any

from slurmkit.resources import shipped_dir
from slurmkit.site.generate.files import File
from slurmkit.site.generate.release import Release
from slurmkit.site.generate.shape import Shape, kinds_of, partitions
from slurmkit.site.generate.slurm_conf import ETC, cluster_name
from slurmkit.site.generate.template import fill
from slurmkit.units import format_slurm_time, parse_duration_s

if TYPE_CHECKING:
    from slurmkit.site.models import Site, Tier

_SCRIPTS = ("slurmkit_rules.lua", "job_submit.lua", "cli_filter.lua")


def policy_files(site: "Site", release: Release, shapes: dict[str, Shape]) -> dict[str, File]:
    """Return the Lua scripts and their policy; none where the site wants none."""
    if not site.slurm.policy:
        return {}
    source = shipped_dir("plugins") / "lua"
    files = {f"{ETC}/{name}": File((source / name).read_text("utf-8")) for name in _SCRIPTS}
    text = fill(
        "slurmkit_policy.lua",
        release,
        cluster=cluster_name(site),
        tiers=_tiers(site),
        gpu_partitions=_gpu_partitions(site, shapes),
        has_default_times=_have_default_times(site, shapes),
        operators=[*site.roles.administrators, *site.roles.operators],
    )
    return {**files, f"{ETC}/slurmkit_policy.lua": File(text)}


def _tiers(site: "Site") -> list[dict[str, Any]]:
    """Return the tiers that a job can name: by QOS, or by a partition that only one tier has."""
    found: list[dict[str, Any]] = []
    for name, tier in site.tiers.items():
        settings = _settings(site, tier)
        taken = {one["settings"].get("partition") for one in found}
        if "qos" in settings or settings.get("partition") not in {None, *taken}:
            found.append({"name": name, "settings": settings})
    return found


def _settings(site: "Site", tier: "Tier") -> dict[str, Any]:
    """Return a tier as slurmkit_policy.lua has it; without slurmdbd there is no QOS to name."""
    found: dict[str, Any] = {}
    if site.slurm.database:
        found["qos"] = tier.qos
    if tier.partition is not None:
        found["partition"] = tier.partition
    partition = site.partitions.get(tier.partition or "")
    default_s, most_s = (
        None if value is None else parse_duration_s(value)
        for value in (
            (partition.default_time if partition else None) or site.default_time,
            tier.limits.max_time or (partition.max_time if partition else None),
        )
    )
    if default_s is not None:
        found["default_time"] = format_slurm_time(min(default_s, most_s or default_s))
    if most_s is not None:
        found["max_time"] = format_slurm_time(most_s)
    if tier.preemptible:
        # A job that may be pushed aside comes back by itself.
        found["requeue"] = True
    return found


def _have_default_times(site: "Site", shapes: dict[str, Shape]) -> bool:
    """Return whether Slurm gives each GPU job a time that names none."""
    return site.default_time is not None or all(
        partition.default_time is not None
        for name, partition in partitions(site).items()
        if any(kind.gpus for kind in kinds_of(name, partition, shapes))
    )


def _gpu_partitions(site: "Site", shapes: dict[str, Shape]) -> list[str]:
    return [
        name
        for name, partition in partitions(site).items()
        if all(kind.gpus for kind in kinds_of(name, partition, shapes))
    ]
