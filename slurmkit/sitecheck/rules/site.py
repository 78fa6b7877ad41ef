"""install.yaml and site.yaml: read by their own models, and held against slurm.conf."""

from functools import partial

from slurmkit.errors import Location
from slurmkit.sitecheck import registry, words
from slurmkit.sitecheck.config import Cluster
from slurmkit.sitecheck.registry import Problems, rule
from slurmkit.sitecheck.rules.gres import claims

fault = partial(registry.fault, group="site.yaml and install.yaml")

PERMISSION = fault(
    "permission-without-file",
    "install.yaml gives a mode or owner to a file that the site does not have.",
    "Mend the path, or remove the line.",
)
SECRET = fault(
    "secret-is-a-file",
    "install.yaml calls a file a secret that the site itself brings.",
    "Remove the file from the site.",
)
PARTITION = fault(
    "site-partition",
    "site.yaml describes a partition that slurm.conf does not define.",
    "Generate the site again, or mend the name.",
)
GPUS = fault(
    "site-gpus",
    "site.yaml gives a partition's nodes another number of GPUs than slurm.conf.",
    "Generate the site again, or mend the number.",
)
TIERS = fault(
    "site-tiers",
    "site.yaml has tiers, which are QOS, and slurm.conf has no slurmdbd to keep them.",
    "Name slurm.database in site.yaml and generate again.",
)


@rule
def install(cluster: Cluster) -> Problems:
    """Whether install.yaml is about files that there are."""
    candidate = cluster.candidate
    for path in candidate.rules.permissions:
        if path not in candidate.files:
            hint = words.meant(path, candidate.files)
            yield PERMISSION(
                f"the site has no {path}", candidate.rule_place("permissions", path), hint
            )
    for path in candidate.rules.secrets:
        if path in candidate.files:
            yield SECRET(f"{path} is in files/", candidate.rule_place("secrets", path))


@rule
def site_yaml(cluster: Cluster) -> Problems:
    """Whether site.yaml and slurm.conf speak of the same cluster."""
    site = cluster.candidate.site
    if site is None:
        return
    by_name = {name: line for line in cluster.partitions for name in line.name.value.split(",")}
    told: set[str] = set()
    for name, partition in site.partitions.items():
        where = _site_place(cluster, "partitions", name)
        line = by_name.get(name)
        if line is None:
            hint = words.meant(name, by_name)
            yield PARTITION(f"slurm.conf has no partition {name}", where, hint)
            continue
        kind = site.node_types.get(partition.node_type or "")
        if kind is None or not kind.gpus or partition.node_type in told:
            continue
        for node in cluster.members(line.value("Nodes"))[:1]:
            entity = cluster.by_node.get(node)
            there = sum(c.count for c in claims(entity) if c.name == "gpu") if entity else 0
            if there != kind.gpus:
                told.add(partition.node_type or "")
                type_place = _site_place(cluster, "node_types", partition.node_type or "")
                message = f"{partition.node_type} has {kind.gpus} GPUs, and {node} {there}"
                yield GPUS(message, type_place)
    storage = cluster.slurm.value("AccountingStorageType", "accounting_storage/none")
    if site.tiers and not storage.endswith("slurmdbd"):
        first = next(iter(site.tiers))
        yield TIERS(f"AccountingStorageType is {storage}", _site_place(cluster, "tiers", first))


def _site_place(cluster: Cluster, *path: str) -> Location | None:
    location, _, _ = cluster.candidate.site_source.find(path)
    return location
