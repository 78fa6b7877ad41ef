"""job.yaml as pydantic models: what a user may ask for."""

from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field

from slurmkit.spec.values import (
    ARRAY_SHORT,
    CHECKPOINT_SHORT,
    NAME_SHORT,
    RESILIENCE_SHORT,
    SWEEP_SHORT,
    TEXT_SHORT,
    Every,
    Gpus,
    Hang,
    Hosts,
    Indices,
    Memory,
    Name,
    affinity_mode,
    after_runs,
    array_indices,
    array_text,
    checkpoint_every,
    gpu_count,
    gpu_type,
    is_job_id,
    list_of_one,
    resilience_actions,
    secret_names,
    sweep_matrix,
)
from slurmkit.yamlfile.shapes import Form
from slurmkit.yamlfile.types import (
    ENV_NAME,
    Duration,
    Env,
    EnvName,
    Line,
    Positive,
    ScalarText,
    Section,
    Text,
    Word,
)

__all__ = ["ENV_NAME", "JobSpec", "array_indices", "gpu_count", "gpu_type", "is_job_id"]

#: Which launchers can start which kind of program.
LAUNCHERS = {"torch": ("srun", "torchrun"), "mpi": ("srun", "mpirun"), "command": ("srun",)}


class Resources(Section):
    """What the job needs of the cluster; omitted keys take the site's or Slurm's default."""

    nodes: Positive = Field(1, description="Nodes the program runs on.")
    gpus_per_node: Gpus = Field(0, description="GPUs of each node: 8, or h100:8 to name the type.")
    tasks_per_node: Positive | None = Field(
        None, description="Ranks per node. Default: one per GPU, or one on a node without GPUs."
    )
    cpus_per_task: Positive | None = Field(
        None, description="CPUs of each rank. Default: the site's share per GPU, or 1."
    )
    memory: Memory | None = Field(
        None, description="Memory per node (64G; 0 for all), per CPU (4G/cpu) or GPU (80G/gpu)."
    )
    time: Duration | None = Field(None, description="Limit: 4h, 1d 12h, 1-12:00:00 or minutes.")
    partition: Word | None = Field(None, description="Partition, or several as a,b.")
    account: Word | None = Field(None, description="Account that is charged.")
    qos: Word | None = Field(None, description="Quality of service.")
    reservation: Word | None = Field(None, description="Reservation to run in.")
    constraint: Line | None = Field(None, description="Node features, as in sbatch --constraint.")
    nodelist: Hosts | None = Field(None, description="Hosts the job must have, as a host list.")
    exclude: Hosts | None = Field(None, description="Hosts the job must not have, as a host list.")
    licenses: Word | None = Field(None, description="Licences, as name:count,name:count.")
    exclusive: bool = Field(False, description="Whole nodes, shared with no other job.")
    spares: int = Field(0, ge=0, description="Extra nodes kept ready for when one dies.")


class Launch(Section):
    """What runs, and what starts it."""

    kind: Literal["torch", "mpi", "command"] = Field(
        "command", description="Which rank variables the program reads, and which launchers fit."
    )
    launcher: Literal["srun", "torchrun", "mpirun"] = Field(
        "srun", description="What starts one process per rank."
    )
    command: Annotated[
        list[Text], Field(min_length=1), Form("a list such as [python, train.py]")
    ] = Field(description="Program and arguments as a list; {sweep.NAME} stands for a swept value.")
    workdir: Line | None = Field(
        None, description="Folder to run in, relative to the YAML file. Default: the YAML's folder."
    )
    mpi: Literal["auto", "pmix", "pmi2", "none"] = Field(
        "auto",
        description="Slurm's MPI plugin for srun. auto: the one that the program's MPI can use.",
    )


class SecretSource(Section):
    """A secret and where its value is read from at submit time."""

    name: EnvName = Field(description="Name of the variable in every task.")
    file: Line | None = Field(
        None,
        description="File with the value, mode 0600. Default: your environment.",
    )
    env: EnvName | None = Field(None, description="Another variable to read the value from.")


class Container(Section):
    """The image that every task runs in."""

    image: Line = Field(description="Image file (.sqsh, .sif) or URI.")
    runtime: Literal["pyxis", "apptainer"] | None = Field(
        None, description="What runs it. Default: the site's runtime."
    )
    mounts: list[Line] = Field(default=[], description="source:destination[:ro], one each.")


class Software(Section):
    """What is loaded before the program starts."""

    modules: list[Word] = Field(default=[], description="Environment modules, in this order.")
    venv: Line | None = Field(None, description="Python virtual environment to activate.")
    conda: Line | None = Field(None, description="Conda environment, by name or folder.")
    container: Container | None = Field(None, description="Container that every task runs in.")
    setup: Annotated[list[Text], BeforeValidator(list_of_one), Form(single=True)] = Field(
        default=[], description="Shell lines that run once, on the first node, before the launch."
    )


class Array(Section):
    """Many runs of one script, told apart by SLURM_ARRAY_TASK_ID."""

    indices: Indices = Field(description="0-9, 1,3,5 or 0-99:2.")
    limit: Positive | None = Field(None, description="At most this many at once.")


