"""Read a task's place in the job from what its launcher left in the environment."""

from slurmkit.launch.variables import TABLE, Placement, lookup


def detect(env: dict[str, str]) -> Placement:
    """Return this task's place.

    An mpirun inside a Slurm job is the inner of two launchers, so its variables win; it is told
    from Slurm's own PMI and PMIx plugins, which set some of the same variables, by what they set
    besides.

    Raises:
        UsageError: a variable is missing or contradicts another.
    """
    if started_by_mpirun(env):
        return from_mpi(env)
    if any(env.get(TABLE[concept]["slurm"][0]) for concept in ("rank", "local_rank", "node_rank")):
        return from_slurm(env)
    if any(lookup(env, "rank", convention) for convention in ("openmpi", "pmix", "pmi")):
        return from_mpi(env)
    raise wrong(
        "this is no task of a Slurm step or of mpirun: SLURM_PROCID is not set",
        "start it as srun ... slurmkit exec -- PROGRAM; without Slurm, use slurmkit run",
    )


def rank_of(env: dict[str, str]) -> int | None:
    """Return the task's rank if anything tells it, also when the rest is wrong."""
    order = ("openmpi", "pmix", "pmi", "slurm")
    for convention in order if started_by_mpirun(env) else reversed(order):
        found = lookup(env, "rank", convention)
        if found and found[1].isdigit():
            return int(found[1])
    return None


def started_by_mpirun(env: dict[str, str]) -> bool:
    """Whether an mpirun, and not srun, started this process itself."""
    # Slurm's plugin names its PMIx namespace slurm.pmix.JOB.STEP; Open MPI's mpirun does not.
    namespace = env.get("PMIX_NAMESPACE", "")
    if namespace:
        return not namespace.startswith("slurm.")
    # Hydra tells every process its PMI connection and its place on the node; Slurm only the first.
    return ("PMI_FD" in env or "PMI_PORT" in env) and "MPI_LOCALRANKID" in env


def from_slurm(env: dict[str, str]) -> Placement:
    """Return the place of a task that srun started.

    Raises:
        UsageError: a variable is missing or contradicts another.
    """
    if env.get("SLURM_JOB_ID") and not env.get("SLURM_STEP_ID") and env.get("SLURM_NTASKS") != "1":
        # sbatch gives the batch shell SLURM_PROCID=0; taken at its word, it would wait for ever.
        raise wrong(
            "this is the batch script of a job, not a task: SLURM_STEP_ID is not set",
            "put srun before slurmkit exec",
        )
    node_rank = _number(env, "node_rank", "slurm")
    tasks = lookup(env, "local_world_size", "slurm")
    world_size = _number(env, "world_size", "slurm")
    nodes = lookup(env, "num_nodes", "slurm")
    place = Placement(
        rank=_number(env, "rank", "slurm"),
        world_size=world_size,
        local_rank=_number(env, "local_rank", "slurm"),
        local_world_size=world_size
        if tasks is None
        else tasks_on_node(*tasks, _position_in_lists(env, node_rank)),
        node_rank=node_rank,
        num_nodes=_number(env, "num_nodes", "slurm") if nodes else None,
    )
    _check(place, env, "slurm")
    return place


def from_mpi(env: dict[str, str]) -> Placement:
    """Return the place of a process that mpirun or mpiexec started.

    Raises:
        UsageError: a variable is missing or contradicts another.
    """
    ranks = ("openmpi", "pmix", "pmi")
    rank_by = next((name for name in ranks if lookup(env, "rank", name)), "openmpi")
    size_by = "openmpi" if lookup(env, "world_size", "openmpi") else "pmi"
    local_by = "openmpi" if lookup(env, "local_rank", "openmpi") else "hydra"
    if not lookup(env, "world_size", size_by):
        raise _missing("OMPI_COMM_WORLD_SIZE or PMI_SIZE", "start it by mpirun or srun")
    if not lookup(env, "local_rank", local_by):
        raise _missing(
            "OMPI_COMM_WORLD_LOCAL_RANK or MPI_LOCALRANKID", "start it by mpirun or srun"
        )
    place = Placement(
        rank=_number(env, "rank", rank_by),
        world_size=_number(env, "world_size", size_by),
        local_rank=_number(env, "local_rank", local_by),
        local_world_size=_number(env, "local_world_size", local_by),
    )
    _check(place, env, rank_by)
    if place.local_world_size == place.world_size:
        place.node_rank, place.num_nodes = 0, 1
    else:
        place.node_rank = _node_in_allocation(env)
    return place


