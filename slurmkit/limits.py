"""What a live cluster offers and allows, as values: slurm fills it in, plan and check read it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class NodeShape:
    """Nodes of one kind: same partition membership, size, features and state class.

    Attributes:
        hosts: host names of this kind, in cluster order.
        cpus: schedulable logical CPUs per node.
        memory_mib: configured memory per node, MiB.
        gpus: GPUs per node.
        gpu_type: GRES type such as ``h100``, ``a100,v100`` for two types; empty when untyped.
        features: active features, what ``--constraint`` selects by.
        usable: False when the nodes are down, drained or failing.
        reason: why not, as Slurm gives it; empty for none.
    """

    hosts: tuple[str, ...]
    cpus: int
    memory_mib: int
    gpus: int = 0
    gpu_type: str = ""
    features: frozenset[str] = frozenset()
    usable: bool = True
    reason: str = ""


@dataclass(frozen=True)
class PartitionLimits:
    """One partition; None means no limit.

    Attributes:
        state: UP, DOWN, DRAIN or INACTIVE.
        max_time_s: longest time limit, seconds.
        default_time_s: time limit of jobs that name none, seconds.
        max_nodes: most nodes one job may have.
        min_nodes: fewest nodes one job may have.
        max_cpus_per_node: most CPUs of one node a job may have.
        max_mem_per_node_mib: most memory of one node a job may have, MiB.
        allow_accounts: accounts that may use it; None for all.
        allow_qos: QOS that may be used in it; None for all.
        allow_groups: Unix groups that may use it; None for all.
        exclusive: True when jobs always get whole nodes.
        priority_tier: jobs of a higher tier may push those of a lower one aside.
        preempt_mode: what happens to them: ``OFF``, ``REQUEUE``, ``CANCEL``, ``SUSPEND``.
        grace_s: how long they then have, seconds.
    """

    name: str
    state: str = "UP"
    default: bool = False
    max_time_s: int | None = None
    default_time_s: int | None = None
    max_nodes: int | None = None
    min_nodes: int = 0
    max_cpus_per_node: int | None = None
    max_mem_per_node_mib: int | None = None
    allow_accounts: frozenset[str] | None = None
    deny_accounts: frozenset[str] = frozenset()
    allow_qos: frozenset[str] | None = None
    deny_qos: frozenset[str] = frozenset()
    allow_groups: frozenset[str] | None = None
    exclusive: bool = False
    priority_tier: int = 1
    preempt_mode: str = "OFF"
    grace_s: int = 0
    nodes: tuple[NodeShape, ...] = ()


@dataclass(frozen=True)
class QosLimits:
    """One QOS; None means no limit.

    Attributes:
        flags: words such as ``PartitionTimeLimit``: its jobs need not keep the partition's limit.
        grace_s: how long its jobs have when others push them aside, seconds.
    """

    name: str
    max_time_s: int | None = None
    max_nodes_per_job: int | None = None
    max_gpus_per_job: int | None = None
    max_jobs_per_user: int | None = None
    flags: frozenset[str] = frozenset()
    grace_s: int = 0


@dataclass(frozen=True)
class ReservationInfo:
    """One reservation; times are Unix seconds. ``users`` and ``accounts`` None means anyone."""

    name: str
    start: float
    end: float
    num_nodes: int
    partition: str = ""
    users: frozenset[str] | None = None
    accounts: frozenset[str] | None = None


@dataclass(frozen=True)
class LicenseInfo:
    """One licence that Slurm counts."""

    name: str
    total: int
    used: int = 0


@dataclass(frozen=True)
class Limits:
    """A snapshot of one cluster.

    Attributes:
        version: Slurm release as (major, minor), such as (22, 5).
        max_array_size: array indices must be below this.
        accounting: True when slurmdbd answers; without it accounts and QOS cannot be known.
        accounting_enforced: the words of AccountingStorageEnforce, such as ``limits``.
        accounts: accounts the user may charge; None when unknown.
        default_account: the user's default account; empty when unknown.
        qos: QOS that exist by name; None when unknown.
        user_qos: QOS that some account of the user's may use; None when unknown.
        mpi_plugins: what ``srun --mpi=list`` names.
        srun_plugin_options: what plugins add to srun, such as ``--container-image`` of pyxis;
            None when unknown.
        job_requeue: False when the site turns requeueing off by default (JobRequeue=0).
        max_mem_per_node_mib: cluster-wide limit; None for none.
        preempt_by: ``partition_prio`` or ``qos``: whose jobs push whose aside; empty for nobody's.
        user: who asked.
        user_groups: Unix groups of that user.
    """

    cluster: str
    version: tuple[int, int]
    partitions: dict[str, PartitionLimits]
    max_array_size: int = 1001
    max_job_count: int = 10000
    accounting: bool = False
    accounting_enforced: frozenset[str] = frozenset()
    accounts: frozenset[str] | None = None
    default_account: str = ""
    qos: dict[str, QosLimits] | None = None
    user_qos: frozenset[str] | None = None
    reservations: dict[str, ReservationInfo] = field(default_factory=dict)
    licenses: dict[str, LicenseInfo] = field(default_factory=dict)
    mpi_plugins: frozenset[str] = frozenset()
    srun_plugin_options: frozenset[str] | None = None
    job_requeue: bool = True
    max_mem_per_node_mib: int | None = None
    preempt_by: str = ""
    user: str = ""
    user_groups: frozenset[str] = frozenset()

    def default_partition(self) -> PartitionLimits | None:
        """Return the partition that jobs get which name none, or None when the cluster has none."""
        return next((p for p in self.partitions.values() if p.default), None)
