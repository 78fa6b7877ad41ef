"""What a sandbox is made of: its size, hosts, addresses and files, as plain values."""

import ipaddress
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from slurmkit.errors import UsageError
from slurmkit.hostlist import compress

CONTROLLER = "ctl"
LOGIN = "login"
DATABASE = "dbd"
SERVICE_HOSTS = (CONTROLLER, LOGIN, DATABASE)
# The partition whose jobs push others aside, where there is one.
URGENT = "urgent"
MAX_NODES = 1000

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
# A /22 holds 1000 nodes and the service hosts; cut out of 10/8, far from Docker's 172.17/16.
_POOL = ipaddress.IPv4Network("10.96.0.0/12")
_PREFIX = 22
_FIRST_NODE = 16
_SERVICE_OFFSETS = {CONTROLLER: 2, LOGIN: 3, DATABASE: 4}


@dataclass(frozen=True)
class Size:
    """What the nodes claim to be; Slurm believes it, the machine need not have it.

    Attributes:
        nodes: number of compute nodes.
        gpus: GPUs per node; character devices that behave like /dev/null.
        cpus: cores per node.
        memory_mib: memory per node, MiB.
        gpu_type: GRES type of the GPUs; empty for untyped.
    """

    nodes: int = 4
    gpus: int = 8
    cpus: int = 64
    memory_mib: int = 512 * 1024
    gpu_type: str = "h100"

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= MAX_NODES:
            raise UsageError(f"--nodes {self.nodes}: a sandbox has 1 to {MAX_NODES} nodes")
        if not 0 <= self.gpus <= 64:
            raise UsageError(f"--gpus {self.gpus}: a node has 0 to 64 GPUs")
        if not 1 <= self.cpus <= 4096:
            raise UsageError(f"--cpus {self.cpus}: a node has 1 to 4096 cores")
        if self.memory_mib < 256:
            raise UsageError(f"--memory {self.memory_mib}: a node has at least 256 MiB")

    @property
    def sockets(self) -> int:
        """Two sockets wherever the cores divide evenly, as in a GPU node; else one."""
        return 2 if self.cpus % 2 == 0 else 1