def _position_in_lists(env: dict[str, str], node_rank: int) -> int:
    """Return this node's entry in lists of the step's nodes.

    A heterogeneous job numbers its nodes by component and sorts its lists by name (22.05 to 26.05).
    """
    node, nodelist = env.get("SLURMD_NODENAME"), env.get("SLURM_STEP_NODELIST")
    if "SLURM_HET_SIZE" not in env or not node or not nodelist:
        return node_rank
    from slurmkit.hostlist import expand  # noqa: PLC0415 (only here do ranks need it)

    hosts = expand(nodelist)
    return hosts.index(node) if node in hosts else node_rank


def _node_in_allocation(env: dict[str, str]) -> int | None:
    """Return this node's number in the Slurm allocation that mpirun spreads over; None outside."""
    node, nodelist = env.get("SLURMD_NODENAME"), env.get("SLURM_JOB_NODELIST")
    if not node or not nodelist:
        return None
    from slurmkit.hostlist import expand  # noqa: PLC0415 (only here do ranks need it)

    hosts = expand(nodelist)
    return hosts.index(node) if node in hosts else None


def tasks_on_node(name: str, text: str, node_rank: int) -> int:
    """Return one node's entry of a list like ``2(x3),1``, two tasks on three nodes and then one.

    Args:
        name: the variable, for the error message.
        text: its value.
        node_rank: which node, from 0.

    Raises:
        UsageError: the list is none, or has no such node.
    """
    nodes = 0
    for part in text.split(","):
        count, _, rest = part.partition("(x")
        repeat = rest.removesuffix(")") or "1"
        if not (count.isdigit() and repeat.isdigit()):
            raise wrong(f"{name}={text!r} is no list of tasks per node such as 2(x3),1")
        nodes += int(repeat)
        if node_rank < nodes:
            return int(count)
    raise wrong(f"{name}={text} has {nodes} nodes, but this is node {node_rank} (SLURM_NODEID)")


def first_host(hostlist: str) -> str:
    """Return the first host of a hostlist without expanding the rest: ``n[3-9]-ib,x`` is n3-ib."""
    host, inside, skip = "", False, False
    for char in hostlist:
        if char == "[":
            inside = True
        elif char == "]":
            inside = skip = False
        elif inside and char in ",-":
            skip = True
        elif not inside and char == ",":
            break
        elif not skip:
            host += char
    return host


def _number(env: dict[str, str], concept: str, convention: str) -> int:
    found = lookup(env, concept, convention)
    if found is None:
        raise _missing(TABLE[concept][convention][0], "the task's environment was changed")
    name, text = found
    if not (text.isascii() and text.isdigit()):
        raise wrong(f"{name}={text!r} is not a number")
    return int(text)


def _check(place: Placement, env: dict[str, str], convention: str) -> None:
    """Refuse a place that cannot be: better one line now than ranks that wait for each other."""
    pairs = (
        ("rank", place.rank, "world_size", place.world_size),
        ("local_rank", place.local_rank, "local_world_size", place.local_world_size),
        ("node_rank", place.node_rank, "num_nodes", place.num_nodes),
    )
    for number, value, count, limit in pairs:
        if value is not None and limit is not None and value >= limit:
            names = [_name(env, concept, convention) for concept in (number, count)]
            raise wrong(
                f"{names[0]}={value} does not fit {names[1]}={limit}: they count from 0",
                "variables of another job or step are in the way; unset them before srun",
            )


def _name(env: dict[str, str], concept: str, convention: str) -> str:
    found = lookup(env, concept, convention)
    return found[0] if found else concept


def _missing(name: str, hint: str) -> Exception:
    return wrong(f"{name} is not set", f"{hint}; unset what is in the way, or check --export")


def wrong(message: str, hint: str = "") -> Exception:
    """Return a usage error; its module is loaded only now, as most ranks never need it."""
    from slurmkit.errors import UsageError  # noqa: PLC0415

    return UsageError(message, hint=hint)
