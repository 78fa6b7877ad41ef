"""A site's own configuration in a sandbox: fewer, smaller nodes, private paths, the rest as it is.

What must differ on one machine is changed in the site, not in its files: they are generated anew
from it, so that the sandbox reads what the same templates make. Each change is told.
"""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmkit.errors import UsageError
from slurmkit.hostlist import expand
from slurmkit.sandbox.layout import SERVICE_HOSTS, Layout
from slurmkit.sandbox.programs import has_plugin
from slurmkit.sandbox.site_changes import Change, changes
from slurmkit.sandbox.site_scaled import USER, scaled
from slurmkit.site.elastic import PROGRAMS_DIR
from slurmkit.site.folders import find_folder, release_of
from slurmkit.site.generate import File, Release, generate
from slurmkit.site.lookup import FILE_NAME, SYSTEM_PATH, read_site
from slurmkit.site.models import NodeType, Site
from slurmkit.topology.profile import profile_names
from slurmkit.units import parse_size_mib
from slurmkit.yamlfile.writer import dump

# An interface name has 15 letters, two of which say that it is a cable (net/if.h).
_LONGEST_NAME = 13
_NODE_ENV = "/etc/slurmkit/node.env"


@dataclass(frozen=True)
class Trial:
    """A site that a sandbox shall have.

    Attributes:
        site: as people wrote it.
        nodes: the hosts of it that there will be.
    """

    site: Site
    nodes: tuple[str, ...]

    @property
    def kind(self) -> NodeType:
        """What the nodes of a sandbox, which are alike, are made like: the type with most GPUs."""
        kinds = [kind for kind in self.site.node_types.values() if kind.nodes]
        return max(kinds, key=lambda kind: kind.gpus)

    @property
    def profile(self) -> str:
        """What the nodes look like; empty where the site names no profile."""
        profile = self.kind.topology or ""
        return profile if profile in profile_names() else ""

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
        here = scaled(self.site, layout, release)
        files = {
            path: file
            for path, file in generate(here, release).items()
            if not _needs_absent_plugin(path, file.text, layout)
        }
        found = list(changes(generate(self.site, release), files))
        declared = release_of(self.site.slurm.version).major
        if self.site.accounts:
            found.insert(0, Change("site.yaml", "accounts: users", "its own", f"and {USER}"))
        if declared != release:
            found.insert(0, Change("all files", "release", str(declared), str(release)))
        text = dump(here.model_dump(mode="json", exclude_defaults=True))
        files[_NODE_ENV] = File(_node_env(layout))
        if here.elastic is not None:
            files[f"{PROGRAMS_DIR}/settings"] = File(_elastic_settings(layout))
        head = f"# {self.site.name}, as sandbox {layout.name} has it.\n"
        files[str(SYSTEM_PATH)] = File(head + text)
        return files, found


def read_trial(site: str, num_nodes: int) -> Trial:
    """Return what a sandbox shall have of a site.

    Args:
        site: site folder, or the name of a shipped site.
        num_nodes: hosts per node type, spread evenly over its own.

    Raises:
        UsageError: there is no such site, or it names no nodes that a sandbox can have.
    """
    if num_nodes < 1:
        raise UsageError(f"--nodes {num_nodes}: a sandbox has at least one node of each type")
    folder = find_folder(site)
    found = read_site(folder / FILE_NAME, "--site").site
    nodes = tuple(
        host
        for kind in found.node_types.values()
        if kind.nodes
        for host in spread(expand(kind.nodes), num_nodes)
    )
    if not nodes:
        raise UsageError(f"{folder / FILE_NAME} names no nodes", hint="Say node_types.NAME.nodes.")
    if long := [host for host in nodes if len(host) > _LONGEST_NAME]:
        raise UsageError(
            f"{long[0]}: a sandbox gives host names of at most {_LONGEST_NAME} letters"
        )
    if taken := [host for host in nodes if host in SERVICE_HOSTS]:
        raise UsageError(f"{taken[0]}: a sandbox has a host of that name besides its nodes")
    return Trial(found, nodes)


def spread(hosts: Sequence[str], count: int) -> list[str]:
    """Return some of the hosts, evenly spread, so that each switch and partition keeps a few."""
    if count >= len(hosts):
        return list(hosts)
    if count == 1:
        return [hosts[0]]
    return [hosts[i * (len(hosts) - 1) // (count - 1)] for i in range(count)]


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
    return not all(
        has_plugin(layout.root_dir, words[1])
        for line in text.splitlines()
        if len(words := line.split()) > 1 and words[0] in ("optional", "required")
    )
