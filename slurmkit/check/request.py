"""What the job asks of Slurm, read back from the directives that the script will carry."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from slurmkit import hostlist
from slurmkit.errors import SlurmkitError
from slurmkit.plan.model import Directive, Plan, Shape
from slurmkit.spec.models import JobSpec, array_indices
from slurmkit.units import parse_duration_s, parse_size_mib

_LONG_NAMES = {
    "-A": "--account",
    "-a": "--array",
    "-C": "--constraint",
    "-c": "--cpus-per-task",
    "-d": "--dependency",
    "-e": "--error",
    "-F": "--nodefile",
    "-G": "--gpus",
    "-i": "--input",
    "-J": "--job-name",
    "-L": "--licenses",
    "-N": "--nodes",
    "-n": "--ntasks",
    "-o": "--output",
    "-p": "--partition",
    "-q": "--qos",
    "-t": "--time",
    "-w": "--nodelist",
    "-x": "--exclude",
    "-D": "--chdir",
}
_KEYS = {
    "--account": "resources.account",
    "--partition": "resources.partition",
    "--qos": "resources.qos",
    "--reservation": "resources.reservation",
    "--constraint": "resources.constraint",
    "--nodelist": "resources.nodelist",
    "--exclude": "resources.exclude",
    "--licenses": "resources.licenses",
    "--time": "resources.time",
    "--mem": "resources.memory",
    "--mem-per-cpu": "resources.memory",
    "--mem-per-gpu": "resources.memory",
    "--array": "array.indices",
}


def option_of(line: str) -> tuple[str, str | None]:
    """Return long name and value of one directive: ``-p gpu`` is ``--partition`` and ``gpu``."""
    line = line.strip().removeprefix("#SBATCH").strip()
    if line.startswith("--"):
        name, equals, value = line.partition("=")
        if equals and " " not in name:
            return name.strip(), _unquoted(value)
        name, _, value = line.partition(" ")
    else:
        name, value = line[:2], line[2:]
    return _LONG_NAMES.get(name.strip(), name.strip()), _unquoted(value) or None


def _unquoted(value: str) -> str:
    text = value.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text


@dataclass(frozen=True)
class Memory:
    """Memory as asked for; all None and 0 mean that the job names none or takes the whole node."""

    per_node_mib: int | None = None
    per_cpu_mib: int | None = None
    per_gpu_mib: int | None = None


@dataclass(frozen=True)
class Request:
    """One job's wishes in Slurm's terms.

    Attributes:
        options: every directive by its long name; a later one wins, as in sbatch.
        extra_keys: the key in the file of those options that ``sbatch`` lines give.
        shape: nodes, tasks, CPUs and GPUs.
        partitions: names in order; empty leaves it to the cluster.
        time_s: the limit; None for none given or UNLIMITED (see ``names_time``).
        hosts: nodes the job must have; excluded: nodes it must not have.
        array_size: number of elements; 0 for no array.
        array_max: the highest index.
    """

    options: Mapping[str, str | None]
    extra_keys: Mapping[str, str]
    shape: Shape
    partitions: tuple[str, ...] = ()
    names_time: bool = False
    time_s: int | None = None
    memory: Memory = field(default_factory=Memory)
    hosts: tuple[str, ...] = ()
    excluded: frozenset[str] = frozenset()
    array_size: int = 0
    array_max: int = 0

    @property
    def cpus_per_node(self) -> int:
        """CPUs of one node that the tasks take."""
        return self.shape.tasks_per_node * self.shape.cpus_per_task

    @property
    def memory_per_node_mib(self) -> int:
        """Memory of one node that the tasks take; 0 when it depends on the node or is not said."""
        if self.memory.per_node_mib is not None:
            return self.memory.per_node_mib
        if self.memory.per_cpu_mib is not None:
            return self.memory.per_cpu_mib * self.cpus_per_node
        if self.memory.per_gpu_mib is not None:
            return self.memory.per_gpu_mib * self.shape.gpus_per_node
        return 0

    def value(self, option: str) -> str:
        """Return the value of a directive; empty when it is not given."""
        return self.options.get(option) or ""

    def key(self, option: str) -> str:
        """Return the key of the job file that gives this directive."""
        return self.extra_keys.get(option, _KEYS.get(option, ""))


def request_of(spec: JobSpec, plan: Plan) -> Request:
    """Read what the plan's directives ask for."""
    options: dict[str, str | None] = {}
    for directive in plan.directives:
        name, value = _split(directive)
        options[name] = value
    extra_keys = {option_of(line)[0]: f"sbatch.{index}" for index, line in enumerate(spec.sbatch)}
    array = options.get("--array")
    indices = _indices(array)
    return Request(
        options=options,
        extra_keys=extra_keys,
        shape=plan.shape,
        partitions=tuple(name for name in (options.get("--partition") or "").split(",") if name),
        names_time=bool(options.get("--time")),
        time_s=_seconds(options.get("--time")),
        memory=Memory(
            _mib(options.get("--mem")),
            _mib(options.get("--mem-per-cpu")),
            _mib(options.get("--mem-per-gpu")),
        ),
        hosts=tuple(_hosts(options.get("--nodelist"))),
        excluded=frozenset(_hosts(options.get("--exclude"))),
        array_size=len(indices),
        array_max=indices[-1] if indices else 0,
    )


def _split(directive: Directive) -> tuple[str, str | None]:
    if directive.value is None:
        return option_of(directive.option)
    return directive.option, directive.value


# Values of `sbatch` lines are the user's own text: what cannot be read here is left to Slurm.


def _indices(array: str | None) -> list[int]:
    if not array:
        return []
    try:
        return array_indices(array.partition("%")[0])
    except ValueError:
        return []


def _seconds(time: str | None) -> int | None:
    try:
        return parse_duration_s(time) if time else None
    except ValueError:
        return None


def _mib(size: str | None) -> int | None:
    try:
        return parse_size_mib(size) if size else None
    except ValueError:
        return None


def _hosts(text: str | None) -> list[str]:
    try:
        return hostlist.expand(text) if text else []
    except SlurmkitError:
        return []
