"""A site as one machine can have it: fewer, smaller nodes, private paths, all else as it is."""

from pathlib import Path

from slurmkit.hostlist import compress, expand
from slurmkit.sandbox import elastic
from slurmkit.sandbox.layout import CONTROLLER, DATABASE, Layout, Size
from slurmkit.sandbox.programs import has_plugin
from slurmkit.site.elastic import Elastic
from slurmkit.site.fabric import Fabric
from slurmkit.site.generate import Release
from slurmkit.site.generate.lines import joined
from slurmkit.site.models import Modules, NodeType, Partition, Site
from slurmkit.site.tiers import Account

#: The only user that a sandbox is sure to have.
USER = "root"


def scaled(site: Site, layout: Layout, release: Release) -> Site:
    """Return the site as this machine can have it."""
    kept = set(layout.nodes)
    kinds = {name: _node_type(kind, layout.size, kept) for name, kind in site.node_types.items()}
    partitions = {
        name: partition.model_copy(update={"nodes": _partition_nodes(site, partition, layout)})
        for name, partition in site.partitions.items()
    }
    changes = {
        "accounts": _accounts(site),
        "node_types": kinds,
        "partitions": partitions,
        "switches": _switches(site, kept),
        "elastic": _elastic(site, layout, kept),
        # There are no HCAs behind the ones that /sys shows.
        "fabric": Fabric(preset="ethernet") if site.fabric else None,
        "modules": _modules(site, layout),
        "mpi": site.mpi if _has_mpi(layout, site.mpi) else "auto",
        "run_root": f"{layout.shared_dir}/runs/$USER",
        "local_dir": None,
        "slurm": _slurm(site, layout, release),
    }
    return site.model_copy(update=changes)


def _node_type(kind: NodeType, size: Size, kept: set[str]) -> NodeType:
    if kind.nodes is None:
        return kind  # of no use to Slurm, but other sections may name it
    return kind.model_copy(
        update={
            "nodes": _kept(kind.nodes, kept),
            "topology": None,
            "sockets": size.sockets,
            "cores": size.cpus // size.sockets,
            "threads": 1,
            "cpus": None,
            "gpus": min(kind.gpus, size.gpus),
            "gpu_type": size.gpu_type if kind.gpus else "",
        }
    )


def _slurm(site: Site, layout: Layout, release: Release) -> object:
    socket = layout.munge_dir / "socket"
    lines = [
        "# Nodes claim cores and memory that this machine may lack.",
        "SlurmdParameters=config_overrides",
        f"AuthInfo=socket={socket}",
        f"SlurmdLogFile={layout.log_dir}/slurmd-%n.log",
        "MailProg=/bin/true",
    ]
    if layout.accounting:
        lines.append(f"AccountingStoragePass={socket}")
    return site.slurm.model_copy(
        update={
            "version": str(release),
            "cluster": layout.name,
            "controllers": [f"{CONTROLLER}({layout.address(CONTROLLER)})"],
            "database": DATABASE if layout.accounting else None,
            "user": "root",
            "state_dir": str(layout.state_dir / "ctl-state"),
            "spool_dir": f"{layout.state_dir}/hosts/%n/spool",
            "log_dir": str(layout.log_dir),
            "gpu_detection": "profile",
            "confine": False,
            "lines": joined(joined(site.slurm.lines, lines), layout.slurm_conf),
        }
    )


def _accounts(site: Site) -> dict[str, Account]:
    """Return the accounts with root, who is the only user that a sandbox is sure to have."""
    return {
        name: account.model_copy(update={"users": list(dict.fromkeys([*account.users, USER]))})
        for name, account in site.accounts.items()
    }


def _elastic(site: Site, layout: Layout, kept: set[str]) -> Elastic | None:
    """Return the site's power saving with a driver that stops and starts the sandbox's nodes.

    The nodes are there at first: a sandbox is ready when all of its nodes are.
    """
    nodes = _kept(site.elastic.nodes, kept) if site.elastic else None
    if site.elastic is None or not nodes:
        return None
    return site.elastic.model_copy(
        update={
            "nodes": nodes,
            "driver": str(elastic.program(layout)),
            "present": True,
            "keep": min(site.elastic.keep, len(expand(nodes)) - 1),
            "log": str(layout.log_dir / "elastic-actions.log"),
        }
    )


def _kept(nodes: str | None, kept: set[str]) -> str | None:
    return compress(host for host in expand(nodes) if host in kept) if nodes else None


def _partition_nodes(site: Site, partition: Partition, layout: Layout) -> str | None:
    """Return a partition's nodes; one whose nodes are all left out gets the last of its type."""
    if partition.nodes is None:
        return None
    kind = site.node_types.get(partition.node_type or "")
    own = expand(kind.nodes) if kind and kind.nodes else list(layout.nodes)
    there = [host for host in expand(partition.nodes) if host in layout.nodes]
    return compress(there or [host for host in layout.nodes if host in own][-1:])


def _switches(site: Site, kept: set[str]) -> object:
    switches = site.switches
    if switches is None:
        return None
    leaves = {
        name: leaf.model_copy(update={"nodes": nodes})
        for name, leaf in switches.leaves.items()
        if (nodes := _kept(leaf.nodes, kept))
    }
    blocks = {
        name: nodes for name, hosts in switches.blocks.items() if (nodes := _kept(hosts, kept))
    }
    return switches.model_copy(update={"leaves": leaves, "blocks": blocks, "block_sizes": []})


def _modules(site: Site, layout: Layout) -> Modules:
    init = site.modules.init
    root = layout.root_dir or Path("/")
    there = init is not None and (root / init.lstrip("/")).is_file()
    return site.modules if there else Modules(system="none")


def _has_mpi(layout: Layout, mpi: str) -> bool:
    return mpi in ("auto", "none") or has_plugin(layout.root_dir, f"mpi_{mpi}*.so")
