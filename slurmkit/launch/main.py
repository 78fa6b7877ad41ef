"""``slurmkit exec``: tell this task its place, then become the program."""

import os

from slurmkit.launch.placement import detect, rank_of, wrong
from slurmkit.launch.rendezvous import is_of_this_job, resolve
from slurmkit.launch.variables import Placement, node_variables, task_variables

USAGE = """\
Usage: slurmkit exec [--env-file FILE]... [--per-node] -- PROGRAM [ARG]...

Set RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT and so on from what srun or mpirun says,
apply the run's secrets, then become PROGRAM.

  --env-file FILE  also set the variables in FILE (lines of NAME='value')
  --per-node       one task per node, for launchers such as torchrun that start the ranks

Example: srun -N2 --ntasks-per-node=4 slurmkit exec -- python train.py
"""

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


def main(args: list[str]) -> int:
    """Become the program; returns an exit code only when that is not possible.

    What is wrong is said by one rank alone, as the others have the same to say.

    Args:
        args: the command line behind ``exec``.
    """
    env = dict(os.environ)
    try:
        env_files, per_node, program = _parse(args)
        if not program:
            os.write(1, USAGE.encode())
            return 0
        apply_files(env, env_files)
        if "SLURMKIT_REQUIRE_SPANK" in env:
            from slurmkit.launch.spank import require_plugin  # noqa: PLC0415 (few ask for it)

            require_plugin(env)
        place = detect(env)
        env |= place_variables(place, env, per_node)
        if env.get("SLURMKIT_HOOKS") or env.get("SLURMKIT_MIN_FREE"):
            _call_hooks(env, place)
        if env.get("SLURMKIT_MPI"):
            from slurmkit.launch.mpi import before_program  # noqa: PLC0415 (MPI jobs alone)

            before_program(env, place, program[0])
        if not _bound(env, place, per_node, program[0]):
            return 1
        if env.get("SLURMKIT_GID") and not _gid_found(env, place):
            return 1
    except _slurmkit_error() as error:
        if rank_of(env) in (None, 0) or _only_others_know(error, env):
            # One line: among those of other programs nobody finds what belongs together.
            _say(f"{error.message} ({error.hint})" if error.hint else error.message)
        return error.exit_code
    if env.get("SLURMKIT_AGENT_SOCKET"):
        from slurmkit.launch.hello import say_hello  # noqa: PLC0415 (only where agents run)

        say_hello(env, place, per_node)
    _undo_python(env)
    return _become(program, env, speaks=place.local_rank == 0)


def _parse(args: list[str]) -> tuple[list[str], bool, list[str]]:
    """Return the environment files, whether it is one task per node, and the program."""
    env_files: list[str] = []
    per_node = False
    position = 0
    while position < len(args):
        arg = args[position]
        position += 1
        if arg == "--":
            break
        if arg in ("-h", "--help"):
            return [], False, []
        if arg == "--per-node":
            per_node = True
        elif arg == "--env-file" and position < len(args):
            env_files.append(args[position])
            position += 1
        elif arg.startswith("--env-file="):
            env_files.append(arg.removeprefix("--env-file="))
        elif arg.startswith("-"):
            raise wrong(f"slurmkit exec has no option {arg}", "see slurmkit exec --help")
        else:
            position -= 1
            break
    if position >= len(args):
        raise wrong("slurmkit exec was given no program", "slurmkit exec -- PROGRAM [ARG]...")
    return env_files, per_node, args[position:]


def apply_files(env: dict[str, str], env_files: list[str]) -> None:
    """Put the variables of the environment files and the run's secrets into the environment.

    Raises:
        UsageError: a file cannot be read, or holds something else.
    """
    run_dir = env.get("SLURMKIT_RUN_DIR") if is_of_this_job(env) else None
    if not env_files and not run_dir:
        return
    from slurmkit.rundir.secretfile import read_env_file, read_secrets  # noqa: PLC0415

    path = ""
    try:
        for path in env_files:
            env.update(read_env_file(path))
        if run_dir:
            path = run_dir
            env.update(read_secrets(run_dir) or {})
    except OSError as error:
        raise wrong(f"cannot read the environment file {path}: {error.strerror}") from error


