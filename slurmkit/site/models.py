"""site.yaml as pydantic models: what a cluster is, so that users need not repeat it."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from slurmkit.units import parse_duration_s, parse_size_mib


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


def _duration(value: str | int) -> str | int:
    parse_duration_s(value)
    return value


def _memory(value: str | int) -> str | int:
    parse_size_mib(value)
    return value


class NodeType(_Section):
    """Nodes that are alike."""

    gpus: int = Field(0, ge=0, description="GPUs per node.")
    gpu_type: str = Field("", description="GRES type, such as h100; empty when untyped.")
    cpus: int | None = Field(None, ge=1, description="Schedulable CPUs per node.")
    memory: Annotated[str | int, AfterValidator(_memory)] | None = Field(
        None, description="Schedulable memory per node, such as 2000G."
    )
    topology: str | None = Field(None, description="Topology profile, such as dgx-h100.")


class Partition(_Section):
    """A partition and what its jobs get by default."""

    node_type: str | None = Field(None, description="A name under node_types.")
    default_time: Annotated[str | int, AfterValidator(_duration)] | None = Field(
        None, description="Time limit of jobs that name none."
    )
    default: bool = Field(False, description="Used by jobs that name no partition.")


class Tier(_Section):
    """A class of service: how important a job is and what it may be interrupted by."""

    qos: str = Field(description="QOS of the tier.")
    partition: str | None = Field(None, description="Partition of the tier.")
    preemptible: bool = Field(False, description="May be requeued for a higher tier.")


class Modules(_Section):
    """The module system."""

    system: Literal["lmod", "tmod", "none"] = Field("lmod", description="Which one is installed.")
    init: str | None = Field(None, description="Shell file that defines `module`.")
    purge: bool = Field(True, description="Start from no modules, so that runs are alike.")
    default: list[str] = Field(default=[], description="Modules that every job loads first.")


class Signals(_Section):
    """How jobs are warned before their time ends."""

    name: Literal["USR1", "USR2", "TERM"] = Field("USR2", description="NCCL may catch USR1.")
    lead_s: int = Field(120, ge=0, le=65535, description="Seconds before the time limit.")


class Site(_Section):
    """One cluster."""

    name: str = Field("default", description="Name of the cluster, for people.")
    partitions: dict[str, Partition] = Field(default={})
    node_types: dict[str, NodeType] = Field(default={})
    tiers: dict[str, Tier] = Field(default={})
    default_account: str | None = Field(None, description="Charged when a job names no account.")
    default_partition: str | None = Field(None, description="Used when a job names none.")
    default_time: Annotated[str | int, AfterValidator(_duration)] | None = Field(
        None, description="Time limit of jobs that name none."
    )
    env: dict[str, str] = Field(default={}, description="Environment of every job.")
    env_presets: dict[str, dict[str, str]] = Field(
        default={}, description="Named sets such as nccl and ucx, applied to jobs of their kind."
    )
    presets_for: dict[Literal["torch", "mpi", "command"], list[str]] = Field(
        default={}, description="Which env_presets a launch kind gets."
    )
    modules: Modules = Field(default_factory=Modules)
    container_runtime: Literal["pyxis", "apptainer"] | None = Field(
        None, description="What runs container images."
    )
    run_root: str = Field(
        "~/slurmkit/runs", description="Where runs keep their files; must be on shared storage."
    )
    signal: Signals = Field(default_factory=Signals)
    sbatch_from_compute_nodes: bool = Field(
        False, description="Whether a job may submit its successor."
    )
    mpi: Literal["auto", "pmix", "pmi2", "none"] = Field(
        "auto", description="Slurm MPI plugin for srun."
    )
    sbatch: list[str] = Field(default=[], description="Directives that every job gets.")
