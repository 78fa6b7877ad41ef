"""A site's own configuration in a sandbox: fewer, smaller nodes, private paths, the rest as it is.

What must differ on one machine is changed in the site, not in its files: they are generated anew
from it, so that the sandbox reads what the same templates make. Each change is told.
"""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmkit.errors import UsageError
from slurmkit.hostlist import compress, expand
from slurmkit.sandbox import elastic
from slurmkit.sandbox.layout import CONTROLLER, DATABASE, Layout
from slurmkit.site.elastic import PROGRAMS_DIR, Elastic
from slurmkit.site.fabric import Fabric
from slurmkit.site.folders import find_folder, release_of
from slurmkit.site.generate import File, Release, generate
from slurmkit.site.generate.slurm_conf import key_of
from slurmkit.site.lookup import FILE_NAME, SYSTEM_PATH, read_site
from slurmkit.site.models import Modules, NodeType, Partition, Site
from slurmkit.site.tiers import Account
from slurmkit.topology.profile import profile_names
from slurmkit.units import parse_size_mib
from slurmkit.yamlfile.writer import dump

# An interface name has 15 letters, two of which say that it is a cable (net/if.h).
_LONGEST_NAME = 13
_USER = "root"
_NODE_ENV = "/etc/slurmkit/node.env"


@dataclass(frozen=True)
class Change:
    """What differs from the site's own files.

    Attributes:
        file: name of the file.
        what: the keyword, or the file's first word on it.
        site: what the site has; empty for nothing.
        sandbox: what the sandbox has; empty for nothing.
    """

    file: str
    what: str
    site: str
    sandbox: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}: {self.site or '-'} -> {self.sandbox or '-'}"


@dataclass(frozen=True)
class Trial:
    """A site that a sandbox shall have.

    Attributes:
        folder: its folder.
        site: as people wrote it.
        nodes: the hosts of it that there will be.
        profile: what the nodes look like; empty where the site names no profile.
    """

    folder: Path
    site: Site
    nodes: tuple[str, ...]
    profile: str

    @property
    def kind(self) -> NodeType:
        """What the nodes are: the type of the first of them."""
        return next(
            kind
            for kind in self.site.node_types.values()
            if kind.nodes and self.nodes[0] in expand(kind.nodes)
        )

    @property
    def memory_mib(self) -> int:
        """Memory that each node claims to have."""
        return parse_size_mib(self.kind.memory or "512G")

    @property
    def num_cores(self) -> int:
        """Cores that each node claims to have, where it shows no platform."""
        kind = self.kind
        return (kind.sockets or 1) * kind.cores if kind.cores else kind.cpus or 1

    @property
    def has_database(self) -> bool:
        """Whether the site has accounts, QOS and limits."""
        return self.site.slurm.database is not None

    @property
    def is_elastic(self) -> bool:
        """Whether some of the nodes are stopped when idle."""
        elastic_nodes = expand(self.site.elastic.nodes) if self.site.elastic else []
        return any(host in elastic_nodes for host in self.nodes)

    def files(
        self, layout: Layout, version: tuple[int, int]
    ) -> tuple[dict[str, File], list[Change]]:
        """Return the sandbox's files by absolute path, and what differs from the site's own.

        Args:
            layout: the sandbox.
            version: release of the Slurm that runs, such as (22, 5).
        """
        release = Release(*version)
        here = scaled(self, layout, release)
        files = {
            path: file
            for path, file in generate(here, release).items()
            if not _needs_absent_plugin(path, file.text, layout)
        }
        changes = list(_changes(generate(self.site, release), files))
        declared = release_of(self.site.slurm.version).major
        if self.site.accounts:
            changes.insert(0, Change("site.yaml", "accounts: users", "its own", f"and {_USER}"))
        if declared != release:
            changes.insert(0, Change("all files", "release", str(declared), str(release)))
        text = dump(here.model_dump(mode="json", exclude_defaults=True))
        files[_NODE_ENV] = File(_node_env(layout))
        if here.elastic is not None:
            files[f"{PROGRAMS_DIR}/settings"] = File(_elastic_settings(layout))
        head = f"# {self.site.name}, as sandbox {layout.name} has it.\n"
        files[str(SYSTEM_PATH)] = File(head + text)
        return files, changes


def read_trial(site: str, num_nodes: int | None) -> Trial:
    """Return what a sandbox shall have of a site.

    Args:
        site: site folder, or the name of a shipped site.
        num_nodes: hosts per node type, spread evenly over its own; None for four, or fewer.

    Raises:
        UsageError: there is no such site, or it names no nodes that a sandbox can have.
    """
    folder = find_folder(site)
    found = read_site(folder / FILE_NAME, "--site").site
    nodes = tuple(
        host
        for kind in found.node_types.values()
        if kind.nodes
        for host in spread(expand(kind.nodes), num_nodes or 4)
    )
    if not nodes:
        raise UsageError(f"{folder / FILE_NAME} names no nodes", hint="Say node_types.NAME.nodes.")
    if long := [host for host in nodes if len(host) > _LONGEST_NAME]:
        raise UsageError(
            f"{long[0]}: a sandbox gives host names of at most {_LONGEST_NAME} letters"
        )
    trial = Trial(folder, found, nodes, "")
    profile = trial.kind.topology or ""
    return Trial(folder, found, nodes, profile if profile in profile_names() else "")


