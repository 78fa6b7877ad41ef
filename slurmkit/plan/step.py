"""The job step: options of srun, and what every task starts."""

import re

from slurmkit.plan.inputs import Inputs
from slurmkit.plan.model import Container, Labels, Shape, Step, Variable, Word
from slurmkit.plan.shape import started_per_node
from slurmkit.plan.words import argument_word, literal

_PYTHON = re.compile(r"python(\d+(\.\d+)*)?")
_LABELS: dict[str, Labels | None] = {"srun": "srun", "torchrun": "torchrun", "mpirun": None}


def choose_step(inputs: Inputs, shape: Shape, container: Container | None) -> Step:
    """Return the step that runs the program."""
    launch = inputs.spec.launch
    if launch.launcher == "mpirun":
        _check_mpirun(inputs, shape, container)
    swept = inputs.spec.sweep.matrix if inputs.spec.sweep is not None else {}
    command = [argument_word(text, swept) for text in launch.command]
    pyxis = container is not None and container.runtime == "pyxis"
    mpi = _mpi_plugin(inputs, asked_later=not inputs.context.portable and container is None)
    is_python = _PYTHON.fullmatch(launch.command[0].rpartition("/")[2]) is not None
    without_exec = inputs.context.portable or pyxis
    shell = launch.launcher == "torchrun" or (without_exec and launch.launcher == "srun")
    return Step(
        launcher=launch.launcher,
        labels=_LABELS[launch.launcher],
        mpi=mpi,
        cpus_per_task=started_per_node(inputs, shape)[1],
        srun=() if launch.launcher == "mpirun" else _srun(inputs, shape, mpi, container),
        without_exec=without_exec,
        is_python=is_python,
        is_script=is_python and _names_script(launch.command[1:]),
        program=_program(launch.launcher, shell, container, command),
    )


def _check_mpirun(inputs: Inputs, shape: Shape, container: Container | None) -> None:
    if container is not None and container.runtime == "pyxis":
        inputs.report(
            "mpirun starts nothing inside a pyxis container, because pyxis is a part of srun",
            key="launch.launcher",
            hint="use launcher: srun, or runtime: apptainer",
            code="launcher",
        )
    if shape.num_spares:
        inputs.report(
            "mpirun would start ranks on the spare nodes, too",
            key="resources.spares",
            hint="use launcher: srun, or no spares",
            code="launcher",
        )


def _mpi_plugin(inputs: Inputs, *, asked_later: bool) -> str:
    """Return Slurm's MPI plugin, ``auto`` to ask on the cluster, or nothing for its default.

    srun(1), --mpi. A site's default of pmix costs every step a server and puts variables into the
    environment that MPI libraries take as an invitation, so torch jobs say none.
    """
    launch = inputs.spec.launch
    if launch.launcher == "mpirun":
        return ""
    if launch.mpi != "auto":
        return launch.mpi
    if launch.kind != "mpi":
        return "none" if launch.kind == "torch" else ""
    if inputs.site.mpi != "auto":
        return inputs.site.mpi
    plugins = inputs.limits.mpi_plugins if inputs.limits is not None else frozenset()
    # The script can look at the program and its MPI, which modules or setup may only bring then.
    if asked_later or not plugins:
        return "auto"
    return next((plugin for plugin in ("pmix", "pmi2") if plugin in plugins), "none")


def _srun(inputs: Inputs, shape: Shape, mpi: str, container: Container | None) -> tuple[Word, ...]:
    """Return srun's options, all sizes explicit: what a step inherits differs by release."""
    tasks, cpus = started_per_node(inputs, shape)
    options = [
        f"--nodes={shape.num_nodes}",
        f"--ntasks={shape.num_nodes * tasks}",
        f"--ntasks-per-node={tasks}",
        f"--cpus-per-task={cpus}",
        # Consecutive ranks share a node, whatever the site's or a surrounding job's default is.
        "--distribution=block",
    ]
    if shape.num_spares:
        options.append("--relative=0")  # the first nodes of the job; the spares are the last
    # Otherwise the other ranks would wait for ever for one that died.
    options += ["--kill-on-bad-exit=1", "--label"]
    words = [literal(option) for option in options]
    if mpi:
        words.append(("--mpi=", Variable("mpi_plugin")) if mpi == "auto" else (f"--mpi={mpi}",))
    if container is not None and container.runtime == "pyxis":
        words += container.options
    return tuple(words)


def _program(
    launcher: str, shell: bool, container: Container | None, command: list[Word]
) -> tuple[Word, ...]:
    starter: list[Word] = []
    if shell:
        starter = [literal("bash"), literal("-c"), (Variable("start_task"),), literal("start-task")]
    prefix: list[Word] = []
    if container is not None and container.runtime == "apptainer":
        prefix = [literal("apptainer"), literal("exec"), *container.options, container.image]
    # torchrun is inside the image; shell lines that only map ranks need no shell in it.
    order = prefix + starter if launcher == "torchrun" else starter + prefix
    return (*order, *command)


def _names_script(arguments: list[str]) -> bool:
    """Tell whether Python's first argument is a script or ``-m``, and not another option."""
    return bool(arguments) and (arguments[0] == "-m" or not arguments[0].startswith("-"))
