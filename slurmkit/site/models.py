"""site.yaml as pydantic models: what a cluster is, so that users need not repeat it."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from slurmkit.site.cluster import SlurmSettings
from slurmkit.site.elastic import Elastic
from slurmkit.site.fabric import FabricField
from slurmkit.site.health import Health
from slurmkit.site.nodes import NodeType, Partition
from slurmkit.site.switch_models import Switches
from slurmkit.site.tiers import Account, Billing, Roles, Tier
from slurmkit.yamlfile.shapes import Form
from slurmkit.yamlfile.types import Duration, Env, Line, Section, Word

# Sections with much to say live in modules of their own; this one joins them.
__all__ = [
    "Affinity",
    "Modules",
    "NodeType",
    "Partition",
    "Signals",
    "Site",
    "SlurmSettings",
    "Tier",
]

LaunchKind = Literal["torch", "mpi", "command"]


class Modules(Section):
    """The module system."""

    system: Literal["lmod", "tmod", "none"] = Field("lmod", description="Which one is installed.")
    init: Line | None = Field(None, description="Shell file that defines `module`.")
    purge: bool = Field(True, description="Start from no modules, so that runs are alike.")
    default: list[Word] = Field(default=[], description="Modules that every job loads first.")


class Signals(Section):
    """How jobs are warned before their time ends."""

    name: Literal["USR1", "USR2", "TERM"] = Field("USR2", description="NCCL may catch USR1.")
    lead_s: int = Field(120, ge=0, le=65535, description="Seconds before the time limit.")


AffinityMode = Literal["off", "warn", "strict"]


def _mode_alone(value: Any) -> Any:
    return {"mode": value} if isinstance(value, str) else value


class Affinity(Section):
    """How ranks are bound where jobs do not say; each key of a job wins over the one here."""

    mode: AffinityMode = Field("warn", description="What a mismatch does.")
    policy: Literal["nearest", "spread", "none"] = Field("nearest", description="Where ranks go.")
    smt: Literal["use", "avoid"] = Field(
        "use", description="All threads of a rank's cores, or one thread of each."
    )
    reserved_cores: int = Field(
        0, ge=0, description="First cores of every NUMA node that no rank gets."
    )
    memory: Literal["local", "bind", "interleave", "none"] = Field(
        "local", description="Where a rank's memory comes from."
    )
    wiring: Literal["rails", "flat"] | None = Field(
        None,
        description="rails: each NIC of a node has a network of its own; flat: all meet in one, "
        "and rails are not compared.",
    )


class Site(Section):
    """One cluster."""

    name: Line = Field("default", description="Name of the cluster, for people.")
    partitions: dict[str, Partition] = Field(
        default={}, description="Partitions by name, and what their jobs get by default."
    )
    node_types: dict[str, NodeType] = Field(
        default={}, description="Kinds of nodes by a name of your choice."
    )
    tiers: dict[str, Tier] = Field(
        default={},
        description="Classes of service by name, the most important first: production, training.",
    )
    accounts: dict[str, Account] = Field(default={}, description="Who pays, by account.")
    billing: Billing | None = Field(None, description="What an hour costs.")
    roles: Roles = Field(default_factory=Roles, description="Who may change accounts.")
    default_account: Word | None = Field(None, description="Charged when a job names no account.")
    default_partition: Word | None = Field(None, description="Used when a job names none.")
    default_time: Duration | None = Field(None, description="Time limit of jobs that name none.")
    env: Env = Field(default={}, description="Environment of every job.")
    env_presets: dict[str, Env] = Field(
        default={}, description="Named sets such as nccl and ucx, applied to jobs of their kind."
    )
    presets_for: dict[LaunchKind, list[str]] = Field(
        default={}, description="Which env_presets a launch kind gets."
    )
    modules: Modules = Field(default_factory=Modules, description="The module system.")
    container_runtime: Literal["pyxis", "apptainer"] | None = Field(
        None, description="What runs container images."
    )
    run_root: Line = Field(
        "~/slurmkit/runs", description="Where runs keep their files; must be on shared storage."
    )
    affinity: Annotated[
        Affinity | None,
        BeforeValidator(_mode_alone),
        Form(short={"enum": list(get_args(AffinityMode))}),
    ] = Field(None, description="How ranks are bound where jobs do not say: a mode, or a mapping.")
    fabric: FabricField = Field(
        None, description="The network between the nodes: a preset, or a mapping."
    )
    signal: Signals = Field(
        default_factory=Signals, description="How jobs are warned before their time ends."
    )
    sbatch_from_compute_nodes: bool | None = Field(
        None,
        description="Whether a job may submit its successor. Default: it tries, and goes on"
        " to its next action where Slurm refuses.",
    )
    local_dir: Line | None = Field(
        None,
        description="Folder on each node's own disk, such as /scratch/$USER, for checkpoints of"
        " level nvme. Default: /tmp.",
    )
    mpi: Literal["auto", "pmix", "pmi2", "none"] = Field(
        "auto", description="Slurm MPI plugin for srun."
    )
    sbatch: list[Line] = Field(default=[], description="Directives that every job gets.")
    slurm: SlurmSettings = Field(
        default_factory=SlurmSettings, description="Slurm itself, for the files made from this one."
    )
    switches: Switches | None = Field(
        None, description="Which nodes are near each other: switches, rails and NVLink domains."
    )
    elastic: Elastic | None = Field(
        None, description="Nodes that are started when there is work, and stopped after it."
    )
    health: Health | None = Field(
        None, description="Checks of nodes, before jobs and now and then, and drains by them."
    )
