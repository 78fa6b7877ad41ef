"""Accounting: what is enforced and where it is kept, and slurmdbd.conf beside it."""

from functools import partial

from slurmkit.sitecheck import registry, words
from slurmkit.sitecheck.config import Cluster, words_of
from slurmkit.sitecheck.registry import Problems, rule

fault = partial(registry.fault, group="Accounting")

ENFORCE = fault(
    "enforce-without-storage",
    "AccountingStorageEnforce needs slurmdbd, and accounts are kept nowhere.",
    "Set AccountingStorageType=accounting_storage/slurmdbd.",
)
TRES = fault(
    "tres-without-gres",
    "AccountingStorageTRES counts a GRES that GresTypes does not name.",
    "Add it to GresTypes, or remove it.",
)
HOST = fault(
    "storage-host",
    "slurmdbd is needed, and nothing names its host.",
    "Set AccountingStorageHost.",
)
DBD_PORT = fault(
    "dbd-port",
    "slurm.conf looks for slurmdbd at another port than slurmdbd.conf gives it.",
    "Make AccountingStoragePort and DbdPort equal.",
)
DBD_MISSING = fault(
    "dbd-incomplete", "slurmdbd.conf lacks what slurmdbd does not start without.", "Add it."
)
QOS = fault(
    "partition-qos",
    "A partition has a QOS, which only slurmdbd has.",
    "Set AccountingStorageType=accounting_storage/slurmdbd, or remove QOS=.",
)
WEIGHTS = fault(
    "weights-tres",
    "A weight is for a TRES that is not counted; slurmctld ends with it.",
    "Add it to AccountingStorageTRES, or remove the weight.",
)
PRIORITY = fault(
    "priority-needs-accounts",
    "A weight of age or fair share is ignored without slurmdbd (priority_multifactor.c).",
    "Set AccountingStorageType=accounting_storage/slurmdbd, or remove the weight.",
)
GATHER = fault(
    "gather-frequency",
    "JobAcctGatherFrequency stands beside a JobAcctGatherType that gathers nothing.",
    "Set JobAcctGatherType=jobacct_gather/cgroup.",
    warning=True,
)


@rule
def storage(cluster: Cluster) -> Problems:
    """Whether what is enforced is kept somewhere."""
    slurm = cluster.slurm
    kind = slurm.value("AccountingStorageType", "accounting_storage/none")
    has_dbd = kind.removeprefix("accounting_storage/") == "slurmdbd"
    enforce = slurm.pair("AccountingStorageEnforce")
    if enforce and not has_dbd and enforce.value.lower() not in ("none", "0", "no"):
        message = f"AccountingStorageType is {kind}"
        yield ENFORCE(message, enforce.where, key="AccountingStorageEnforce")
    for line in cluster.partitions:
        pair = line.values.get("qos")
        if pair and not has_dbd:
            yield QOS(f"QOS={pair.value}, and accounts are kept nowhere", pair.where, key="QOS")
    if has_dbd and not slurm.value("AccountingStorageHost") and cluster.conf("slurmdbd.conf"):
        place = slurm.pair("AccountingStorageType")
        dbd = cluster.confs["slurmdbd.conf"].value("DbdHost", "localhost")
        if place and dbd != "localhost":
            message = f"slurmdbd.conf has DbdHost={dbd}, and slurm.conf looks on localhost"
            yield HOST(message, place.value_where, key="AccountingStorageHost")
    types = {word.lower() for word, _ in slurm.words("GresTypes")}
    for word, where in slurm.words("AccountingStorageTRES"):
        if word.lower().startswith("gres/"):
            name = word[5:].partition(":")[0].lower()
            if name not in types:
                yield TRES(f"{word}: GresTypes does not name {name}", where)
    frequency = slurm.pair("JobAcctGatherFrequency")
    gather = slurm.value("JobAcctGatherType", "jobacct_gather/none")
    if frequency and gather.endswith("none") and frequency.value not in ("0", "task=0"):
        yield GATHER(f"JobAcctGatherType is {gather}", frequency.where)


#: TRES that are always counted, and those that need naming behind a slash.
_ALWAYS = frozenset({"cpu", "mem", "energy", "node", "billing", "vmem", "pages"})


@rule
def weights(cluster: Cluster) -> Problems:
    """Whether what has a weight is counted."""
    slurm = cluster.slurm
    counted = {word.lower() for word, _ in slurm.words("AccountingStorageTRES")}
    pairs = [pair for pair in [slurm.pair("PriorityWeightTRES")] if pair]
    pairs += [
        line.values["tresbillingweights"]
        for line in cluster.partitions
        if "tresbillingweights" in line.values
    ]
    for pair in dict.fromkeys(pairs):
        for word, where in words_of(pair):
            name = word.partition("=")[0].lower()
            if name in _ALWAYS or name in counted:
                continue
            hint = "" if "/" in name else words.meant(name, _ALWAYS | counted)
            yield WEIGHTS(f"AccountingStorageTRES does not count {name}", where, hint, pair.key)
    if not slurm.value("AccountingStorageType").endswith("slurmdbd"):
        for name in ("PriorityWeightAge", "PriorityWeightFairshare"):
            weight = slurm.pair(name)
            if weight and weight.value != "0":
                yield PRIORITY(f"{name}={weight.value}", weight.where, key=name)


@rule
def slurmdbd(cluster: Cluster) -> Problems:
    """Whether slurmdbd.conf is whole and at the same port."""
    conf = cluster.conf("slurmdbd.conf")
    if conf is None:
        return
    first = conf.lines[0].where if conf.lines else None
    for name in ("DbdHost", "StorageType"):
        if conf.pair(name) is None:
            yield DBD_MISSING(f"slurmdbd.conf has no {name}", first, key=name)
    port, ours = conf.pair("DbdPort"), cluster.slurm.pair("AccountingStoragePort")
    pair = port or ours
    if pair and conf.value("DbdPort", "6819") != cluster.slurm.value(
        "AccountingStoragePort", "6819"
    ):
        message = (
            f"DbdPort={conf.value('DbdPort', '6819')} and"
            f" AccountingStoragePort={cluster.slurm.value('AccountingStoragePort', '6819')}"
        )
        yield DBD_PORT(message, pair.value_where, key=pair.key)