@dataclass(frozen=True)
class Layout:
    """One sandbox: everything that its configuration files and scripts are rendered from.

    Attributes:
        state_dir: holds every file of the sandbox; ``down`` removes it.
        subnet: the sandbox's private network, known in its own network namespaces only.
        release: ``host``, or the Debian suite whose Slurm runs.
        root_dir: root file system of the release; None for the host's own.
        shared: folders that every host sees at the same path.
        slurmd_timeout_s: seconds after which a silent node is DOWN.
        slurm_conf: further lines of slurm.conf, verbatim.
        accounting: whether a host with slurmdbd and its database is among the hosts.
        profile: platform that the nodes look like; empty where they show the machine itself.
        scaled: whether the platform's cores are those of this machine.
        renumber: whether every second node numbers its HCAs the other way round.
        preempt_grace_s: seconds between TERM and KILL of a job that another one pushes aside; None
            where jobs do not, unless there are accounts and QOS.
        sshd: whether every host runs an sshd.
        site: name of the site whose files it has; empty for the sandbox's own few.
        node_names: names of the compute nodes; () for node1, node2 ...
    """

    name: str
    state_dir: Path
    subnet: ipaddress.IPv4Network
    size: Size = field(default_factory=Size)
    release: str = "host"
    root_dir: Path | None = None
    shared: tuple[Path, ...] = ()
    slurmd_timeout_s: int = 10
    slurm_conf: tuple[str, ...] = ()
    accounting: bool = False
    profile: str = ""
    scaled: bool = False
    renumber: bool = False
    preempt_grace_s: int | None = None
    sshd: bool = False
    site: str = ""
    node_names: tuple[str, ...] = ()

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the compute nodes."""
        return self.node_names or tuple(f"node{i}" for i in range(1, self.size.nodes + 1))

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of all hosts: controller, login host, database if there is one, nodes."""
        return (CONTROLLER, LOGIN, *([DATABASE] if self.accounting else []), *self.nodes)

    @property
    def node_range(self) -> str:
        """The compute nodes as a Slurm host list."""
        if self.node_names:
            return compress(self.node_names)
        return f"node[1-{self.size.nodes}]" if self.size.nodes > 1 else "node1"

    def number(self, node: str) -> int:
        """Return which of the compute nodes this is, counted from 1."""
        if self.node_names:
            return self.node_names.index(node) + 1
        return int(node.removeprefix("node"))

    def address(self, host: str) -> str:
        """Return the IPv4 address of a host."""
        offset = _SERVICE_OFFSETS.get(host)
        if offset is None:
            offset = _FIRST_NODE + self.number(host)
        return str(self.subnet[offset])

    @property
    def shared_dir(self) -> Path:
        """A folder that every host sees and everybody may write to: the parallel file system."""
        return self.state_dir / "shared"

    @property
    def slurm_conf_path(self) -> Path:
        """slurm.conf, at the same path on every host."""
        return self.state_dir / "etc" / "slurm" / "slurm.conf"

    @property
    def site_dir(self) -> Path:
        """The site's files outside /etc/slurm, as below the root of a host."""
        return self.state_dir / "site"

    @property
    def hardware_dir(self) -> Path:
        """What lies over /sys and /proc of the nodes, where they look like a platform."""
        return self.state_dir / "hardware"

    def hardware_of(self, node: str) -> Path:
        """Return the part of that folder which one node shows."""
        second = self.renumber and self.number(node) % 2 == 0
        return self.hardware_dir / ("renumbered" if second else "plain")

    @property
    def room_script(self) -> Path:
        """The script that process 1 of the sandbox runs."""
        return self.state_dir / "room.sh"

    @property
    def room_ready(self) -> Path:
        """Exists once network, devices and munged are there."""
        return self.state_dir / "room.ready"

    def host_dir(self, host: str) -> Path:
        """Return the folder with a host's script, console and spool."""
        return self.state_dir / "hosts" / host

    def host_script(self, host: str) -> Path:
        """Return the script that process 1 of a host runs."""
        return self.host_dir(host) / "init.sh"

    def host_ready(self, host: str) -> Path:
        """Return the file that exists once the host has booted."""
        return self.host_dir(host) / "ready"

    @property
    def disks_dir(self) -> Path:
        """What belongs to the disks that can be filled and slowed, a folder each."""
        return self.state_dir / "disks"

    @property
    def munge_dir(self) -> Path:
        """Key, socket and log of the sandbox's own munged."""
        return self.state_dir / "munge"

    @property
    def log_dir(self) -> Path:
        """Logs of slurmctld, of job completions and of the sandbox itself."""
        return self.state_dir / "log"


def check_name(name: str) -> str:
    """Return ``name`` if a sandbox can bear it.

    Raises:
        UsageError: it is no lower-case host-like name of at most 32 characters.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a sandbox",
            hint="use at most 32 lower-case letters, digits and dashes, such as 'demo' or 'ci-2'",
        )
    return name


def choose_subnet(name: str, taken: Iterable[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """Return a free network for a sandbox: always the same for a name while nobody else has it.

    Args:
        name: name of the sandbox; decides where the search starts.
        taken: networks in use on this machine and by other sandboxes.

    Raises:
        UsageError: every network of the pool is taken.
    """
    candidates = list(_POOL.subnets(new_prefix=_PREFIX))
    start = zlib.crc32(name.encode()) % len(candidates)
    used = list(taken)
    for candidate in candidates[start:] + candidates[:start]:
        if not any(candidate.overlaps(other) for other in used):
            return candidate
    raise UsageError(f"no free network left in {_POOL}; take other sandboxes down")
