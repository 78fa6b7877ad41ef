"""How jobs are chosen and pushed aside: preemption, priorities, consumable resources, requeue."""

from functools import partial

from slurmkit.site.generate.versions import VALUES
from slurmkit.sitecheck import registry
from slurmkit.sitecheck.config import Cluster
from slurmkit.sitecheck.registry import Problems, rule

fault = partial(registry.fault, group="Scheduling")

MODE = fault(
    "preempt-mode",
    "PreemptMode pushes jobs aside, and PreemptType says that none are; or the other way round.",
    "Set PreemptType=preempt/qos or preempt/partition_prio with a mode, or PreemptMode=OFF.",
)
GANG = fault(
    "preempt-suspend",
    "PreemptMode=SUSPEND needs GANG beside it (slurm.conf(5)).",
    "Write PreemptMode=SUSPEND,GANG.",
)
QOS = fault(
    "preempt-needs-accounts",
    "preempt/qos reads QOS, which only slurmdbd has.",
    "Set AccountingStorageType=accounting_storage/slurmdbd.",
)
REQUEUE = fault(
    "requeue-off",
    "JobRequeue=0 keeps jobs from being requeued, by preemption or after a node's loss.",
    "Set JobRequeue=1; a job that must not be requeued says --no-requeue.",
    warning=True,
)
WEIGHTS = fault(
    "priority-weights",
    "Weights of priority stand beside a PriorityType that reads none.",
    "Set PriorityType=priority/multifactor.",
)
MEMORY = fault(
    "memory-not-consumed",
    "Memory limits stand beside SelectTypeParameters that do not give out memory.",
    "Set SelectTypeParameters=CR_Core_Memory.",
)
LINEAR = fault(
    "select-parameters",
    "SelectTypeParameters does not go with SelectType.",
    "Set SelectType=select/cons_tres, or CR_Memory for select/linear.",
)
SELECT_TWO = fault(
    "select-parameters-two",
    "SelectTypeParameters names two kinds of resources to give out.",
    "Keep one of CR_CPU, CR_Core and CR_Socket, or of these with _Memory.",
)
VALUE = fault(
    "value-not-in-release",
    "This release of Slurm does not know a value; another one does.",
    "Remove it, or generate the site for the release that runs.",
)
ARRAYS = fault(
    "array-over-jobs",
    "MaxArraySize is larger than MaxJobCount, so that such an array is never taken.",
    "Raise MaxJobCount, or lower MaxArraySize.",
    warning=True,
)

_KINDS = ("cr_cpu", "cr_core", "cr_socket")


@rule
def preemption(cluster: Cluster) -> Problems:
    """Whether type and mode of preemption go together."""
    slurm = cluster.slurm
    mode, kind = slurm.pair("PreemptMode"), slurm.pair("PreemptType")
    modes = {word.upper() for word, _ in slurm.words("PreemptMode")} or {"OFF"}
    plugin = slurm.value("PreemptType", "preempt/none").removeprefix("preempt/")
    acting = modes - {"OFF", "GANG", "WITHIN", "PRIORITY"}
    if acting and plugin == "none" and mode:
        message = f"PreemptMode={mode.value}, and PreemptType is preempt/none"
        yield MODE(message, mode.value_where, key="PreemptMode")
    by_qos_or_partition = any("preemptmode" in line.values for line in cluster.partitions)
    if plugin != "none" and not acting and kind and not by_qos_or_partition and plugin != "qos":
        message = f"PreemptType={kind.value}, and PreemptMode is {'+'.join(sorted(modes))}"
        yield MODE(message, kind.value_where, key="PreemptType")
    if "SUSPEND" in modes and "GANG" not in modes and mode:
        yield GANG(f"PreemptMode={mode.value}", mode.value_where, key="PreemptMode")
    storage = slurm.value("AccountingStorageType", "accounting_storage/none")
    if plugin == "qos" and kind and not storage.endswith("slurmdbd"):
        yield QOS(f"AccountingStorageType is {storage}", kind.value_where, key="PreemptType")
    requeue = slurm.pair("JobRequeue")
    if requeue and requeue.value.lower() in ("0", "no"):
        why = "PreemptMode has REQUEUE" if "REQUEUE" in modes else "slurmkit requeues after faults"
        yield REQUEUE(f"JobRequeue=0, and {why}", requeue.value_where, key="JobRequeue")


@rule
def priorities(cluster: Cluster) -> Problems:
    """Whether weights are read."""
    slurm = cluster.slurm
    kind = slurm.value("PriorityType", "priority/multifactor" if _multifactor(cluster) else "")
    if kind.removeprefix("priority/") == "multifactor":
        return
    for name, pairs in slurm.settings.items():
        if name.startswith("priorityweight") and pairs[-1].value not in ("0", ""):
            said = kind or "priority/basic"
            yield WEIGHTS(f"PriorityType is {said}", pairs[-1].where, key=pairs[-1].key)


def _multifactor(cluster: Cluster) -> bool:
    """Return whether multifactor is the default: slurm.conf(5) of 23.02 and 23.11 differ."""
    return cluster.release.at_least("23.11")


@rule
def resources(cluster: Cluster) -> Problems:
    """Whether what is given out is what is limited."""
    slurm = cluster.slurm
    pair = slurm.pair("SelectTypeParameters")
    said = [word.lower() for word, _ in slurm.words("SelectTypeParameters")]
    kinds = [word for word in said if word.removesuffix("_memory") in _KINDS]
    if pair and len(kinds) > 1:
        message = f"SelectTypeParameters={pair.value}"
        yield SELECT_TWO(message, pair.value_where, key=pair.key)
    linear = slurm.value("SelectType").removeprefix("select/") == "linear"
    if linear and pair and kinds:
        message = f"SelectTypeParameters={pair.value} with SelectType=select/linear"
        yield LINEAR(message, pair.value_where, key=pair.key)
    if not any("memory" in word for word in said) and not linear:
        for name in ("DefMemPerCPU", "DefMemPerNode", "MaxMemPerCPU", "MaxMemPerNode"):
            limit = slurm.pair(name)
            if limit and limit.value not in ("0", "UNLIMITED") and (pair or not _memory(cluster)):
                parameters = pair.value if pair else "not set"
                message = f"{name}={limit.value}, and SelectTypeParameters is {parameters}"
                yield MEMORY(message, limit.where, key=name)


def _memory(cluster: Cluster) -> bool:
    """Return whether memory is given out by default: slurm.conf(5) of 23.02 and 23.11 differ."""
    return cluster.release.at_least("23.11")


@rule
def by_release(cluster: Cluster) -> Problems:
    """Whether the release knows the values that not every release knows."""
    for entry in VALUES:
        conf = cluster.conf(entry.file)
        if conf is None or not entry.key or entry.known(cluster.release) or "/" in entry.value:
            continue
        for word, where in conf.words(entry.key):
            if word.partition("=")[0].lower() == entry.value.lower():
                dates = f"from {entry.since} on" if entry.since else f"before {entry.gone}"
                message = f"{entry.key}: {entry.value} exists {dates}; this is {cluster.release}"
                yield VALUE(message, where, key=entry.key)


@rule
def arrays(cluster: Cluster) -> Problems:
    """Whether the largest array can be taken."""
    slurm = cluster.slurm
    size, most = slurm.number("MaxArraySize"), slurm.number("MaxJobCount", 10_000)
    pair = slurm.pair("MaxArraySize")
    if pair and size is not None and most is not None and size > most + 1:
        message = f"MaxArraySize={size} and MaxJobCount={most}"
        yield ARRAYS(message, pair.value_where, key="MaxArraySize")