def spread(hosts: Sequence[str], count: int) -> list[str]:
    """Return some of the hosts, evenly spread, so that each switch and partition keeps a few."""
    if count >= len(hosts):
        return list(hosts)
    if count == 1:
        return [hosts[0]]
    return [hosts[i * (len(hosts) - 1) // (count - 1)] for i in range(count)]


def scaled(trial: Trial, layout: Layout, release: Release) -> Site:
    """Return the site as this machine can have it."""
    site, size = trial.site, layout.size
    kept = set(trial.nodes)
    kinds = {
        name: kind.model_copy(
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
        for name, kind in site.node_types.items()
        if kind.nodes
    }
    partitions = {
        name: partition.model_copy(update={"nodes": _partition_nodes(partition, trial)})
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
            "lines": [*site.slurm.lines, *lines, *layout.slurm_conf],
        }
    )


def _accounts(site: Site) -> dict[str, Account]:
    """Return the accounts with root, who is the only user that a sandbox is sure to have."""
    return {
        name: account.model_copy(update={"users": [*account.users, _USER]})
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


def _partition_nodes(partition: Partition, trial: Trial) -> str | None:
    """Return a partition's nodes; one whose nodes are all left out gets the last of its type."""
    if partition.nodes is None:
        return None
    kind = trial.site.node_types.get(partition.node_type or "")
    own = expand(kind.nodes) if kind and kind.nodes else list(trial.nodes)
    there = [host for host in expand(partition.nodes) if host in trial.nodes]
    return compress(there or [host for host in trial.nodes if host in own][-1:])


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
    root = layout.root_dir or Path("/")
    return mpi in ("auto", "none") or any(root.glob(f"usr/lib/*/slurm*/mpi_{mpi}*.so"))


def _node_env(layout: Layout) -> str:
    """Return where prolog and health check find slurmkit and this cluster."""
    program = Path(sys.executable).with_name("slurmkit")
    return (
        f"SLURMKIT_PROGRAM={shlex.quote(str(program))}\n"
        f"export SLURM_CONF={shlex.quote(str(layout.slurm_conf_path))}\n"
    )


def _elastic_settings(layout: Layout) -> str:
    """Return where the programs of power saving find slurmkit, and where they write."""
    program = Path(sys.executable).with_name("slurmkit")
    log = layout.log_dir / "elastic-programs.log"
    return f"SLURMKIT={shlex.quote(str(program))}\nELASTIC_LOG={shlex.quote(str(log))}\n"


def _needs_absent_plugin(path: str, text: str, layout: Layout) -> bool:
    """Return whether a file in plugstack.conf.d loads what this Slurm does not have.

    Every srun would complain about it, three lines each (22.05).
    """
    if "/plugstack.conf.d/" not in path:
        return False
    root = layout.root_dir or Path("/")
    return not all(
        any(root.glob(f"usr/lib/*/slurm*/{words[1]}"))
        for line in text.splitlines()
        if len(words := line.split()) > 1 and words[0] in ("optional", "required")
    )


def _changes(own: Mapping[str, File], here: Mapping[str, File]) -> Iterator[Change]:
    for path in sorted({*own, *here}):
        before, after = own.get(path), here.get(path)
        name = path.removeprefix("/etc/slurm/")
        if before is None or after is None:
            yield Change(name, "the file", "there" if before else "", "there" if after else "")
        elif name.endswith("slurm.conf"):
            yield from _by_key(name, before.text, after.text)
        elif _told(before.text) != _told(after.text):
            yield Change(name, "its lines", "the site's", "as these values make them")


def _told(text: str) -> list[str]:
    """Return the lines that are no comments."""
    return [line for line in text.splitlines() if not line.startswith(("#", "--"))]


def _by_key(file: str, before: str, after: str) -> Iterator[Change]:
    old, new = _keys(before), _keys(after)
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            yield Change(file, key, "; ".join(old.get(key, [])), "; ".join(new.get(key, [])))


def _keys(text: str) -> dict[str, list[str]]:
    """Return the values of each keyword, and of a node's or partition's line each word."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key = key_of(line)
        if not key:
            continue
        name, _, value = line.partition("=")
        if key in ("nodename", "partitionname"):
            for word in line.split()[1:]:
                inner, _, inner_value = word.partition("=")
                found.setdefault(f"{name}: {inner}", []).append(inner_value)
        found.setdefault(name, []).append(value.split()[0] if value.split() else "")
    return found
