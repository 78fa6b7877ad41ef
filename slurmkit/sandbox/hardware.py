"""What the nodes of a sandbox look like: a platform's GPUs, HCAs, NUMA nodes and cores in /sys.

The files are written once and lie over the machine's own /sys in the mount namespace of each node.
Nothing of it shows on the machine itself.
"""

import os
import shlex
from dataclasses import replace

from slurmkit.errors import UsageError
from slurmkit.sandbox.layout import Layout, Size
from slurmkit.topology.discover import discover
from slurmkit.topology.export_gres import gres_lines, gres_type
from slurmkit.topology.fake_sysfs import write_sysfs
from slurmkit.topology.model import Topology
from slurmkit.topology.profile import load_profile
from slurmkit.topology.scale import scale_to_cpus

# Folders of /sys that show the platform alone: what the machine has besides would shine through.
_REPLACED = (
    "devices/system/cpu",
    "devices/system/node",
    "bus/pci/devices",
    "class/infiniband",
)


def look(
    profile: str, *, scale: bool, renumber: bool, gpus: int | None, cpus: int | None
) -> Topology | None:
    """Return what the nodes of a sandbox shall look like; None for what the machine is.

    Args:
        profile: name of a platform's profile; empty for none.
        scale: give the node the cores that this machine has, so that ranks can be bound to them.
        renumber: whether nodes shall differ in the numbers of their HCAs.
        gpus: GPUs of a scaled node; None for one per core, and no more than the platform has.
        cpus: must be None with a profile.

    Raises:
        UsageError: there is no such profile, or it cannot be had in that size.
    """
    if not profile:
        for option, given in (("--scale", scale), ("--renumber", renumber)):
            if given:
                raise UsageError(f"{option} needs a --profile", hint="such as --profile dgx-h100")
        return None
    if cpus is not None:
        raise UsageError(
            f"--cpus {cpus}: the cores come from the profile {profile}",
            hint="leave --cpus out; --scale takes this machine's cores",
        )
    return _node_like(profile, scale=scale, num_gpus=gpus)


def size(
    node: Topology | None,
    common: Size,
    gpus: int | None,
    cpus: int | None,
    gpu_type: str | None,
) -> Size:
    """Return what the nodes claim to Slurm: what was asked for, else what they show."""
    if node is None:
        return replace(
            common,
            gpus=Size.gpus if gpus is None else gpus,
            cpus=Size.cpus if cpus is None else cpus,
            gpu_type=Size.gpu_type if gpu_type is None else gpu_type,
        )
    return replace(
        common,
        gpus=len(node.gpus),
        cpus=_num_cores(node),
        gpu_type=_gpu_type(node) if gpu_type is None else gpu_type,
    )


def _node_like(profile: str, *, scale: bool, num_gpus: int | None) -> Topology:
    platform = load_profile(profile)
    if not scale:
        if num_gpus not in (None, len(platform.gpus)):
            raise UsageError(
                f"--gpus {num_gpus}: a {profile} has {len(platform.gpus)} GPUs",
                hint="--scale makes a smaller node of it",
            )
        return platform
    machine = _allowed_part(discover())
    if num_gpus is None:
        num_nodes = len({gpu.numa for gpu in platform.gpus}) or 1
        num_gpus = min(len(platform.gpus), len(machine.smt) // num_nodes * num_nodes)
    return scale_to_cpus(platform, machine, num_gpus)


def _allowed_part(machine: Topology) -> Topology:
    """Return a machine without the CPUs that this process, and so the sandbox, may not use."""
    allowed = machine.cpus_online & os.sched_getaffinity(0)
    cores = machine.smt or tuple((cpu,) for cpu in sorted(machine.cpus_online))
    kept = (tuple(cpu for cpu in core if cpu in allowed) for core in cores)
    return machine.replace(cpus_online=allowed, smt=tuple(core for core in kept if core))


def _gpu_type(node: Topology) -> str:
    """Return the GRES type of a node's GPUs; empty where it is not known."""
    return gres_type(node.gpus[0]) if node.gpus else ""


def _num_cores(node: Topology) -> int:
    """Return the cores of a node; two threads of one count once."""
    return len(node.smt) or len(node.cpus_online)


def gres_conf(layout: Layout, node: Topology) -> str:
    """Return gres.conf with the GPUs as the node has them: which device file is near which cores.

    Types are the sandbox's, in case that somebody has named another one.
    """
    lines = gres_lines(node, layout.node_range, gpu_type=layout.size.gpu_type)
    return "\n".join(["AutoDetect=off", *lines]) + "\n"


def write_files(layout: Layout, node: Topology) -> None:
    """Write the files that :func:`mount_lines` shows on every node."""
    for folder in {layout.hardware_of(name) for name in layout.nodes}:
        folder.mkdir(parents=True)
        write_sysfs(_renumbered(node) if folder.name == "renumbered" else node, folder)
        for name in _REPLACED:
            (folder / "sys" / name).mkdir(parents=True, exist_ok=True)


def _renumbered(node: Topology) -> Topology:
    """Return the node with the names of its HCAs in reverse order, each at the same place."""
    names = reversed([nic.name for nic in node.nics])
    nics = zip(node.nics, names, strict=True)
    return node.replace(nics=tuple(nic.replace(name=name) for nic, name in nics))


def mount_lines(layout: Layout, host: str) -> list[str]:
    """Return the lines of a node's script that put the platform's files over /sys and /proc."""
    folder = shlex.quote(str(layout.hardware_of(host)))
    return [
        f"\n# This node looks like a {layout.profile}.\n",
        f"hardware={folder}\n",
        "# An overlay shows no mounts of what lies below it: cgroups are carried over.\n",
        "mkdir /run/cgroup\n",
        "mount --rbind /sys/fs/cgroup /run/cgroup\n",
        '(cd "$hardware" && mount -t overlay overlay -o lowerdir=sys:/sys /sys)\n',
        "mount --rbind /run/cgroup /sys/fs/cgroup\n",
        "umount -l /run/cgroup\nrmdir /run/cgroup\n",
        *(f'mount --bind "$hardware/sys/{name}" "/sys/{name}"\n' for name in _REPLACED),
        'if [ -d "$hardware/proc/driver" ]; then\n',
        '  mount --bind "$hardware/proc/driver" /proc/driver\nfi\n',
        "\n",
    ]
