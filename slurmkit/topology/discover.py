"""Discover a node from sysfs and /proc: no program started, no library loaded.

Sources: Documentation/ABI/testing/sysfs-bus-pci, sysfs-class-infiniband, sysfs-devices-node and
Documentation/admin-guide/cputopology.rst of the kernel.
"""

import os

from slurmkit.topology.discover_cpus import read_cpus
from slurmkit.topology.discover_pci import read_devices
from slurmkit.topology.model import Topology
from slurmkit.topology.roles import assign_roles
from slurmkit.topology.sysfs import Tree


def discover(root: str = "/") -> Topology:
    """Return the node whose /sys and /proc lie under `root`.

    GPUs are numbered in PCI order, as CUDA does with CUDA_DEVICE_ORDER=PCI_BUS_ID. UUIDs come from
    the driver's /proc files; MIG devices and NVLink need `add_nvml`.
    """
    tree = Tree(root)
    cpus = read_cpus(tree)
    devices = read_devices(tree, cpus.numa)
    host = tree.read("proc/sys/kernel/hostname") or (os.uname().nodename if not tree.root else "")
    topology = Topology(
        host=host or "unknown",
        source="sysfs",
        cpus_online=cpus.online,
        smt=cpus.smt,
        numa=cpus.numa,
        gpus=devices.gpus,
        nics=devices.nics,
        bridges=devices.bridges,
        notes=(*cpus.notes, *devices.notes),
        unknown=devices.unknown,
    )
    return assign_roles(topology, devices.nvswitch_bridges)
