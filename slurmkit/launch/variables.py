"""The one table of what launchers call a task's place in the job, and what follows from it.

Concepts are rows, conventions are columns. A task's place is read from the column of whoever
started it and written to the columns that programs read.
"""

#: Concept -> convention -> variables. Of several, readers take the first that is set and writers
#: set all. A missing entry means that the convention has no variable for the concept.
TABLE: dict[str, dict[str, tuple[str, ...]]] = {
    "rank": {
        "slurm": ("SLURM_PROCID",),
        "torch": ("RANK",),
        "openmpi": ("OMPI_COMM_WORLD_RANK",),
        "pmi": ("PMI_RANK",),
        "pmix": ("PMIX_RANK",),
    },
    "world_size": {
        # In a step the job-wide counts describe the allocation, and what an outer step left behind.
        "slurm": ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"),
        "torch": ("WORLD_SIZE",),
        "openmpi": ("OMPI_COMM_WORLD_SIZE",),
        "pmi": ("PMI_SIZE",),
    },
    "local_rank": {
        "slurm": ("SLURM_LOCALID",),
        "torch": ("LOCAL_RANK",),
        # Open MPI's NODE_RANK is no node's number: it is the process's number on its node, counted
        # over all jobs there (Open MPI FAQ, "environment variables").
        "openmpi": ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_NODE_RANK"),
        "hydra": ("MPI_LOCALRANKID",),
    },
    "local_world_size": {
        "slurm": ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"),
        "torch": ("LOCAL_WORLD_SIZE",),
        "openmpi": ("OMPI_COMM_WORLD_LOCAL_SIZE",),
        "hydra": ("MPI_LOCALNRANKS",),
    },
    "node_rank": {
        "slurm": ("SLURM_NODEID",),
        "torch": ("GROUP_RANK", "NODE_RANK"),
    },
    "num_nodes": {
        "slurm": ("SLURM_STEP_NUM_NODES", "SLURM_NNODES", "SLURM_JOB_NUM_NODES"),
    },
}

#: What the conventions are, for people.
CONVENTIONS = {
    "slurm": "Slurm",
    "torch": "PyTorch",
    "openmpi": "Open MPI",
    "pmi": "PMI (MPICH, Intel MPI)",
    "pmix": "PMIx",
    "hydra": "Hydra (MPICH, Intel MPI)",
}

# Variables whose presence says that an MPI launch plugin has prepared this task.
_PMI_MARKS = ("PMI_FD", "PMI_PORT", "PMI_RANK", "PMIX_RANK", "PMIX_NAMESPACE")


class Placement:
    """One task's place in the job.

    Attributes:
        rank: number of the task, from 0.
        world_size: number of tasks.
        local_rank: number of the task on its node, from 0.
        local_world_size: number of tasks on this node.
        node_rank: number of the node, from 0; None when the launcher does not tell.
        num_nodes: number of nodes; None when the launcher does not tell.
    """

    __slots__ = ("local_rank", "local_world_size", "node_rank", "num_nodes", "rank", "world_size")

    def __init__(
        self,
        rank: int,
        world_size: int,
        local_rank: int,
        local_world_size: int,
        node_rank: int | None = None,
        num_nodes: int | None = None,
    ) -> None:
        self.rank = rank
        self.world_size = world_size
        self.local_rank = local_rank
        self.local_world_size = local_world_size
        self.node_rank = node_rank
        self.num_nodes = num_nodes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Placement) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    def __hash__(self) -> int:
        return hash((self.rank, self.world_size, self.local_rank, self.node_rank))

    def __repr__(self) -> str:
        return f"Placement({', '.join(f'{n}={getattr(self, n)}' for n in sorted(self.__slots__))})"


def lookup(env: dict[str, str], concept: str, convention: str) -> tuple[str, str] | None:
    """Return the variable that tells a concept and its value; None when no such variable is set."""
    for name in TABLE[concept].get(convention, ()):
        if env.get(name):
            return name, env[name]
    return None


def task_variables(place: Placement, env: dict[str, str]) -> dict[str, str]:
    """Return every variable that tells a program its place, for one program per task.

    PMI_RANK and PMI_SIZE are more than information. A program that initialises MPI through PMI
    takes them, together with PMI_FD or PMI_PORT, as its connection to the launcher. Where an MPI
    plugin of Slurm, or an mpirun, has prepared the task, the right ones are there, or PMIx is used
    and the program must not be led to PMI: nothing is touched. Only where there is no trace of
    either they are set, for the scripts that read them; MPI libraries ignore them then, because
    without PMI_FD and PMI_PORT they start as a single process without looking further.
    """
    conventions = ["torch", "openmpi", "hydra"]
    if not mpi_plugin_active(env):
        conventions.append("pmi")
    return _written(place, tuple(TABLE), conventions)


def node_variables(place: Placement) -> dict[str, str]:
    """Return the variables for one launcher per node, such as torchrun.

    It gives its workers ranks of its own; ranks of tasks would only mislead them.
    """
    return _written(place, ("node_rank",), ["torch"])


def _written(place: Placement, concepts: tuple[str, ...], conventions: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for concept in concepts:
        value = getattr(place, concept)
        if value is not None:
            for convention in conventions:
                for name in TABLE[concept].get(convention, ()):
                    values[name] = str(value)
    return values


def mpi_plugin_active(env: dict[str, str]) -> bool:
    """Whether an MPI launch plugin, or an mpirun, has prepared this task."""
    return any(name in env for name in _PMI_MARKS) or env.get("SLURM_MPI_TYPE", "none") != "none"


def reference_table() -> str:
    """Return the table in Markdown, for docs/reference/environment.md."""
    header = " | ".join(CONVENTIONS.values())
    lines = [f"| concept | {header} |", f"|---|{'---|' * len(CONVENTIONS)}"]
    for concept, columns in TABLE.items():
        cells = [", ".join(f"`{n}`" for n in columns.get(key, ())) or "-" for key in CONVENTIONS]
        lines.append(f"| {concept.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
