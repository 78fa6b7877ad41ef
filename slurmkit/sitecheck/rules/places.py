"""Who is the controller, where state is kept, and on which ports everybody listens."""

import re
from functools import partial

from slurmkit.sitecheck import registry
from slurmkit.sitecheck.config import Cluster, number
from slurmkit.sitecheck.registry import Problems, rule
from slurmkit.sitecheck.syntax import Pair

fault = partial(registry.fault, group="Controller, folders and ports")

MISSING = fault(
    "missing-keyword", "slurm.conf lacks what no daemon starts without.", "Add the line."
)
NAME = fault(
    "cluster-name",
    "ClusterName has characters or a length that slurmdbd and folders do not take.",
    "Use at most 40 small letters, digits, - and _.",
)
CONTROLLER = fault("controller-twice", "A host is named as controller twice.", "Keep one.")
STATE = fault(
    "state-on-tmp",
    "State is kept in a folder that a restart or a cleaner empties; all jobs are lost then.",
    "Set StateSaveLocation=/var/spool/slurmctld, or a folder that both controllers see.",
)
SHARED = fault(
    "state-and-spool",
    "slurmctld and slurmd keep their files in the same folder.",
    "Give each its own.",
    warning=True,
)
PORTS = fault("ports-collide", "Two daemons listen on the same port.", "Give each its own.")
PORT_RANGE = fault(
    "bad-port-range",
    "A range of ports cannot be read, or is the wrong way round.",
    "Write 60001-63000.",
)
SRUN_PORTS = fault(
    "srun-ports",
    "SrunPortRange holds the port of a daemon, or fewer ports than one large srun takes.",
    "Choose a range of its own, of a thousand ports.",
)

_TMP = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/var/run")  # noqa: S108 - looked for, not used
HOST = re.compile(r"\s*([^()\s]+)(\([^()]*\))?\s*")
_CLUSTER = re.compile(r"[A-Za-z0-9_-]{1,40}")


@rule
def identity(cluster: Cluster) -> Problems:
    """Whether cluster and controllers are named."""
    slurm = cluster.slurm
    if slurm.pair("ClusterName") is None:
        yield MISSING("slurm.conf has no ClusterName", cluster.start, key="ClusterName")
    elif not _CLUSTER.fullmatch(slurm.value("ClusterName")):
        pair = slurm.settings["clustername"][-1]
        yield NAME(f"ClusterName={pair.value}", pair.value_where, key="ClusterName")
    hosts = slurm.settings.get("slurmctldhost", [])
    if not hosts and slurm.pair("ControlMachine") is None:
        yield MISSING("slurm.conf has no SlurmctldHost", cluster.start, key="SlurmctldHost")
    seen: dict[str, Pair] = {}
    for pair in hosts:
        found = HOST.match(pair.value)
        name = found[1] if found else pair.value
        if name in seen:
            message = f"{name} stands at line {seen[name].where.line} already"
            yield CONTROLLER(message, pair.value_where, key="SlurmctldHost")
        seen[name] = pair


@rule
def folders(cluster: Cluster) -> Problems:
    """Whether state outlives a restart."""
    slurm = cluster.slurm
    for name in ("StateSaveLocation", "SlurmdSpoolDir"):
        pair = slurm.pair(name)
        if pair and _inside(pair.value, _TMP):
            yield STATE(f"{name}={pair.value}", pair.value_where, key=name)
    state, spool = slurm.pair("StateSaveLocation"), slurm.pair("SlurmdSpoolDir")
    if state is None:
        yield MISSING(
            "StateSaveLocation is /var/spool where nothing else is said",
            cluster.start,
            "Set StateSaveLocation=/var/spool/slurmctld.",
            "StateSaveLocation",
        )
    elif spool and spool.value.rstrip("/") == state.value.rstrip("/"):
        yield SHARED(f"both are {spool.value}", spool.value_where, key="SlurmdSpoolDir")


def _inside(path: str, folders_: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders_)


@rule
def ports(cluster: Cluster) -> Problems:
    """Whether each port has one listener."""
    slurm = cluster.slurm
    seen: dict[int, str] = {}
    for name, default in _ports(cluster).items():
        pair = slurm.pair(name)
        span = _span(pair.value if pair else default)
        if pair and span is None:
            yield PORT_RANGE(f"{name}={pair.value}", pair.value_where, key=name)
            continue
        first, last = span or (0, -1)
        for port in range(first, last + 1):
            if port in seen:
                place = pair or slurm.pair(seen[port])
                message = f"{name} and {seen[port]} are {port}"
                yield PORTS(message, place.value_where if place else cluster.start, key=name)
                break
            seen[port] = name
    pair = slurm.pair("SrunPortRange")
    if pair is None:
        return
    span = _span(pair.value)
    if span is None:
        yield PORT_RANGE(f"SrunPortRange={pair.value}", pair.value_where, key=pair.key)
        return
    inside = next((port for port in seen if span[0] <= port <= span[1]), None)
    if inside is not None:
        message = f"SrunPortRange={pair.value} holds {inside} of {seen[inside]}"
        yield SRUN_PORTS(message, pair.value_where, key=pair.key)
    elif span[1] - span[0] < 99:
        message = f"SrunPortRange={pair.value} has {span[1] - span[0] + 1} ports"
        yield SRUN_PORTS(message, pair.value_where, key=pair.key)


def _ports(cluster: Cluster) -> dict[str, str]:
    """Return the ports that daemons of one host may have, and what they are by default."""
    slurm, found = cluster.slurm, {"SlurmctldPort": "6817", "SlurmdPort": "6818"}
    beside = {"localhost", *(name for name, _ in controllers(cluster))}
    has_dbd = slurm.value("AccountingStorageType").endswith("slurmdbd")
    if has_dbd and slurm.value("AccountingStorageHost", "localhost") in beside:
        found["AccountingStoragePort"] = "6819"
    return found


def controllers(cluster: Cluster) -> list[tuple[str, str]]:
    """Return name and address of every controller; the address is empty where none is given."""
    slurm = cluster.slurm
    found = [HOST.match(pair.value) for pair in slurm.settings.get("slurmctldhost", [])]
    hosts = [(match[1], (match[2] or "").strip("()")) for match in found if match]
    machine = slurm.value("ControlMachine", "localhost"), slurm.value("ControlAddr")
    return hosts or [machine]


def _span(text: str) -> tuple[int, int] | None:
    """Return first and last port of ``6817`` or ``6817-6818``; None where it is neither."""
    first, dash, last = text.partition("-")
    start, end = number(first), number(last if dash else first)
    if start is None or end is None or not 1 <= start <= end <= 65535:
        return None
    return start, end
