"""What hosts need around Slurm: units, limits, kernel settings, containers, modules. Pure."""

from typing import TYPE_CHECKING

from slurmkit.resources import shipped_dir
from slurmkit.site import elastic, fabric, health
from slurmkit.site.fabric import Setting
from slurmkit.site.generate.files import File
from slurmkit.site.generate.release import Release
from slurmkit.site.generate.shape import Shape
from slurmkit.site.generate.slurm_conf import cluster_name
from slurmkit.site.generate.template import fill
from slurmkit.topology.model import Topology
from slurmkit.topology.nccl_xml import to_nccl_xml

if TYPE_CHECKING:
    from slurmkit.site.models import Site

_DROP_IN = "/etc/systemd/system/{}.service.d/slurmkit.conf"
_NICS_UNKNOWN = 8


def host_files(site: "Site", release: Release, shapes: dict[str, Shape]) -> dict[str, File]:
    """Return the files outside /etc/slurm."""
    common = {"cluster": cluster_name(site), "slurm": site.slurm}
    found = {
        _DROP_IN.format("slurmd"): fill("slurmd.service", release, **common),
        _DROP_IN.format("slurmctld"): fill("slurmctld.service", release, **common),
        "/etc/security/limits.d/90-slurmkit.conf": fill("limits.conf", release),
        "/etc/logrotate.d/slurmkit": fill("logrotate", release, **common),
        **_kernel(site, release, shapes),
        **_containers(site, release),
        **_modules(site, release),
        **_nccl(shapes),
        health.CONFIG_PATH: health.health_json(site),
    }
    if any(shape.gpus for shape in shapes.values()):
        unit = "slurmkit-map.service"
        found[f"/etc/systemd/system/{unit}"] = _plugin("spank/node", unit)
    return {path: File(text) for path, text in found.items()}


def script_files(site: "Site", release: Release) -> dict[str, File]:
    """Return what runs before and after jobs and tasks."""
    found = {
        "/etc/slurm/task-prolog.sh": _task_prolog(site, release),
        "/etc/slurm/prolog.d/50-slurmkit.sh": _plugin("prolog", "slurmkit-prolog.sh"),
        "/etc/slurm/epilog.d/50-slurmkit.sh": _plugin("epilog", "slurmkit-epilog.sh"),
        health.PROGRAM_PATH: _plugin("health", "slurmkit-health.sh"),
    }
    if site.elastic is not None:
        for script in sorted((shipped_dir("plugins") / "elastic").glob("*.sh")):
            found[f"{elastic.PROGRAMS_DIR}/{script.name}"] = script.read_text("utf-8")
    return {path: File(text, 0o755) for path, text in found.items()}


def _task_prolog(site: "Site", release: Release) -> str:
    # What a node finds for itself, slurmkit exec sets; Slurm alone cannot.
    network = fabric.settings(site.fabric) if site.fabric else []
    settings = {
        setting.name: setting for setting in network if not setting.name.startswith("SLURMKIT_")
    }
    settings |= {
        name: Setting(name, value, "env in site.yaml", "site.yaml")
        for name, value in site.env.items()
    }
    cluster = cluster_name(site)
    return fill("task-prolog.sh", release, cluster=cluster, settings=list(settings.values()))


def _kernel(site: "Site", release: Release, shapes: dict[str, Shape]) -> dict[str, str]:
    if site.fabric is None:
        return {}
    known = [shape.topology for shape in shapes.values() if shape.topology is not None]
    nics = max((len(topology.nics) for topology in known), default=0) or _NICS_UNKNOWN
    hosts = sum(shape.num_nodes for shape in shapes.values())
    roce = fabric.expectation(site.fabric).roce
    text = fill("sysctl.conf", release, roce=roce, neighbours=hosts * nics)
    return {"/etc/sysctl.d/90-slurmkit.conf": text}


def _containers(site: "Site", release: Release) -> dict[str, str]:
    cache = (site.local_dir or "/tmp").replace("/$USER", "")  # noqa: S108 - the documented default
    cluster = cluster_name(site)
    if site.container_runtime == "pyxis":
        return {
            "/etc/enroot/enroot.conf": fill("enroot.conf", release, cluster=cluster, cache=cache),
            "/etc/enroot/environ.d/50-slurmkit-rdma.env": fill("enroot-rdma.env", release),
        }
    if site.container_runtime == "apptainer":
        bind = site.run_root if site.run_root.startswith("/") else "$HOME"
        top = "/".join(bind.split("/")[:2])
        text = fill("apptainer.sh", release, cache=cache, bind=top)
        return {"/etc/profile.d/slurmkit-apptainer.sh": text}
    return {}


def _modules(site: "Site", release: Release) -> dict[str, str]:
    if site.modules.system == "none" or site.modules.init is None:
        return {}
    text = fill("modules.sh", release, init=site.modules.init)
    return {"/etc/profile.d/slurmkit-modules.sh": text}


def _nccl(shapes: dict[str, Shape]) -> dict[str, str]:
    """Return each node type's layout in NCCL's form, for hosts that hide theirs."""
    return {
        f"/etc/slurmkit/nccl/{shape.name}.xml": to_nccl_xml(_placed(shape.topology))
        for shape in shapes.values()
        if shape.topology is not None
        and shape.topology.gpus
        and all(gpu.pci for gpu in shape.topology.gpus)
    }


def _placed(topology: Topology) -> Topology:
    """Return a node without the NICs whose place nobody knows: NCCL could not tell them apart."""
    return topology.replace(nics=tuple(nic for nic in topology.nics if nic.pci))


def _plugin(folder: str, name: str) -> str:
    return (shipped_dir("plugins") / folder / name).read_text("utf-8")