def place_variables(place: Placement, env: dict[str, str], per_node: bool) -> dict[str, str]:
    """Return all variables that this task's place gives it.

    Raises:
        SlurmkitError: the ranks cannot meet, or ``--per-node`` meets several tasks on a node.
    """
    if per_node and place.local_world_size != 1:
        raise wrong(
            f"slurmkit exec --per-node: this node has {place.local_world_size} tasks, not one",
            "start the step with srun --ntasks-per-node=1",
        )
    values = node_variables(place) if per_node else task_variables(place, env)
    meeting = resolve(place, env)
    if meeting:
        values["MASTER_ADDR"], values["MASTER_PORT"] = meeting
        if per_node:
            # torchrun takes options that are not given from PET_*: its rendezvous is found even
            # when nobody could write the address on its command line yet.
            values["PET_RDZV_ENDPOINT"] = ":".join(meeting)
    return values


def _bound(env: dict[str, str], place: Placement, per_node: bool, program: str) -> bool:
    """Whether the task may start: bound as SLURMKIT_AFFINITY says, or not asked to be."""
    if env.get("SLURMKIT_AFFINITY", "off") == "off":
        return True
    from slurmkit.launch.affinity import bind  # noqa: PLC0415 (costs nothing where it is off)

    return bind(env, place, per_node, program)


def _gid_found(env: dict[str, str], place: Placement) -> bool:
    """Set the GID index of this node's RoCE ports; False when the site wants one and none is."""
    from slurmkit.launch.gid import set_gid_index  # noqa: PLC0415 (only on RoCE fabrics)

    return set_gid_index(env, place)


def _call_hooks(env: dict[str, str], place: Placement) -> None:
    """Let the site's hooks refuse the task or change its environment."""
    from slurmkit.hooks.call import before_task  # noqa: PLC0415 (costs nothing where none is)
    from slurmkit.hooks.values import Task  # noqa: PLC0415

    task = Task(
        rank=place.rank,
        world_size=place.world_size,
        local_rank=place.local_rank,
        host=env.get("SLURMD_NODENAME") or os.uname().nodename,
        node_rank=place.node_rank,
        run_dir=env.get("SLURMKIT_RUN_DIR"),
        environment=env,
    )
    before_task(env, task)


def _only_others_know(error: Exception, env: dict[str, str]) -> bool:
    """Whether rank 0 may not have met this error: it is one of a host, or about rank 0 itself."""
    first_on_host = env.get("SLURM_LOCALID") == "0"
    if ": the hook" in str(error):
        return True  # each hook judges its own task
    if "SPANK plugin" in str(error):
        return first_on_host
    return (first_on_host or rank_of(env) == 1) and "published no address" in str(error)


def _undo_python(env: dict[str, str]) -> None:
    """Undo what starting Python changed and exec would hand on to the program."""
    import signal  # noqa: PLC0415

    # Python ignores SIGPIPE; `program | head` in the user's script relies on the default.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    # In the C locale Python adds LC_CTYPE to its own environment (PEP 538); the kernel still has
    # the environment that this process was started with.
    if env.get("LC_CTYPE", "").upper() in ("C.UTF-8", "C.UTF8", "UTF-8"):
        with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 (no pathlib: every rank runs this)
            if not any(entry.startswith(b"LC_CTYPE=") for entry in file.read().split(b"\0")):
                del env["LC_CTYPE"]


def _become(program: list[str], env: dict[str, str], speaks: bool) -> int:
    """Execute the program; returns, with a shell's exit codes, only when that fails."""
    try:
        os.execvpe(program[0], program, env)  # noqa: S606 (becoming the user's program is the point)
    except OSError as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        if speaks:
            _complain(program[0], env, error, missing)
        return _NOT_FOUND if missing else _NOT_EXECUTABLE


def _complain(name: str, env: dict[str, str], error: OSError, missing: bool) -> None:
    host = os.uname().nodename
    if missing and os.path.exists(name) and "/" in name:  # noqa: PTH110
        reason = "its interpreter (the #! line) does not exist"
    elif missing:
        reason = "no such program" if "/" in name else f"not found in PATH={env.get('PATH', '')}"
    elif error.errno == 8:  # ENOEXEC: a shell would guess that it is a shell script
        reason = "not a program: it has no #! line"
    else:
        reason = "not executable" if isinstance(error, PermissionError) else str(error.strerror)
    _say(f"{host}: cannot run {name}: {reason}")


def _say(message: str) -> None:
    os.write(2, f"slurmkit: error: {message}\n".encode("utf-8", "surrogateescape"))


def _slurmkit_error() -> type["SlurmkitError"]:
    """Return the base of our errors; evaluated only when something was raised."""
    from slurmkit.errors import SlurmkitError  # noqa: PLC0415

    return SlurmkitError


TYPE_CHECKING = False
if TYPE_CHECKING:
    from slurmkit.errors import SlurmkitError