class Sweep(Section):
    """A matrix of values; every combination is one element of one job array."""

    matrix: dict[EnvName, Annotated[list[ScalarText], Field(min_length=1)]] = Field(
        description="Values by name; tasks see SWEEP_NAME, commands {sweep.NAME}.", min_length=1
    )
    limit: Positive | None = Field(None, description="At most this many at once.")


class After(Section):
    """A run or job that must come first."""

    run: str | int = Field(description="Run name, run id or Slurm job id.")
    when: Literal["ok", "any", "notok", "start"] = Field(
        "ok", description="ok: it succeeded; any: it ended; notok: it failed; start: it began."
    )


class Checkpoint(Section):
    """Where, how often and how checkpoints are kept."""

    dir: Line = Field(
        "checkpoints",
        description="Folder, relative to the run directory; elements of an array have one each.",
    )
    every: Every = Field(
        "auto", description="auto (from cost and failures), a duration (10m) or 100 steps."
    )
    keep: Positive = Field(3, description="Committed checkpoints that are kept.")
    async_: bool = Field(True, alias="async", description="Save beside the training, not instead.")
    levels: list[Literal["nvme", "partner", "shared"]] = Field(
        default=["shared"],
        min_length=1,
        description="Storage levels, fastest first; the last is shared.",
    )


OnNodeFailure = Literal["spare", "shrink", "successor", "requeue", "stop"]


class Resilience(Section):
    """What happens when a node, a rank or the network fails."""

    on_node_failure: OnNodeFailure = Field("requeue", description="First thing to try.")
    then: list[OnNodeFailure] = Field(default=[], description="What to try after that, in order.")
    min_nodes: Positive | None = Field(
        None, description="Fewest nodes that shrink goes on with. Default: 1."
    )
    heartbeat_s: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="Seconds between signs of life of a node."
    )
    max_restarts: int = Field(5, ge=0, description="Restarts without progress before giving up.")
    hang: Hang = Field(
        "auto", description="auto (learned), off, or the longest step to wait for (10m)."
    )
    preflight: Literal["off", "quick", "full"] = Field("quick", description="Checks before start.")


AffinityMode = Literal["off", "warn", "strict"]


class Affinity(Section):
    """How ranks are bound to cores, memory and NICs."""

    mode: AffinityMode = Field("warn", description="What a mismatch does. Default: the site's.")
    policy: Literal["nearest", "spread", "none"] = Field("nearest", description="Where ranks go.")
    smt: Literal["use", "avoid"] = Field(
        "use", description="All threads of a rank's cores, or one thread of each."
    )
    reserved_cores: int = Field(
        0, ge=0, description="First cores of every NUMA node that no rank gets."
    )
    memory: Literal["local", "bind", "interleave", "none"] = Field(
        "local",
        description="local prefers the rank's NUMA node, bind allows no other, interleave spreads "
        "pages over the rank's nodes, none leaves the policy alone.",
    )


class JobSpec(Section):
    """One job, as a user asks for it."""

    name: Name = Field(description="Name of the run and the job.")
    extends: Line | list[Line] | None = Field(
        None, description="YAML files this one builds on; its own keys win."
    )
    resources: Resources = Field(
        default_factory=Resources, description="What the job needs of the cluster."
    )
    launch: Launch = Field(description="What runs, and what starts it.")
    env: Env = Field(default={}, description="Environment of every task.")
    secrets: Annotated[
        list[Annotated[SecretSource, Form(short=NAME_SHORT)]], BeforeValidator(secret_names)
    ] = Field(default=[], description="Variables whose values appear in no script, log or record.")
    software: Software = Field(
        default_factory=Software, description="What is loaded before the program starts."
    )
    array: Annotated[Array | None, BeforeValidator(array_text), Form(short=ARRAY_SHORT)] = Field(
        None, description="0-9 or 0-99%10: many runs of one script."
    )
    sweep: Annotated[Sweep | None, BeforeValidator(sweep_matrix), Form(short=SWEEP_SHORT)] = Field(
        None, description="A matrix of values that becomes one array."
    )
    after: Annotated[
        list[Annotated[After, Form(short=TEXT_SHORT)]],
        BeforeValidator(after_runs),
        Form(single=True),
    ] = Field(default=[], description="Runs or jobs that must come first.")
    checkpoint: Annotated[
        Checkpoint | None, BeforeValidator(checkpoint_every), Form(short=CHECKPOINT_SHORT)
    ] = Field(None, description="Where, how often and how checkpoints are kept.")
    resilience: Annotated[
        Resilience | None, BeforeValidator(resilience_actions), Form(short=RESILIENCE_SHORT)
    ] = Field(None, description="What happens when a node, a rank or the network fails.")
    affinity: Annotated[
        Affinity | None,
        BeforeValidator(affinity_mode),
        Form(short={"enum": list(get_args(AffinityMode))}),
    ] = Field(None, description="off, warn or strict, or a mapping.")
    sbatch: list[Line] = Field(
        default=[], description="Extra #SBATCH directives, verbatim, such as --mail-type=END."
    )
