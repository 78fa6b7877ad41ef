"""Where the ranks of one step meet: MASTER_ADDR and MASTER_PORT, chosen once and told to all.

Under ``slurmkit supervise`` they are in the environment already. Under a user's own srun rank 0
chooses and publishes them in a small file on a shared file system, and the others wait for it.
The file's name holds all that tells this step from any other, so a file that an earlier job, step
or restart left behind is never looked at.
"""

import os
import time

from slurmkit.launch.placement import first_host, started_by_mpirun, wrong
from slurmkit.launch.variables import Placement

_TIMEOUT_S = 120.0
_STALE_S = 86400.0
_LOCALHOST = ("localhost", "127.", "::1")


def resolve(place: Placement, env: dict[str, str]) -> tuple[str, str] | None:
    """Return MASTER_ADDR and MASTER_PORT of this task's step.

    Args:
        place: the task's place.
        env: its environment.

    Returns:
        None when nothing identifies the launch to all of its ranks (an mpirun without PMIx outside
        Slurm); MPI programs do without.

    Raises:
        UsageError: the address cannot be used by all ranks.
        SlurmkitError: rank 0 did not publish in time.
    """
    given = _given(place, env)
    if given:
        return given
    key = step_key(env)
    if place.world_size == 1:
        return _choose(env)
    if not key:
        return None
    path = os.path.join(folder_of(env), key)  # noqa: PTH118 (no pathlib: every rank runs this)
    if place.rank == 0:
        address, port = _choose(env)
        publish(path, address, port)
        return address, port
    return await_published(path, first_host(env.get("SLURM_STEP_NODELIST", "")), timeout_s(env))


def _given(place: Placement, env: dict[str, str]) -> tuple[str, str] | None:
    """Return what the supervisor or the user put into the environment, if it is for this step."""
    address, port = env.get("MASTER_ADDR"), env.get("MASTER_PORT")
    if not address or not port:
        return None
    host = env.get("SLURMKIT_RENDEZVOUS_HOST")
    if host:
        if not is_of_this_job(env):
            return None  # a job that was submitted from inside another run
        # mpirun starts its daemons by a step that leaves out the node it runs on itself.
        by_mpirun = started_by_mpirun(env)
        step_host = "" if by_mpirun else first_host(env.get("SLURM_STEP_NODELIST", ""))
        if step_host and step_host != host:
            return None  # the port was reserved on a host that this step begins without
        if place.rank == 0 and env.get("SLURMD_NODENAME", host) != host:
            raise wrong(
                f"rank 0 runs on {env['SLURMD_NODENAME']}, but the rendezvous is on {host}",
                "let rank 0 run on the first node of the step (no --distribution=arbitrary)",
            )
    elif (place.num_nodes or 1) > 1 and address.startswith(_LOCALHOST):
        raise wrong(
            f"MASTER_ADDR={address} in a job of {place.num_nodes} nodes: ranks cannot meet there",
            "unset MASTER_ADDR and MASTER_PORT; slurmkit exec chooses them",
        )
    return address, port


def is_of_this_job(env: dict[str, str]) -> bool:
    """Whether SLURMKIT_* variables are this job's, not left over from a job that submitted it."""
    incarnation, job_id = env.get("SLURMKIT_INCARNATION"), env.get("SLURM_JOB_ID")
    return not incarnation or not job_id or incarnation.split(".")[0] == job_id


def _choose(env: dict[str, str]) -> tuple[str, str]:
    """Reserve a port on this host for as long as this process, and the program it becomes, live."""
    from slurmkit.launch.ports import reserve  # noqa: PLC0415 (rank 0 alone needs sockets)

    port, holder = reserve(seed(env))
    if holder:
        # The reservation has to live on in the program: leave the descriptor open through exec.
        os.set_inheritable(holder.detach(), True)
    return master_address(env), str(port)


def seed(env: dict[str, str]) -> int:
    """Return where this step begins to look for a port."""
    job, step = env.get("SLURM_JOB_ID", ""), env.get("SLURM_STEP_ID", "")
    if not job.isdigit():
        return os.getpid()
    return int(job) * 64 + (int(step) % 64 if step.isdigit() else 0)


def master_address(env: dict[str, str]) -> str:
    """Return the name of this host that other nodes reach it by.

    That is its name in Slurm, and what ``SLURMKIT_MASTER_ADDR_SUFFIX`` adds to it where a fabric's
    interface has a name of its own, such as ``-ib0``.
    """
    host = env.get("SLURMD_NODENAME") or os.uname().nodename
    return host + env.get("SLURMKIT_MASTER_ADDR_SUFFIX", "")


