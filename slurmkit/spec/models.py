"""job.yaml as pydantic models: what a user may ask for, and which combinations make no sense."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from slurmkit.units import parse_duration_s, parse_size_mib
from slurmkit.yamlfile.shapes import Form

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ARRAY_ITEM = r"\d+(?:-\d+(?::[1-9]\d*)?)?"
_ARRAY = re.compile(rf"(?P<indices>{_ARRAY_ITEM}(?:,{_ARRAY_ITEM})*)(?:%(?P<limit>[1-9]\d*))?")
_GPUS = re.compile(r"(?:(?P<type>[A-Za-z][\w.-]*):)?(?P<count>\d+)", re.ASCII)
_JOB_ID = re.compile(r"\d+(?:_\d+)?")


class _Section(BaseModel):
    """Base of all sections: unknown keys are errors and "2" is not 2."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


def _duration(value: str | int) -> str | int:
    parse_duration_s(value)
    return value


def _memory(value: str | int) -> str | int:
    amount, _, per = str(value).partition("/")
    if per not in ("", "cpu", "gpu"):
        raise ValueError(f"{value!r}: after the slash only cpu or gpu may stand, as in 4G/cpu")
    parse_size_mib(amount)
    return value


def _gpus(value: str | int) -> str | int:
    if not _GPUS.fullmatch(str(value)):
        raise ValueError(f"{value!r} is not a GPU count; write 8, or h100:8 to name the type")
    return value


def _array(value: str) -> str:
    if not _ARRAY.fullmatch(value):
        raise ValueError(f"{value!r} is not a set of indices; write 0-9, 1,3,5 or 0-99%10")
    return value


def _single_line(value: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ValueError("must be a single line without control characters")
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _directive_word(value: str) -> str:
    _single_line(value)
    if any(char.isspace() for char in value):
        raise ValueError(f"{value!r} holds a space, which Slurm would take as the end of the value")
    return value


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL byte, which no environment variable or argument can carry")
    return value


def _name(value: str) -> str:
    _single_line(value)
    if value.startswith(("-", ".")) or "/" in value or len(value) > 128:
        raise ValueError(
            "must not start with '-' or '.', hold '/' or be longer than 128 characters"
        )
    return value


def _env_name(value: str) -> str:
    if not ENV_NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a variable name; use letters, digits and '_', no digit first"
        )
    return value


def _host(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(host, str) for host in value):
        return ",".join(value)
    return value


