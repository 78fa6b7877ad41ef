"""Combinations that no cluster could run, though each part alone is right."""

import posixpath
from collections.abc import Callable, Iterator

from slurmkit.errors import Problem
from slurmkit.reserved import refused_option
from slurmkit.spec.finding import Finding
from slurmkit.spec.models import LAUNCHERS, JobSpec, gpu_count
from slurmkit.spec.rules_recovery import RECOVERY_RULES
from slurmkit.spec.rules_values import VALUE_RULES
from slurmkit.yamlfile.nodes import SourceMap, by_place

_STARTERS = frozenset({"srun", "sbatch", "salloc", "mpirun", "mpiexec", "torchrun"})


def broken_rules(spec: JobSpec, source: SourceMap) -> list[Problem]:
    """Return every problem of the combination, errors and warnings, with its place."""
    found = [finding.problem(source) for rule in RULES for finding in rule(spec)]
    return sorted(found, key=by_place)


def _launcher(spec: JobSpec) -> Iterator[Finding]:
    launch = spec.launch
    fitting = LAUNCHERS[launch.kind]
    if launch.launcher not in fitting:
        yield Finding(
            f"{launch.launcher} does not start programs of kind {launch.kind}",
            "launch.launcher",
            f"Use {' or '.join(fitting)} for kind {launch.kind}, or change launch.kind.",
        )
    if launch.launcher == "mpirun" and launch.mpi != "auto":
        yield Finding(
            "mpirun takes no MPI plugin of Slurm's; the value has no effect",
            "launch.mpi",
            "Remove it, or use launcher: srun.",
            warning=True,
        )


def _program(spec: JobSpec) -> Iterator[Finding]:
    launch = spec.launch
    program = launch.command[0]
    if not program.strip():
        yield Finding("the program's name is empty", "launch.command.0", code="not-allowed")
        return
    name = posixpath.basename(program)
    if name not in _STARTERS:
        return
    if name == "torchrun" and launch.launcher == "torchrun":
        yield Finding(
            "the launcher is torchrun already",
            "launch.command.0",
            "Write the command that each rank runs: [python, train.py].",
        )
    else:
        yield Finding(
            f"every rank would start {name}, since {launch.launcher} starts the command once per"
            " rank",
            "launch.command.0",
            f"Write the command that each rank runs, without {name}.",
            warning=True,
        )


def _memory_per_gpu(spec: JobSpec) -> Iterator[Finding]:
    per_gpu = str(spec.resources.memory or "").endswith("/gpu")
    if per_gpu and not gpu_count(spec.resources.gpus_per_node):
        yield Finding(
            "memory per GPU, but the job asks for no GPUs",
            "resources.memory",
            "Write 64G for each node or 4G/cpu, or set resources.gpus_per_node.",
        )


def _hosts(spec: JobSpec) -> Iterator[Finding]:
    if spec.resources.nodelist is None and spec.resources.exclude is None:
        return
    from slurmkit import hostlist  # noqa: PLC0415 - few jobs name hosts

    named: dict[str, list[str]] = {}
    for key, text in (
        ("nodelist", spec.resources.nodelist),
        ("exclude", spec.resources.exclude),
    ):
        try:
            named[key] = hostlist.expand(text) if text else []
        except hostlist.HostlistError as error:
            yield Finding(error.message, f"resources.{key}", error.hint, code="not-allowed")
            return
    wanted = spec.resources.nodes + spec.resources.spares
    hosts = set(named["nodelist"])
    if len(hosts) > wanted:
        spares = " with its spares" if spec.resources.spares else ""
        yield Finding(
            f"names {len(hosts)} hosts, and the job has {wanted} nodes{spares}",
            "resources.nodelist",
            "Every host named here must be part of the job: name fewer, or raise resources.nodes.",
        )
    if both := sorted(hosts & set(named["exclude"])):
        yield Finding(
            f"excludes {hostlist.compress(both)}, which nodelist demands",
            "resources.exclude",
            "Take the host out of one of the two.",
        )


def _software(spec: JobSpec) -> Iterator[Finding]:
    software = spec.software
    if software.venv is not None and software.conda is not None:
        yield Finding(
            "venv and conda exclude each other: each puts its own python first",
            "software.conda",
            "Keep one of the two.",
        )
    targets: dict[str, int] = {}
    mounts = software.container.mounts if software.container is not None else []
    for index, text in enumerate(mounts):
        key = f"software.container.mounts.{index}"
        source, _, rest = text.partition(":")
        target, _, flags = rest.partition(":")
        target = target or source
        if not source or ":" in flags or not target.startswith(("/", "~")):
            yield Finding(
                f"{text!r} is not a mount",
                key,
                "Write source:/destination or source:/destination:ro.",
                code="not-allowed",
            )
        elif target in targets:
            yield Finding(
                f"mounts something at {target}, where entry {targets[target]} mounts already", key
            )
        targets.setdefault(target, index)


def _after(spec: JobSpec) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for index, item in enumerate(spec.after):
        run = str(item.run)
        if not run.strip():
            yield Finding("the name of the run is empty", f"after.{index}", code="not-allowed")
        elif run == spec.name:
            yield Finding(
                "names this job itself: it waits for the last run of that name before it",
                f"after.{index}",
                "Name another run if that is not meant.",
                warning=True,
            )
        if seen.setdefault(run, item.when) != item.when:
            yield Finding(
                f"{run!r} stands here with when: {item.when} and when: {seen[run]}",
                f"after.{index}",
                "Keep one of the two.",
            )


def _directives(spec: JobSpec) -> Iterator[Finding]:
    has_gpus = gpu_count(spec.resources.gpus_per_node) > 0
    for index, line in enumerate(spec.sbatch):
        refused = refused_option(line, has_gpus=has_gpus)
        if refused is not None:
            message, hint, key = refused
            code = "duplicate-option" if key else "refused-option"
            yield Finding(message, f"sbatch.{index}", hint, code=code)


RULES: tuple[Callable[[JobSpec], Iterator[Finding]], ...] = (
    _launcher,
    _program,
    _memory_per_gpu,
    _hosts,
    _software,
    _after,
    *RECOVERY_RULES,
    _directives,
    *VALUE_RULES,
)
