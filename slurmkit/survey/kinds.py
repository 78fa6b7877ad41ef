"""Groups nodes that are alike, and says what each group is made of. Pure.

Nodes that slurm.conf declares alike stay together: one with a dead GPU is a broken node of its
kind, not a kind of its own. Where the declaration fits none of what was found, the nodes decide.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from slurmkit.record import Record
from slurmkit.slurm.inventory import DeclaredNode
from slurmkit.survey.facts import NodeFacts, Shape
from slurmkit.topology.export_gres import gres_type
from slurmkit.topology.model import Topology
from slurmkit.topology.profile import load_profile, profile_names
from slurmkit.topology.verify import verify

# A group as large as this share of nodes declared alike is a kind of its own, if none fits.
_SHARE = 0.2
_MOST_MODELS = 4


class Kind(Record):
    """Nodes that are alike.

    Attributes:
        hosts: their names, in Slurm's order.
        declared: what slurm.conf says of each of them; None where there is no slurm.conf.
        shape: processors and memory as most of them are; zeros when none was seen.
        gpus: GPUs of most; of the declaration when none was seen.
        profile: name of the topology profile that they fit; "" for none.
        model: topology of one of those that are as most are.
        num_seen: how many of them said what they are.
    """

    name: str
    hosts: tuple[str, ...]
    declared: DeclaredNode | None
    shape: Shape
    gpus: int
    gpu_type: str
    profile: str
    model: Topology | None
    num_seen: int

    @property
    def features(self) -> tuple[str, ...]:
        """Words that jobs select them by."""
        return self.declared.features if self.declared else ()


class _Signature(Record):
    gpus: int  # -1 where nothing tells
    gpu_type: str
    sockets: int
    cores: int
    threads: int
    nics: int


def kinds(declared: Sequence[DeclaredNode], facts: Mapping[str, NodeFacts]) -> list[Kind]:
    """Return the kinds of nodes, in the order of their first node."""
    groups: dict[object, list[str]] = {}
    by_name = {node.name: node for node in declared}
    for node in declared:
        key = (
            *(node.sockets, node.cores, node.threads, node.cpus, node.memory_mib),
            *(node.gpus, node.gpu_type, node.features),
        )
        groups.setdefault(key, []).append(node.name)
    for host in facts:
        if host not in by_name:
            groups.setdefault(None, []).append(host)
    found: list[Kind] = []
    for hosts in groups.values():
        declaration = by_name.get(hosts[0])
        found += [_kind(part, declaration, facts) for part in _parts(hosts, declaration, facts)]
    return _named(found)


def _signature(facts: NodeFacts) -> _Signature:
    topology = facts.topology
    gpus = topology.gpus if topology else ()
    types = Counter(gres_type(gpu) for gpu in gpus)
    shape = facts.shape
    return _Signature(
        gpus=-1 if facts.num_gpus is None else facts.num_gpus,
        gpu_type=types.most_common(1)[0][0] if types else "",
        sockets=shape.sockets,
        cores=shape.cores,
        threads=shape.threads,
        nics=len(facts.compute_nics),
    )


def _parts(
    hosts: Sequence[str], declaration: DeclaredNode | None, facts: Mapping[str, NodeFacts]
) -> list[list[str]]:
    """Return the hosts as one kind, or as several where they differ and no declaration fits."""
    seen = {host: _signature(facts[host]) for host in hosts if host in facts}
    counts = Counter(seen.values())
    if declaration is not None and (
        len(counts) < 2 or any(_fits(declaration, signature) for signature in counts)
    ):
        return [list(hosts)]
    enough = max(2, _SHARE * len(seen))
    large: list[_Signature] = []
    for signature, count in counts.most_common():
        if count >= enough or not any(_may_be_broken(signature, other) for other in large):
            large.append(signature)
    parts: dict[_Signature, list[str]] = {signature: [] for signature in large}
    for host in hosts:
        signature = seen.get(host, large[0])
        parts[signature if signature in parts else _nearest(signature, large)].append(host)
    return [part for part in parts.values() if part]


def _may_be_broken(odd: _Signature, usual: _Signature) -> bool:
    """Return whether a node may be one of the usual ones that has lost GPUs or NICs."""
    same = all(getattr(odd, name) == getattr(usual, name) for name in ("sockets", "cores"))
    return same and odd.gpu_type in (usual.gpu_type, "") and odd.gpus <= usual.gpus


def _nearest(odd: _Signature, large: Sequence[_Signature]) -> _Signature:
    """Return the kind that an odd node is most like."""

    def differences(other: _Signature) -> int:
        return sum(getattr(odd, name) != getattr(other, name) for name in odd._fields)

    return min(large, key=differences)


def _fits(declaration: DeclaredNode, signature: _Signature) -> bool:
    return signature.gpus == declaration.gpus


def _kind(
    hosts: Sequence[str], declaration: DeclaredNode | None, facts: Mapping[str, NodeFacts]
) -> Kind:
    seen = {host: _signature(facts[host]) for host in hosts if host in facts}
    counts = Counter(seen.values())
    # The declaration decides between two of equal number, such as of two nodes of which one broke.
    usual = max(
        counts,
        key=lambda one: (declaration is not None and _fits(declaration, one), counts[one]),
        default=None,
    )
    alike = [host for host, signature in seen.items() if signature == usual]
    profile, model = _profile([facts[host].topology for host in alike])
    told = (facts[host].shape.memory_mib for host in alike)
    memory = min((size for size in told if size), default=0)
    gpu_type = usual.gpu_type if usual else ""
    return Kind(
        name="",
        hosts=tuple(hosts),
        declared=declaration,
        shape=Shape(usual.sockets, usual.cores, usual.threads, memory) if usual else Shape(),
        gpus=_gpus(declaration, usual, len(alike)),
        gpu_type=(declaration.gpu_type if declaration else "") or gpu_type,
        profile=profile,
        model=model,
        num_seen=len(seen),
    )


def _gpus(declaration: DeclaredNode | None, usual: _Signature | None, num_alike: int) -> int:
    """Return the GPUs of a kind; one node alone that shows fewer than declared is a broken one."""
    if declaration is None:
        return max(0, usual.gpus) if usual else 0
    if usual is None or usual.gpus < 0 or (num_alike < 2 and usual.gpus < declaration.gpus):
        return declaration.gpus
    return usual.gpus


def _profile(topologies: Iterable[Topology | None]) -> tuple[str, Topology | None]:
    """Return the profile that a node fits without an error, and that node; else any node."""
    candidates = [topology for topology in topologies if topology is not None][:_MOST_MODELS]
    best: tuple[int, str, Topology] | None = None
    for topology in candidates:
        if not topology.gpus:
            continue
        for name in profile_names():
            differences = verify(topology, load_profile(name))
            if any(item.severity == "error" for item in differences):
                continue
            if best is None or (len(differences), name) < best[:2]:
                best = (len(differences), name, topology)
        if best is not None:
            return best[1], best[2]
    return "", candidates[0] if candidates else None


def _named(found: Sequence[Kind]) -> list[Kind]:
    """Return the kinds with names that tell them apart: by profile, features, memory, number."""
    first = [_name(kind) for kind in found]
    named: list[Kind] = []
    taken: set[str] = set()
    for kind, plain in zip(found, first, strict=True):
        name = plain
        alike = [other for other, its in zip(found, first, strict=True) if its == plain]
        if len(alike) > 1:
            common = set.intersection(*(set(other.features) for other in alike))
            own = [word for word in kind.features if word not in common]
            memory = kind.declared.memory_mib if kind.declared else kind.shape.memory_mib
            name = "-".join([name, *own]) if own else f"{name}-{memory // 1024}g"
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name}-{number}", number + 1
        taken.add(unique)
        named.append(kind.replace(name=unique))
    return named


def _name(kind: Kind) -> str:
    if kind.profile:
        return kind.profile
    cpus = kind.declared.cpus if kind.declared else kind.shape.cpus
    if kind.gpus:
        return f"{kind.gpu_type or 'gpu'}x{kind.gpus}-{cpus}cpu"
    return f"cpu-{cpus}"
