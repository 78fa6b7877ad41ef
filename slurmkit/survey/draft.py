"""Writes site.yaml of a survey: what Slurm says is copied, and every guess is marked. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from slurmkit.hostlist import compress
from slurmkit.record import Record
from slurmkit.site.switches import section_of
from slurmkit.slurm import normalise
from slurmkit.slurm.inventory import DeclaredPartition, Inventory
from slurmkit.survey.compare import Mismatch
from slurmkit.survey.facts import compute_nics
from slurmkit.survey.kinds import Kind
from slurmkit.topology.fabric.graph import SwitchGraph
from slurmkit.topology.fabric.hierarchy import hierarchy
from slurmkit.topology.model import Topology
from slurmkit.units import format_size_mib
from slurmkit.yamlfile.writer import dump

_NO_TIME = ("", "UNLIMITED", "NONE", "INFINITE", "INVALID", "N/A")
# Rates of a port in Gb/s from which a preset of slurmkit.site.fabric is the nearest one.
_ROCE_800 = 600.0


class Value(Record):
    """A value of site.yaml and where it is from; ``guess`` tells that nobody said so."""

    value: object
    why: str
    guess: bool = True


class Findings(Record):
    """All that a draft is made of.

    Attributes:
        fabric: the switches; empty when nobody told of them.
        unseen: what could not be seen, one sentence each.
    """

    inventory: Inventory
    kinds: tuple[Kind, ...]
    mismatches: tuple[Mismatch, ...] = ()
    unseen: tuple[str, ...] = ()
    fabric: SwitchGraph = SwitchGraph()


_Tree = Mapping[str, object]


def draft(findings: Findings) -> str:
    """Return the text of site.yaml."""
    name = findings.inventory.config.get("ClusterName") or "cluster"
    head = [
        f"# {name}, as slurmkit site init found it.",
        "# Each '# guessed:' is a guess, with its reason: read them, correct what is wrong, and",
        "# delete the words. '# from' names what said so. slurmkit site check tries it out.",
    ]
    if findings.unseen:
        head += ["#", "# What could not be seen:"]
        head += [f"# - {words}" for words in findings.unseen]
    if findings.mismatches:
        head += ["#", "# What is declared, and is not so:"]
        head += [f"# - {item}" for item in findings.mismatches]
    return (
        "\n".join(map(_one_line, head))
        + "\n\n"
        + "".join(f"{line}\n" for line in _lines(tree(findings)))
    )


def tree(findings: Findings) -> dict[str, object]:
    """Return site.yaml as nested mappings whose leaves are `Value`."""
    inventory = findings.inventory
    config = inventory.config
    found: dict[str, object] = {}
    if "ClusterName" in config:
        found["name"] = Value(config["ClusterName"], "ClusterName in slurm.conf", guess=False)
    found["slurm"] = _slurm(findings)
    found["node_types"] = {kind.name: _node_type(kind, config) for kind in findings.kinds}
    found["partitions"] = {
        # One that names no nodes would have all of them.
        one.name: _partition(one, findings.kinds)
        for one in inventory.partitions
        if one.nodes
    }
    found["tiers"] = _tiers(inventory)
    found["fabric"] = _fabric(findings.kinds)
    rails = hierarchy(findings.fabric).rails if findings.fabric.attachments else 1
    if rails > 1:
        why = f"most nodes have cables to {rails} leaf switches"
        found["affinity"] = {"wiring": Value("rails", why)}
    plugin = config.get("MpiDefault", "").partition("_v")[0]
    if plugin in ("pmix", "pmi2"):
        found["mpi"] = Value(plugin, "MpiDefault in slurm.conf", guess=False)
    if findings.fabric.attachments or findings.fabric.blocks:
        found["switches"] = Value(section_of(findings.fabric), "the files about switches", False)
    return {key: value for key, value in found.items() if value not in ({}, None)}


def _slurm(findings: Findings) -> _Tree:
    inventory = findings.inventory
    config = inventory.config
    found: dict[str, object] = {}

    def copy(key: str, value: object, source: str) -> None:
        if value:
            found[key] = Value(value, f"{source} in slurm.conf", guess=False)

    release = ".".join(inventory.release.split(".")[:2])
    if release:
        found["version"] = Value(release, f"slurmctld, which is {inventory.release}", guess=False)
    copy("controllers", list(inventory.controllers), "SlurmctldHost")
    if "slurmdbd" in config.get("AccountingStorageType", ""):
        copy("database", config.get("AccountingStorageHost"), "AccountingStorageHost")
    copy("user", config.get("SlurmUser", "").partition("(")[0], "SlurmUser")
    copy("state_dir", config.get("StateSaveLocation"), "StateSaveLocation")
    copy("spool_dir", config.get("SlurmdSpoolDir"), "SlurmdSpoolDir")
    log = config.get("SlurmctldLogFile", "")
    copy("log_dir", log.rpartition("/")[0] if log.startswith("/") else "", "SlurmctldLogFile")
    timeout = config.get("SlurmdTimeout", "").split(" ")[0]
    if timeout.isdigit() and int(timeout) >= 10:
        copy("node_timeout_s", int(timeout), "SlurmdTimeout")
    plugins = config.get("TaskPlugin", "cgroup")
    if "cgroup" not in plugins:
        found["confine"] = Value(False, f"TaskPlugin is {normalise.text(plugins) or 'not set'}")
    if any(kind.gpus for kind in findings.kinds) and not any(k.profile for k in findings.kinds):
        found["gpu_detection"] = Value("nvml", "the nodes fit no topology profile")
    return found


def _node_type(kind: Kind, config: Mapping[str, str]) -> _Tree:
    declared, shape = kind.declared, kind.shape
    seen = f"{kind.num_seen} of {len(kind.hosts)} nodes"
    overrides = "config_overrides" in config.get("SlurmdParameters", "")
    found: dict[str, object] = {
        "nodes": Value(compress(kind.hosts), "NodeName in slurm.conf", guess=declared is None)
    }
    if declared is not None and declared.gpus == kind.gpus:
        found["gpus"] = Value(kind.gpus, "Gres in slurm.conf", guess=False)
    else:
        found["gpus"] = Value(kind.gpus, f"what {seen} show")
    if kind.gpu_type:
        by_slurm = declared is not None and declared.gpu_type == kind.gpu_type
        why = "Gres in slurm.conf" if by_slurm else "the GPUs' model name"
        found["gpu_type"] = Value(kind.gpu_type, why, guess=not by_slurm)
    keep = declared is not None and (
        overrides or not shape.cpus or (declared.cpus <= shape.cpus and _same_cores(kind))
    )
    if declared is not None and keep and declared.cores:
        counts = (declared.sockets, declared.cores, declared.threads)
        for key, count in zip(("sockets", "cores", "threads"), counts, strict=True):
            found[key] = Value(count, "slurm.conf", guess=False)
        if declared.cpus != declared.sockets * declared.cores * declared.threads:
            found["cpus"] = Value(declared.cpus, "CPUs in slurm.conf", guess=False)
    elif shape.cpus:
        for key in ("sockets", "cores", "threads"):
            found[key] = Value(getattr(shape, key), f"slurmd -C on {seen}")
    found["memory"] = _memory(kind, overrides=overrides)
    if kind.profile:
        found["topology"] = Value(kind.profile, f"nodes of it fit the profile; {seen} were seen")
    if kind.features:
        found["features"] = Value(list(kind.features), "Feature in slurm.conf", guess=False)
    return {key: value for key, value in found.items() if value is not None}


def _same_cores(kind: Kind) -> bool:
    declared = kind.declared
    return declared is not None and (
        declared.sockets * declared.cores == kind.shape.num_cores or not declared.cores
    )


def _memory(kind: Kind, *, overrides: bool) -> Value | None:
    declared = kind.declared.memory_mib if kind.declared else 0
    found = kind.shape.memory_mib
    if declared > 1 and (overrides or not found or declared <= found):
        return Value(format_size_mib(declared), "RealMemory in slurm.conf", guess=False)
    if not found:
        return None
    less = f", less than the {declared} MiB of slurm.conf" if declared > found else ""
    return Value(format_size_mib(found), f"slurmd -C found {found} MiB{less}")


def _partition(one: DeclaredPartition, kinds: Sequence[Kind]) -> _Tree:
    hosts = set(one.nodes)
    found: dict[str, object] = {}
    same = next((kind for kind in kinds if set(kind.hosts) == hosts), None)
    if same is not None:
        found["node_type"] = Value(same.name, "all nodes of it, and no others")
    else:
        found["nodes"] = Value(compress(one.nodes), "Nodes in slurm.conf", guess=False)
    if one.default:
        found["default"] = Value(True, "slurm.conf", guess=False)
    for key, value in (("default_time", one.default_time), ("max_time", one.max_time)):
        if value not in _NO_TIME:
            found[key] = Value(value, "slurm.conf", guess=False)
    words = [f"It is {one.state} now; slurmkit's files say UP."] if one.state != "UP" else []
    if one.others:
        words.append(f"slurm.conf says besides, and site.yaml cannot: {' '.join(one.others)}")
    if words:
        found["_"] = " ".join(words)
    return found


def _tiers(inventory: Inventory) -> _Tree:
    """Return a tier per QOS, but for the one that every cluster has and that says nothing."""
    qos = inventory.qos or {}
    pushed = {name for _, preempt in qos.values() for name in preempt}
    if set(qos) <= {"normal"}:
        return {}
    tiers: dict[str, object] = {}
    for name in sorted(qos, key=lambda one: -qos[one][0]):
        tier: dict[str, object] = {"qos": Value(name, "a QOS of this name exists")}
        if name in pushed:
            tier["preemptible"] = Value(True, "another QOS preempts it")
        tiers[name] = tier
    return tiers


def _fabric(kinds: Iterable[Kind]) -> _Tree | None:
    """Return the preset that the compute NICs of most GPU nodes come nearest to."""
    models = [kind for kind in kinds if kind.model is not None and _ports(kind.model)]
    if not models:
        return None
    largest = max(models, key=lambda kind: (bool(kind.gpus), len(kind.hosts)))
    assert largest.model is not None
    ports = _ports(largest.model)
    layer, rate = max(set(ports), key=ports.count)
    why = f"{len(ports)} compute NICs of {largest.name} are {layer}"
    if layer == "InfiniBand":
        preset, usual = "infiniband-ndr", 400.0
    elif rate is not None and rate >= _ROCE_800:
        preset, usual = "roce-800", 800.0
    else:
        preset, usual = "roce-400", 400.0
    found: dict[str, object] = {"preset": Value(preset, why)}
    if rate is not None and rate != usual:
        found["rate_gbps"] = Value(rate, "what their ports say")
    return found


def _ports(topology: Topology) -> list[tuple[str, float | None]]:
    """Return link layer and rate of each compute NIC that is known."""
    found = []
    for nic in compute_nics(topology):
        layers = {port.link_layer for port in nic.ports} - {"unknown"}
        if len(layers) == 1:
            found.append((layers.pop(), nic.rate_gbps))
    return found


def _lines(tree: _Tree) -> list[str]:
    """Return a tree as lines of YAML; a key ``_`` holds words for a comment."""
    lines: list[str] = []
    for key, item in tree.items():
        if key == "_":
            lines.append(f"# {_one_line(str(item))}")
        elif isinstance(item, Value):
            lines += _value(key, item)
        elif isinstance(item, Mapping):
            lines.append(dump({key: None}).removesuffix(" null\n"))
            below = _lines(item)
            if all(line.startswith("#") for line in below):
                lines[-1] += " {}"
            lines += [f"  {line}" for line in below]
    return lines


def _value(key: str, item: Value) -> list[str]:
    mark = f"# {'guessed:' if item.guess else 'from'} {_one_line(item.why)}"
    text = dump({key: item.value}).splitlines()
    if len(text) == 1:
        return [f"{text[0]}  {mark}"]
    return [f"{text[0]}  {mark}", *text[1:]]


def _one_line(text: str) -> str:
    return " ".join(text.split())
