"""GRES: what node lines claim, what gres.conf says of files, cores and links, and both together."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from slurmkit.errors import Location
from slurmkit.hostlist import HostlistError, expand
from slurmkit.sitecheck import registry, words
from slurmkit.sitecheck.config import Cluster, Entity, hosts, words_of
from slurmkit.sitecheck.registry import Problems, rule
from slurmkit.sitecheck.rules.nodes import spans
from slurmkit.sitecheck.rules.partitions import UNKNOWN
from slurmkit.sitecheck.syntax import Pair

fault = partial(registry.fault, group="GRES")

TYPES = fault(
    "gres-types", "A node has a GRES that GresTypes does not name.", "Add it to GresTypes."
)
NO_LINE = fault(
    "gres-no-line",
    "A node has GPUs that no line of gres.conf describes, and nothing detects.",
    "Add a line with File=, or AutoDetect=.",
)
COUNT = fault(
    "gres-count",
    "gres.conf names another number of devices than the node line.",
    "Make Gres= and File= agree.",
)
KIND = fault(
    "gres-type-name",
    "gres.conf gives a GRES another type than the node line.",
    "Give both the same type.",
)
CORES = fault(
    "gres-cores",
    "Cores= names cores that the node does not have; they count from 0, without threads.",
    "Mend Cores=.",
)
FILES = fault("gres-file-twice", "A device stands on two lines of one node.", "Keep one of them.")
LINKS = fault(
    "gres-links",
    "Links= has another number of values than the node has devices.",
    "Write one number per device, and -1 for the device itself.",
)
UNUSED = fault(
    "gres-unused",
    "gres.conf describes a GRES that no node has.",
    "Add Gres= to the node, or remove the line.",
    warning=True,
)
SELECT = fault(
    "gres-select",
    "GPUs are given out by select/cons_tres alone.",
    "Set SelectType=select/cons_tres.",
)
MALFORMED = fault(
    "bad-gres", "A GRES is not written as name:type:count.", "Write it as gpu:h100:8."
)

#: Shares of GPUs: File= names the GPUs that they are spread over (gres.conf(5)).
_SHARES = frozenset({"mps", "shard"})
_SUFFIX = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@dataclass(frozen=True)
class Claim:
    """One word of Gres=: ``gpu:h100:8(S:0-1)``."""

    name: str
    kind: str
    count: int
    where: Location


@dataclass(frozen=True)
class Device:
    """One line of gres.conf for a node; what MultipleFiles names together is one file here."""

    name: str
    kind: str
    files: tuple[str, ...]
    count: int | None
    line: Entity

    @property
    def size(self) -> int:
        """How many it adds."""
        return len(self.files) if self.files else (1 if self.count is None else self.count)


def claims(line: Entity) -> Iterator[Claim]:
    """Yield what a node line claims; what cannot be read is left out."""
    pair = line.values.get("gres")
    for word, where in words_of(pair) if pair else []:
        claim = _claim(word, where)
        if claim:
            yield claim


def _claim(word: str, where: Location) -> Claim | None:
    name, *rest = word.partition("(")[0].split(":")
    rest = [part for part in rest if part != "no_consume"]
    if not name or len(rest) > 2 or "" in rest:
        return None
    count = 1
    if rest and rest[-1][:1].isdigit():
        digits = rest[-1].rstrip("kKmMgGtT")
        suffix = rest[-1][len(digits) :].lower()
        if not digits.isdigit() or suffix not in _SUFFIX:
            return None
        count = int(digits) * _SUFFIX[suffix]
        rest = rest[:-1]
    return Claim(name, rest[0] if rest else "", count, where) if len(rest) <= 1 else None


def devices(cluster: Cluster) -> dict[str, list[Device]]:
    """Return what gres.conf says of each node; a line without NodeName is about all."""
    conf = cluster.conf("gres.conf")
    found: dict[str, list[Device]] = {name: [] for name in cluster.by_node}
    for line in conf.starting("NodeName", "Name") if conf else ():
        values = {pair.name: pair for pair in line.pairs}
        if "name" not in values:
            continue
        entity = Entity(line.pairs[0], values, own=values)
        device = _device(entity)
        places = hosts(values["nodename"].value) if "nodename" in values else cluster.by_node
        for name in places:
            if name in found:
                found[name].append(device)
    return found


def _device(entity: Entity) -> Device:
    text = entity.value("File", entity.value("Files", entity.value("MultipleFiles")))
    try:
        files = tuple(expand(text)) if text else ()
    except HostlistError:
        files = ()
    if "multiplefiles" in entity.values and files:
        files = (",".join(files),)  # one device; MIG slices of a GPU share the GPU's own file
    count = entity.value("Count")
    return Device(
        entity.value("Name"),
        entity.value("Type"),
        files,
        int(count) if count.isdigit() else None,
        entity,
    )


def _detected(cluster: Cluster) -> set[str]:
    """Return the nodes whose GPUs are looked for when their slurmd starts."""
    conf = cluster.conf("gres.conf")
    if conf is None:
        return set()
    found = set(cluster.by_node) if _detects(conf.value("AutoDetect")) else set()
    for line in conf.starting("NodeName"):
        values = {pair.name: pair.value for pair in line.pairs}
        if "autodetect" in values:
            names = hosts(values.get("nodename", ""))
            found = (
                found.union(names) if _detects(values["autodetect"]) else found.difference(names)
            )
    return found


def _detects(said: str) -> bool:
    return said.lower() not in ("off", "none", "")


@rule
def claimed(cluster: Cluster) -> Problems:
    """Whether what nodes claim is written right and has a type that is switched on."""
    types = {word.lower() for word, _ in cluster.slurm.words("GresTypes")}
    told: set[Pair] = set()
    for line in cluster.nodes:
        pair = line.values.get("gres")
        if pair is None or pair in told:
            continue
        told.add(pair)  # a DEFAULT line is told of once
        for word, where in words_of(pair):
            claim = _claim(word, where)
            if claim is None:
                yield MALFORMED(f"cannot read {word!r}", where, key="Gres")
            elif claim.name.lower() not in types:
                yield TYPES(f"{claim.name} is not in GresTypes", where, key="Gres")
    gpus = [claim for line in cluster.nodes for claim in claims(line) if claim.name == "gpu"]
    select = cluster.slurm.value("SelectType", _default_select(cluster))
    if gpus and select.removeprefix("select/") != "cons_tres":
        place = cluster.slurm.pair("SelectType")
        yield SELECT(f"SelectType={select}", place.value_where if place else gpus[0].where)


def _default_select(cluster: Cluster) -> str:
    """Return what no SelectType means: read_config.h of 23.02 and 23.11 differ."""
    return "select/cons_tres" if cluster.release.at_least("23.11") else "select/linear"


@rule
def described(cluster: Cluster) -> Problems:
    """Whether gres.conf describes what the nodes claim."""
    by_node, detected = devices(cluster), _detected(cluster)
    told: set[tuple[Location, str]] = set()
    for line in cluster.nodes:
        for node in line.names:
            for problem in _node(line, node, by_node.get(node, []), node in detected):
                place = (problem.where or cluster.start, problem.code)
                if place not in told:  # a thousand nodes of one line have one fault
                    told.add(place)
                    yield problem


def _node(line: Entity, node: str, found: list[Device], looked_for: bool) -> Problems:
    for claim in claims(line):
        same = [device for device in found if device.name == claim.name]
        detected = looked_for and claim.name == "gpu"
        if not same:
            if claim.name == "gpu" and not detected and line.value("State").upper() != "FUTURE":
                yield NO_LINE(f"{node} has {claim.name}:{claim.count}", claim.where, key="Gres")
            continue
        kinds = {device.kind for device in same}
        if claim.kind and kinds - {""} and claim.kind not in kinds:
            wrong = same[0].line.pair("Type")
            message = f"{node} has {claim.name}:{claim.kind}, and this is {wrong.value}"
            yield KIND(message, wrong.value_where, key="Type")
            continue
        same = [d for d in same if not claim.kind or d.kind in ("", claim.kind)]
        there = sum(device.size for device in same)
        if there != claim.count and not detected and claim.name not in _SHARES:
            pair = same[-1].line.pair("File", "Count", "Name")
            name = ":".join(word for word in (claim.name, claim.kind) if word)
            message = f"{there} for {name}:{claim.count} of {node} at line {claim.where.line}"
            yield COUNT(message, pair.value_where, key=pair.key)
    yield from _shape(line, node, found)


def _shape(line: Entity, node: str, found: list[Device]) -> Problems:
    seen: dict[str, Device] = {}
    for device in found:
        for file in device.files:
            if file in seen and seen[file].name == device.name:
                pair = device.line.pair("File", "Files")
                before = seen[file].line.name.where.line
                yield FILES(f"{node}: {file} stands at line {before} already", pair.value_where)
                break
            seen[file] = device
        for key in ("Cores", "CPUs"):
            cores = device.line.values.get(key.lower())
            if cores is None:
                continue
            numbers = spans(cores.value)
            last = (line.cores if key == "Cores" else line.cores_product) - 1
            if numbers is None or max(numbers) > last:
                message = f"{key}={cores.value}, and the last of {node} is {last}"
                yield CORES(message, cores.value_where, key=key)
        links = device.line.values.get("links")
        total = sum(other.size for other in found if other.name == device.name)
        if links and len(links.value.split(",")) != total:
            message = f"{len(links.value.split(','))} links for {total} devices of {node}"
            yield LINKS(message, links.value_where, key=links.key)


@rule
def gres_conf(cluster: Cluster) -> Problems:
    """Whether gres.conf is about nodes and GRES that exist."""
    conf = cluster.conf("gres.conf")
    if conf is None or not cluster.nodes:
        return
    claimed_names = {claim.name for line in cluster.nodes for claim in claims(line)}
    for line in conf.starting("NodeName", "Name"):
        values = {pair.name: pair for pair in line.pairs}
        if "nodename" in values:
            pair = values["nodename"]
            missing = [name for name in hosts(pair.value) if name not in cluster.by_node]
            if missing:
                hint = words.meant(missing[0], cluster.by_node)
                message = f"no NodeName line of slurm.conf defines {missing[0]}"
                yield UNKNOWN(message, pair.value_where, hint, pair.key)
        name = values.get("name")
        if name and name.value not in claimed_names:
            yield UNUSED(f"no node has Gres={name.value}", name.value_where, key="Name")