def _lines(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _scalar_text(value: Any) -> Any:
    """Accept numbers and booleans from Python; from a file they arrive as they are written."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


# Patterns are for editors, which read the JSON Schema; what is refused is up to the validators.
_DURATION_PATTERN = (
    r"(?!0*(-0*)?(:0*)*$)(\d+-)?\d+(:\d+){0,2}|(\d+(\.\d+)?\s*(s|min|m|h|d|w)\s*)+"
    r"|[Uu][Nn][Ll][Ii][Mm][Ii][Tt][Ee][Dd]|[Ii][Nn][Ff][Ii][Nn][Ii][Tt][Ee]"
)
_MEMORY_PATTERN = r"\d+(\.\d+)?\s*[KkMmGgTtPp]?([iI]?[bB])?(/cpu|/gpu)?"
_HOSTS_SHORT = {"type": "array", "items": {"type": "string"}, "minItems": 1}

Positive = Annotated[int, Field(ge=1)]
Text = Annotated[str, AfterValidator(_no_nul)]
ScalarText = Annotated[str, BeforeValidator(_scalar_text), AfterValidator(_no_nul)]
Line = Annotated[str, AfterValidator(_single_line)]
Word = Annotated[str, AfterValidator(_directive_word)]
EnvName = Annotated[
    str, AfterValidator(_env_name), Form("a variable name", r"[A-Za-z_][A-Za-z0-9_]*")
]
Duration = Annotated[
    str | int,
    AfterValidator(_duration),
    Form("a duration such as 4h, 1d 12h, 1-12:00:00 or minutes", _DURATION_PATTERN),
]
Memory = Annotated[
    str | int,
    AfterValidator(_memory),
    Form("a size such as 64G, 4G/cpu or 80G/gpu", _MEMORY_PATTERN),
]
Gpus = Annotated[
    str | int,
    AfterValidator(_gpus),
    Form("a GPU count such as 8 or h100:8", r"([A-Za-z][\w.-]*:)?[0-9]+"),
]
Hosts = Annotated[
    Word,
    BeforeValidator(_host),
    Form("hosts such as n[01-04] or a list of them", short=_HOSTS_SHORT),
]


class Resources(_Section):
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


class Launch(_Section):
    """What runs, and what starts it."""

    kind: Literal["torch", "mpi", "command"] = Field(
        "command", description="Which rank variables the program reads, and which launchers fit."
    )
    launcher: Literal["srun", "torchrun", "mpirun"] = Field(
        "srun", description="What starts one process per rank."
    )
    command: Annotated[list[Text], Field(min_length=1)] = Field(
        description="Program and arguments as a list; {sweep.NAME} stands for a swept value."
    )
    workdir: Line | None = Field(
        None, description="Folder to run in, relative to the YAML file. Default: the YAML's folder."
    )
    mpi: Literal["auto", "pmix", "pmi2", "none"] = Field(
        "auto", description="Slurm's MPI plugin for srun. Default: the best one the cluster has."
    )


class SecretSource(_Section):
    """A secret and where its value is read from at submit time."""

    name: EnvName = Field(description="Name of the variable in every task.")
    file: Line | None = Field(
        None,
        description="File with the value, mode 0600. Default: your environment.",
    )
    env: EnvName | None = Field(None, description="Another variable to read the value from.")


class Container(_Section):
    """The image that every task runs in."""

    image: Line = Field(description="Image file (.sqsh, .sif) or URI.")
    runtime: Literal["pyxis", "apptainer"] | None = Field(
        None, description="What runs it. Default: the site's runtime."
    )
    mounts: list[Line] = Field(default=[], description="source:destination[:ro], one each.")


class Software(_Section):
    """What is loaded before the program starts."""

    modules: list[Word] = Field(default=[], description="Environment modules, in this order.")
    venv: Line | None = Field(None, description="Python virtual environment to activate.")
    conda: Line | None = Field(None, description="Conda environment, by name or folder.")
    container: Container | None = Field(None, description="Container that every task runs in.")
    setup: Annotated[list[Text], BeforeValidator(_lines)] = Field(
        default=[], description="Shell lines that run once, on the first node, before the launch."
    )


class Array(_Section):
    """Many runs of one script, told apart by SLURM_ARRAY_TASK_ID."""

    indices: Annotated[str, AfterValidator(_array)] = Field(description="0-9, 1,3,5 or 0-99:2.")
    limit: Positive | None = Field(None, description="At most this many at once.")


class Sweep(_Section):
    """A matrix of values; every combination is one element of one job array."""

    matrix: dict[EnvName, Annotated[list[ScalarText], Field(min_length=1)]] = Field(
        description="Values by name; tasks see SWEEP_NAME, commands {sweep.NAME}.", min_length=1
    )
    limit: Positive | None = Field(None, description="At most this many at once.")


class After(_Section):
    """A run or job that must come first."""

    run: str | int = Field(description="Run name, run id or Slurm job id.")
    when: Literal["ok", "any", "notok", "start"] = Field(
        "ok", description="ok: it succeeded; any: it ended; notok: it failed; start: it began."
    )


class Checkpoint(_Section):
    """Where, how often and how checkpoints are kept."""

    dir: Line = Field("checkpoints", description="Folder, relative to the run directory.")
    every: str | int = Field("auto", description="auto, a duration (10m) or a count of steps.")
    keep: Positive = Field(3, description="Committed checkpoints that are kept.")
    async_: bool = Field(True, alias="async", description="Save beside the training, not instead.")
    levels: list[Literal["nvme", "partner", "shared"]] = Field(
        default=["shared"], description="Storage levels, fastest first."
    )


OnNodeFailure = Literal["spare", "shrink", "successor", "requeue", "stop"]


class Resilience(_Section):
    """What happens when a node, a rank or the network fails."""

    on_node_failure: OnNodeFailure = Field("requeue", description="First thing to try.")
    then: list[OnNodeFailure] = Field(default=[], description="What to try after that, in order.")
    heartbeat_s: float = Field(1.0, gt=0, description="Seconds between signs of life of a node.")
    max_restarts: int = Field(5, ge=0, description="Restarts without progress before giving up.")
    hang: str | int = Field("auto", description="auto, off, or the longest step to wait for.")
    preflight: Literal["off", "quick", "full"] = Field("quick", description="Checks before start.")


class Affinity(_Section):
    """How ranks are bound to cores, memory and NICs."""

    mode: Literal["off", "warn", "strict"] = Field("warn", description="What a mismatch does.")
    policy: Literal["nearest", "spread", "none"] = Field("nearest", description="Where ranks go.")


def _affinity(value: Any) -> Any:
    return {"mode": value} if isinstance(value, str) else value


def _sweep(value: Any) -> Any:
    """Accept the short form: names and lists, with or without ``limit`` beside them."""
    if not isinstance(value, dict) or "matrix" in value:
        return value
    limit = {name: item for name, item in value.items() if name == "limit"}
    return {"matrix": {name: item for name, item in value.items() if name != "limit"}, **limit}


def _array_section(value: Any) -> Any:
    """Accept Slurm's own short form, ``0-99%10``."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and (match := _ARRAY.fullmatch(value)):
        limit = {"limit": int(match["limit"])} if match["limit"] else {}
        return {"indices": match["indices"], **limit}
    return {"indices": value} if isinstance(value, str) else value


def _secrets(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [{"name": item} if isinstance(item, str) else item for item in value]


def _after(value: Any) -> Any:
    items = value if isinstance(value, list) else [value]
    return [item if isinstance(item, dict) else {"run": item} for item in items]


class JobSpec(_Section):
    """One job, as a user asks for it."""

    name: Annotated[str, AfterValidator(_name)] = Field(description="Name of the run and the job.")
    extends: Line | list[Line] | None = Field(
        None, description="YAML files this one builds on; its own keys win."
    )
    resources: Resources = Field(default_factory=Resources)
    launch: Launch
    env: dict[EnvName, ScalarText] = Field(default={}, description="Environment of every task.")
    secrets: Annotated[list[SecretSource], BeforeValidator(_secrets)] = Field(
        default=[], description="Variables whose values appear in no script, log or record."
    )
    software: Software = Field(default_factory=Software)
    array: Annotated[Array | None, BeforeValidator(_array_section)] = Field(
        None, description="0-9 or 0-99%10: many runs of one script."
    )
    sweep: Annotated[Sweep | None, BeforeValidator(_sweep)] = Field(
        None, description="A matrix of values that becomes one array."
    )
    after: Annotated[list[After], BeforeValidator(_after)] = Field(
        default=[], description="Runs or jobs that must come first."
    )
    checkpoint: Checkpoint | None = None
    resilience: Resilience | None = None
    affinity: Annotated[Affinity | None, BeforeValidator(_affinity)] = Field(
        None, description="off, warn or strict, or a mapping."
    )
    sbatch: list[Line] = Field(
        default=[], description="Extra #SBATCH directives, verbatim, such as --mail-type=END."
    )


def gpu_count(gpus: str | int) -> int:
    """Return the count of ``8`` or ``h100:8``."""
    return int(str(gpus).rpartition(":")[2])


def gpu_type(gpus: str | int) -> str:
    """Return the type of ``h100:8``; empty when none is named."""
    return str(gpus).rpartition(":")[0]


def is_job_id(text: str | int) -> bool:
    """Tell a Slurm job id (``123``, ``123_4``) from the name of a run."""
    return _JOB_ID.fullmatch(str(text)) is not None


def array_indices(indices: str) -> list[int]:
    """Return the sorted indices that ``0-9:2,12`` stands for."""
    found: set[int] = set()
    for item in indices.split(","):
        span, _, step = item.partition(":")
        first, _, last = span.partition("-")
        found.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return sorted(found)
