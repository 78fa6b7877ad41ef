"""What the job asks of Slurm, read back from the directives that the script will carry."""

from collections.abc import Mapping
from dataclasses import dataclass

from slurmkit import hostlist
from slurmkit.plan.model import Plan, Shape
from slurmkit.units import parse_duration_s, parse_size_mib


@dataclass(frozen=True)
class Request:
    """One job's wishes in Slurm's terms.

    Attributes:
        options: the plan's own directives by their long names.
        shape: nodes, tasks, CPUs and GPUs.
        partitions: names in order; empty leaves it to the cluster.
        time_s: the limit; None for none given or UNLIMITED (see ``names_time``).
        memory_mib: memory of each node, MiB; 0 for none named or all that the node has.
        hosts: nodes the job must have; excluded: nodes it must not have.
        array_size: number of elements; 0 for no array.
        array_max: the highest index.
    """

    options: Mapping[str, str | None]
    shape: Shape
    partitions: tuple[str, ...] = ()
    names_time: bool = False
    time_s: int | None = None
    memory_mib: int = 0
    hosts: tuple[str, ...] = ()
    excluded: frozenset[str] = frozenset()
    array_size: int = 0
    array_max: int = 0

    @property
    def cpus_per_node(self) -> int:
        """CPUs of one node that the tasks take."""
        return self.shape.tasks_per_node * self.shape.cpus_per_task

    def value(self, option: str) -> str:
        """Return the value of a directive; empty when it is not given."""
        return self.options.get(option) or ""


def request_of(plan: Plan) -> Request:
    """Read what the plan's directives ask for."""
    # Lines that people wrote hold no option that a key stands for: those are refused before.
    options = {directive.option: directive.value for directive in plan.directives}
    indices = _indices(options.get("--array"))
    cpus = plan.shape.tasks_per_node * plan.shape.cpus_per_task
    return Request(
        options=options,
        shape=plan.shape,
        partitions=tuple(name for name in (options.get("--partition") or "").split(",") if name),
        names_time=bool(options.get("--time")),
        time_s=_seconds(options.get("--time")),
        memory_mib=_mib(options.get("--mem")) or _mib(options.get("--mem-per-cpu")) * cpus,
        hosts=tuple(_hosts(options.get("--nodelist"))),
        excluded=frozenset(_hosts(options.get("--exclude"))),
        array_size=sum(len(span) for span in indices),
        array_max=max((span[-1] for span in indices), default=0),
    )


def _indices(array: str | None) -> list[range]:
    """Return the ranges of ``0-9:2,12%4``, not their numbers: there may be millions."""
    spans = []
    for item in array.partition("%")[0].split(",") if array else []:
        span, _, step = item.partition(":")
        first, _, last = span.partition("-")
        spans.append(range(int(first), int(last or first) + 1, int(step or 1)))
    return spans


def _seconds(time: str | None) -> int | None:
    return parse_duration_s(time) if time else None


def _mib(size: str | None) -> int:
    return parse_size_mib(size) if size else 0


def _hosts(text: str | None) -> list[str]:
    return hostlist.expand(text) if text else []
