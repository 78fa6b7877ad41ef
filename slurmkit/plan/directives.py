"""The ``#SBATCH`` lines of a job."""

from collections.abc import Iterator, Sequence

from slurmkit.plan.inputs import Inputs
from slurmkit.plan.model import Directive, Shape, Sweep
from slurmkit.plan.recovery import recovery_directives
from slurmkit.plan.shape import choose_partition, choose_time, started_per_node
from slurmkit.spec.models import is_job_id
from slurmkit.units import format_size_mib, format_slurm_time, parse_duration_s, parse_size_mib

# sbatch(1), --dependency, by the words of the job file.
_CONDITIONS = {"ok": "afterok", "any": "afterany", "notok": "afternotok", "start": "after"}


def choose_directives(inputs: Inputs, shape: Shape, sweep: Sweep | None) -> tuple[Directive, ...]:
    """Return all lines in the order they stand in the script; what people wrote comes last."""
    return (
        Directive("--job-name", inputs.spec.name),
        *_sizes(inputs, shape),
        *_places(inputs),
        *_array(inputs, sweep),
        *_dependencies(dependencies(inputs)),
        *recovery_directives(inputs),
        *_log(inputs, is_array=bool(sweep or inputs.spec.array)),
        *_extra(inputs, "site.sbatch", inputs.site.sbatch),
        *_extra(inputs, "sbatch", inputs.spec.sbatch),
    )


def dependencies(inputs: Inputs) -> tuple[tuple[str, str], ...]:
    """Return the jobs to wait for: those looked up, else those that the job file names by id."""
    named = ((after.when, str(after.run)) for after in inputs.spec.after if is_job_id(after.run))
    return inputs.context.dependencies or tuple(named)


def unresolved(inputs: Inputs) -> tuple[str, ...]:
    """Return what to tell the reader about runs to wait for that nobody has looked up."""
    if inputs.context.dependencies:
        return ()
    return tuple(
        f"This job comes after the run {after.run}; for plain sbatch, find its job id and add"
        f" --dependency={_CONDITIONS[after.when]}:ID"
        for after in inputs.spec.after
        if not is_job_id(after.run)
    )


def _sizes(inputs: Inputs, shape: Shape) -> Iterator[Directive]:
    comment = ""
    if shape.num_spares:
        comment = f"{shape.num_nodes} for the program and {shape.num_spares} in reserve"
    tasks, cpus = started_per_node(inputs, shape)
    yield Directive("--nodes", str(shape.num_allocated), comment)
    yield Directive("--ntasks-per-node", str(tasks))
    yield Directive("--cpus-per-task", str(cpus))
    if shape.gpus_per_node:
        kind = f":{shape.gpu_type}" if shape.gpu_type else ""
        # The one form that every release takes: 26.05 refuses --gres=gpu beside --gpus-per-node.
        yield Directive("--gres", f"gpu{kind}:{shape.gpus_per_node}")
    yield from _memory(inputs, shape)
    time = choose_time(inputs)
    if time is not None:
        yield Directive("--time", format_slurm_time(parse_duration_s(time)))


def _memory(inputs: Inputs, shape: Shape) -> Iterator[Directive]:
    if inputs.spec.resources.memory is None:
        return
    amount, _, per = str(inputs.spec.resources.memory).partition("/")
    size_mib = parse_size_mib(amount)
    if per == "cpu":
        yield Directive("--mem-per-cpu", format_size_mib(size_mib))
    elif per != "gpu":
        if size_mib:
            yield Directive("--mem", format_size_mib(size_mib))
        else:
            yield Directive("--mem", "0", "all of each node's")
    else:
        # Said per node, because Slurm counts --mem-per-gpu only for some ways to ask for GPUs.
        total = format_size_mib(size_mib * shape.gpus_per_node)
        yield Directive("--mem", total, f"{amount} for each GPU")


def _places(inputs: Inputs) -> Iterator[Directive]:
    resources = inputs.spec.resources
    choices = {
        "--partition": choose_partition(inputs),
        "--account": resources.account or inputs.site.default_account,
        "--qos": resources.qos,
        "--reservation": resources.reservation,
        "--constraint": resources.constraint,
        "--nodelist": resources.nodelist,
        "--exclude": resources.exclude,
        "--licenses": resources.licenses,
    }
    for option, value in choices.items():
        if value is not None:
            yield Directive(option, value)
    if resources.exclusive:
        yield Directive("--exclusive")


def _array(inputs: Inputs, sweep: Sweep | None) -> Iterator[Directive]:
    spec = inputs.spec
    if sweep is not None and spec.sweep is not None:
        indices, limit = f"0-{sweep.num_elements - 1}", spec.sweep.limit
    elif spec.array is not None:
        indices, limit = spec.array.indices, spec.array.limit
    else:
        return
    yield Directive("--array", f"{indices}%{limit}" if limit else indices)


def _dependencies(pairs: Sequence[tuple[str, str]]) -> Iterator[Directive]:
    ids: dict[str, list[str]] = {}
    for condition, job_id in pairs:
        ids.setdefault(_CONDITIONS[condition], []).append(job_id)
    if ids:
        value = ",".join(":".join((condition, *jobs)) for condition, jobs in ids.items())
        yield Directive("--dependency", value)
        yield Directive("--kill-on-invalid-dep", "yes", "instead of waiting for ever")


def _log(inputs: Inputs, *, is_array: bool) -> Iterator[Directive]:
    name = "slurm-%A_%a.out" if is_array else "slurm-%j.out"
    run_dir = inputs.context.run_dir
    if run_dir is not None:
        if "\\" in run_dir:
            # sbatch(1), "filename pattern": a backslash switches all replacement off.
            message = f"the run directory {run_dir!r} holds a backslash, so Slurm would not put"
            inputs.report(f"{message} the job id into the name of its log", key="name")
        name = f"{run_dir.replace('%', '%%')}/logs/{name}"
    yield Directive("--output", name)
    yield Directive("--open-mode", "append", "a requeued job keeps what it wrote before")


def _extra(inputs: Inputs, key: str, lines: Sequence[str]) -> Iterator[Directive]:
    for index, line in enumerate(lines):
        text = line.strip().removeprefix("#SBATCH").strip()
        if text.startswith("-") and text.isprintable():
            yield Directive(text)
        else:
            inputs.report(
                f"{line!r} is not an option of sbatch",
                key=f"{key}.{index}",
                hint="write one line such as --mail-type=END",
                code="directive",
            )
