"""The switches of a cluster: read from what fabric tools print, and told to Slurm.

`graph` is the value that everything yields; `load` reads files of any known form; `hierarchy` finds
the groups of nodes that are near each other; `slurm` writes topology.conf or topology.yaml of it.
Pure: nothing here asks a fabric or a cluster.
"""

from slurmkit.topology.fabric.audit import Audit, audit
from slurmkit.topology.fabric.graph import Attachment, Cable, SwitchGraph
from slurmkit.topology.fabric.hierarchy import Hierarchy, Unit, hierarchy
from slurmkit.topology.fabric.slurm import slurm_topology, topology_plugin

__all__ = [
    "Attachment",
    "Audit",
    "Cable",
    "Hierarchy",
    "SwitchGraph",
    "Unit",
    "audit",
    "hierarchy",
    "slurm_topology",
    "topology_plugin",
]