def step_key(env: dict[str, str]) -> str:
    """Return a file name that only the tasks of one launch derive; empty when nothing tells it.

    srun's own port is in it because job ids begin anew when a controller loses its state.
    """
    # mpirun starts its daemons on other nodes by a step; its own node has none.
    namespace = env.get("PMIX_NAMESPACE", "") if started_by_mpirun(env) else ""
    if not namespace and env.get("SLURM_STEP_ID") and env.get("SLURM_JOB_ID"):
        names = (
            "SLURM_CLUSTER_NAME",
            "SLURM_JOB_ID",
            "SLURM_STEP_ID",
            "SLURM_RESTART_COUNT",
            "SLURM_SRUN_COMM_HOST",
            "SLURM_SRUN_COMM_PORT",
        )
        parts = [env.get(name, "0") for name in names]
    elif namespace:
        parts = ["mpirun", namespace]
    else:
        return ""
    return "_".join(parts).replace("/", "-")


def folder_of(env: dict[str, str]) -> str:
    """Return the folder to publish in: the run's, else one of the user's own."""
    join = os.path.join
    run_dir = env.get("SLURMKIT_RUN_DIR")
    if run_dir and is_of_this_job(env):
        task = env.get("SLURM_ARRAY_TASK_ID")
        element = join(run_dir, "array", task) if task else run_dir
        if os.path.isdir(join(element, "rendezvous")):  # noqa: PTH112
            return join(element, "rendezvous")
    if env.get("SLURMKIT_RENDEZVOUS_DIR"):
        return env["SLURMKIT_RENDEZVOUS_DIR"]
    cache = env.get("XDG_CACHE_HOME") or join(env.get("HOME", ""), ".cache")
    return join(cache, "slurmkit", "rendezvous")


def timeout_s(env: dict[str, str]) -> float:
    """Return how long the ranks of a step wait for each other, seconds."""
    text = env.get("SLURMKIT_RENDEZVOUS_TIMEOUT_S", "")
    try:
        return float(text) if text else _TIMEOUT_S
    except ValueError:
        raise wrong(f"SLURMKIT_RENDEZVOUS_TIMEOUT_S={text!r} is not a number") from None


def publish(path: str, address: str, port: str) -> None:
    """Write the address for the other ranks; sweeps what other steps left there days ago."""
    from slurmkit.rundir.atomic import atomic_write  # noqa: PLC0415 (rank 0 alone writes)

    folder = os.path.dirname(path)  # noqa: PTH120
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
        atomic_write(path, f"{address} {port}\n", mode=0o600)
    except OSError as error:
        raise wrong(
            f"rank 0 cannot publish its address in {folder}: {error.strerror}",
            "set SLURMKIT_RENDEZVOUS_DIR to a writable folder that all nodes share",
        ) from error
    sweep(folder)


def sweep(folder: str) -> None:
    """Remove what other steps left there days ago."""
    oldest = time.time() - _STALE_S
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                if entry.stat().st_mtime < oldest:
                    os.unlink(entry.path)  # noqa: PTH108
            except FileNotFoundError:
                pass  # another step swept it


def await_published(path: str, host: str, timeout_s: float) -> tuple[str, str]:
    """Return what rank 0 published, as soon as it has.

    Args:
        path: the file.
        host: where rank 0 runs, for the error message.
        timeout_s: how long to wait, seconds.

    Raises:
        SlurmkitError: nothing was there in time.
    """
    text = await_text(path, timeout_s)
    if text:
        address, port = text.split()
        return address, port
    from slurmkit.errors import SlurmkitError  # noqa: PLC0415

    raise SlurmkitError(
        f"rank 0 on {host or 'its host'} published no address in {path} within "
        f"{timeout_s:g} s (looked from {os.uname().nodename})",
        hint="see whether rank 0 started, and whether both hosts share that folder; "
        "SLURMKIT_RENDEZVOUS_DIR names another",
    )


def await_text(path: str, timeout_s: float) -> str:
    """Return a file's text as soon as it is there; empty when it was not in time."""
    for _ in pauses(timeout_s):
        if text := read_text(path):
            return text
    return ""


def pauses(timeout_s: float) -> "Iterator[None]":
    """Yield, with longer and longer pauses, until the time is over; once more at its end."""
    deadline = time.monotonic() + timeout_s
    pause_s = 0.01
    while True:
        late = time.monotonic() > deadline
        yield
        if late:
            return
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 1.0)


def read_text(path: str) -> str:
    """Return the file's text; empty when it is not there yet."""
    try:
        # An NFS client believes for up to a minute that a missing name is missing; opening the
        # folder makes it ask the server again.
        os.close(os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY))  # noqa: PTH120
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return ""
    try:
        return os.read(descriptor, 65536).decode()
    finally:
        os.close(descriptor)


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
