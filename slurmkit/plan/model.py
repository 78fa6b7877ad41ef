"""The plan: everything that the batch script will say, decided and as plain values.

The values are named tuples, which are defined in a fifth of a frozen dataclass's time: every
``slurmkit`` command that plans waits for that.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Literal, NamedTuple

from slurmkit.names import path_component

PLAN_VERSION = 1

Kind = Literal["torch", "mpi", "command"]
Launcher = Literal["srun", "torchrun", "mpirun"]
Runtime = Literal["pyxis", "apptainer"]
Labels = Literal["srun", "torchrun", "openmpi", "hydra", "none"]


@dataclass(frozen=True)
class Variable:
    """A shell variable inside a word; it is expanded, never split."""

    name: str


# One argument of a command, or a path: literal text and variables, in order.
Word = tuple[str | Variable, ...]


class Directive(NamedTuple):
    """One ``#SBATCH`` line.

    Attributes:
        option: the long option such as ``--nodes``, or a whole line that a user wrote.
        value: its value, unquoted; None when the option takes none or is a whole line.
        comment: why it is there; stands above it.
    """

    option: str
    value: str | None = None
    comment: str = ""


class Shape(NamedTuple):
    """How many of what: of each node, but for the nodes themselves.

    Attributes:
        num_nodes: nodes that the program runs on.
        num_spares: nodes that the job holds besides.
    """

    num_nodes: int
    num_spares: int
    tasks_per_node: int
    cpus_per_task: int
    gpus_per_node: int = 0
    gpu_type: str = ""

    @property
    def num_tasks(self) -> int:
        """Ranks of the program."""
        return self.num_nodes * self.tasks_per_node

    @property
    def num_allocated(self) -> int:
        """Nodes of the allocation, spares included."""
        return self.num_nodes + self.num_spares


class Modules(NamedTuple):
    """Environment modules to load, and the shell file that defines the ``module`` command."""

    names: tuple[str, ...]
    init: str
    purge: bool


class Software(NamedTuple):
    """What the script loads before the launch; None and empty mean nothing.

    Attributes:
        venv: folder of a Python virtual environment.
        conda: name of a conda environment, or its folder.
        setup: shell lines, verbatim.
    """

    modules: Modules | None = None
    venv: Word | None = None
    conda: Word | None = None
    setup: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.modules or self.venv or self.conda or self.setup)


class Container(NamedTuple):
    """The image that every task runs in.

    Attributes:
        mounts: ``source:destination[:ro]``, one each.
        options: what srun (pyxis) or ``apptainer exec`` is told, the image not included for the
            latter.
    """

    runtime: Runtime
    image: Word
    mounts: tuple[Word, ...]
    options: tuple[Word, ...]


class Sweep(NamedTuple):
    """A matrix of values; element ``i`` of the array is one combination, the last axis fastest.

    Attributes:
        axes: (variable such as ``SWEEP_LR``, its values) in the order of the job file.
    """

    axes: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def num_elements(self) -> int:
        """Combinations."""
        return prod(len(values) for _, values in self.axes)

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements after which each axis moves on to its next value."""
        sizes = [len(values) for _, values in self.axes]
        return tuple(prod(sizes[axis + 1 :]) for axis in range(len(sizes)))

    def element(self, index: int) -> dict[str, str]:
        """Return the variables of one element of the array."""
        return {
            name: values[index // stride % len(values)]
            for (name, values), stride in zip(self.axes, self.strides, strict=True)
        }


class Checkpoints(NamedTuple):
    """Where, how often and how the program saves; see ``checkpoint`` in job.yaml.

    Attributes:
        dir: absolute, or relative to the element's part of the run directory.
        every: ``auto``, seconds as ``600s``, or steps as ``100``.
        keep: committed checkpoints that are kept.
        asynchronous: whether saving goes on beside the training.
        levels: where copies go, fastest first.
        local_dir: folder of each node for the node-local levels; None when none is used.
    """

    dir: Word
    every: str
    keep: int
    asynchronous: bool
    levels: tuple[str, ...]
    local_dir: Word | None


class Recovery(NamedTuple):
    """What the supervisor does about failures; see ``resilience`` in job.yaml.

    Attributes:
        actions: what to try after a node failure, in order.
        min_nodes: fewest nodes that ``shrink`` goes on with; None without it.
        max_restarts: restarts without progress before giving up.
        heartbeat_s: seconds between a node's signs of life, as text.
        hang: ``auto``, ``off`` or the longest step as ``600s``.
        preflight: ``off``, ``quick`` or ``full``.
    """

    actions: tuple[str, ...]
    min_nodes: int | None
    max_restarts: int
    heartbeat_s: str
    hang: str
    preflight: str


class Step(NamedTuple):
    """The job step that runs the program.

    Attributes:
        launcher: what starts the ranks.
        labels: how lines of the step's output name their rank; None when only the script can tell.
        mpi: Slurm's MPI plugin; ``auto`` when the script has to ask, empty for the cluster's own.
        cpus_per_task: CPUs of each process that Slurm starts.
        srun: options of srun, in order; empty for mpirun.
        without_exec: True when no ``slurmkit exec`` can start the program, because slurmkit is not
            where the tasks run.
        is_python: True when the command starts a Python interpreter, whose torchrun is meant.
        is_script: True when it is ``python SCRIPT ...`` or ``python -m MODULE ...``, which torchrun
            starts by itself; otherwise it starts the whole command as it stands.
        program: what every task starts: container runtime, shell lines, the user's command.
    """

    launcher: Launcher
    labels: Labels | None
    mpi: str
    cpus_per_task: int
    srun: tuple[Word, ...]
    without_exec: bool
    is_python: bool
    is_script: bool
    program: tuple[Word, ...]

    @property
    def maps_ranks(self) -> bool:
        """Tell whether shell lines turn Slurm's variables into those that the program reads."""
        return self.without_exec and self.launcher == "srun"

    @property
    def uses_shell(self) -> bool:
        """Tell whether the tasks run shell lines before the program."""
        return self.maps_ranks or self.launcher == "torchrun"


class Plan(NamedTuple):
    """One job, decided.

    Attributes:
        name: name of the run and of the job.
        kind: which rank variables the program reads; names the template, too.
        slurmkit: absolute path of the slurmkit command on the cluster.
        portable: True for a script that needs no slurmkit on the cluster.
        is_array: True for arrays and sweeps.
        directives: the ``#SBATCH`` lines, in order.
        env: environment of every task, by name; no secrets.
        run_dir: the run's folder; None when the script makes its own under ``run_root``.
        workdir: folder that the program runs in.
        secrets: names of variables whose values never stand in the script.
        warning_signal: name of the signal that announces the end of the time; empty for none.
        checkpoints: where, how often and how the program saves; None when nothing is said of it.
        recovery: what the supervisor does about failures; None when it only watches.
        notes: what the reader of the script has to know or do.
        defaults: variables of ``env`` that a value in the submitter's environment replaces.
    """

    name: str
    kind: Kind
    slurmkit: str
    portable: bool
    is_array: bool
    directives: tuple[Directive, ...]
    shape: Shape
    env: tuple[tuple[str, str], ...]
    run_dir: Word | None
    run_root: Word
    workdir: Word
    software: Software
    container: Container | None
    sweep: Sweep | None
    secrets: tuple[str, ...]
    warning_signal: str
    step: Step
    checkpoints: Checkpoints | None = None
    recovery: Recovery | None = None
    notes: tuple[str, ...] = ()
    defaults: tuple[str, ...] = ()
    version: int = PLAN_VERSION

    @property
    def folder(self) -> str:
        """The folder of this name's runs under the run root; safe in paths and shells."""
        return path_component(self.name)

    def to_json(self) -> str:
        """Return the plan as JSON text, the same for the same plan."""
        import json  # noqa: PLC0415 - the way to a script needs no JSON

        return json.dumps(_plain(self), indent=2) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Variable):
        return {"variable": value.name}
    if hasattr(value, "_asdict"):
        return {name: _plain(item) for name, item in value._asdict().items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
