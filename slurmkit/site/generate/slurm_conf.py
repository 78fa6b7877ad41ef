"""slurm.conf, and what is made beside it for Slurm itself. Pure."""

import re
from typing import TYPE_CHECKING

from slurmkit.site import elastic, health, switches, tiers
from slurmkit.site.generate import versions
from slurmkit.site.generate.files import File
from slurmkit.site.generate.lines import joined
from slurmkit.site.generate.release import Release
from slurmkit.site.generate.shape import Shape, node_lines, partition_lines
from slurmkit.site.generate.template import fill
from slurmkit.topology.export_gres import gres_lines
from slurmkit.units import parse_duration_s

if TYPE_CHECKING:
    from slurmkit.site.models import Site

ETC = "/etc/slurm"
_DAY_MIN = 1440
_OWN_LINES = "# -- the site's own lines (slurm.lines in site.yaml) ".ljust(100, "-")
_NO_CLUSTER = re.compile(r"[^a-z0-9_-]+")


def cluster_name(site: "Site") -> str:
    """Return ClusterName: what site.yaml says, else its name in the letters that Slurm allows."""
    return site.slurm.cluster or _NO_CLUSTER.sub("-", site.name.lower()).strip("-") or "cluster"


def slurm_files(site: "Site", release: Release, shapes: dict[str, Shape]) -> dict[str, File]:
    """Return the files in /etc/slurm that Slurm reads.

    Args:
        site: what the cluster is.
        release: whose form to write.
        shapes: the node types.
    """
    topology = switches.topology_files(site, release)
    cluster = cluster_name(site)
    text = fill(
        "slurm.conf",
        release,
        cluster=cluster,
        slurm=site.slurm,
        mpi_default=site.mpi if site.mpi in ("pmix", "pmi2") else "",
        has_gpus=any(shape.gpus for shape in shapes.values()),
        scheduler=scheduler_words(site, release),
        topology_file=next(iter(topology), ""),
        topology_lines=switches.slurm_conf_lines(site, release),
        health_lines=health.slurm_conf_lines(site, release),
        tier_lines=tiers.slurm_conf_lines(site, release),
        elastic_lines=elastic.slurm_conf_lines(site, release),
        node_lines=node_lines(site, shapes),
        partition_lines=partition_lines(site, shapes),
    )
    if site.slurm.lines:
        further = ["", _OWN_LINES, *site.slurm.lines]
        text = "\n".join(joined(text.splitlines(), further)) + "\n"
    common = {"cluster": cluster, "slurm": site.slurm}
    files = {
        "slurm.conf": File(text),
        "gres.conf": File(_gres(site, release, shapes)),
        "cgroup.conf": File(fill("cgroup.conf", release, **common)),
        "plugstack.conf": File(fill("plugstack.conf", release, **common)),
        **{name: File(content) for name, content in topology.items()},
    }
    if site.slurm.spank != "off":
        files["plugstack.conf.d/slurmkit.conf"] = File(
            fill(
                "plugstack-slurmkit.conf",
                release,
                kind=site.slurm.spank,
                mode=site.affinity.mode if site.affinity else "warn",
            )
        )
    if site.container_runtime == "pyxis":
        files["plugstack.conf.d/pyxis.conf"] = File(fill("plugstack-pyxis.conf", release))
    if site.slurm.database:
        # slurmdbd refuses a file that others may read.
        text = fill("slurmdbd.conf", release, **common)
        files["slurmdbd.conf"] = File(text, 0o600, site.slurm.user)
    return {f"{ETC}/{name}": file for name, file in files.items()}


def scheduler_words(site: "Site", release: Release) -> list[str]:
    """Return the words of SchedulerParameters; the site's own replace ours."""
    longest = [
        seconds // 60
        for partition in site.partitions.values()
        if partition.max_time is not None
        and (seconds := parse_duration_s(partition.max_time)) is not None
    ]
    words = {
        "bf_continue": "bf_continue",
        "bf_window": f"bf_window={max(longest, default=7 * _DAY_MIN)}",
        # Five minutes are exact enough for a plan of days, and cost a tenth of one minute.
        "bf_resolution": "bf_resolution=300",
    }
    words |= {word: word for word in health.SCHEDULER_WORDS}
    if versions.knows("slurm.conf", "SchedulerParameters", "requeue_delay", release):
        words["requeue_delay"] = f"requeue_delay={site.slurm.requeue_delay_s}"
    words |= {word.partition("=")[0]: word for word in site.slurm.scheduler}
    return list(words.values())


def _gres(site: "Site", release: Release, shapes: dict[str, Shape]) -> str:
    detection = site.slurm.gpu_detection
    if detection == "nvidia" and not versions.knows("gres.conf", "AutoDetect", "nvidia", release):
        detection = "nvml"
    lines = [
        line for shape in shapes.values() if shape.gpus for line in _gpu_lines(shape, detection)
    ]
    return fill("gres.conf", release, cluster=cluster_name(site), detection=detection, lines=lines)


def _gpu_lines(shape: Shape, detection: str) -> list[str]:
    kind = f" Type={shape.gpu_type}" if shape.gpu_type else ""
    if detection == "off":
        return [f"NodeName={shape.nodes} Name=gpu{kind} Count={shape.gpus}"]
    if shape.topology is not None and len(shape.topology.gpus) == shape.gpus:
        return gres_lines(shape.topology, shape.nodes, gpu_type=shape.gpu_type)
    last = shape.gpus - 1
    devices = f"/dev/nvidia[0-{last}]" if last else "/dev/nvidia0"
    return [f"NodeName={shape.nodes} Name=gpu{kind} File={devices}"]
