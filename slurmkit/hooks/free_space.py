"""slurmkit's own hook: a node whose scratch or shared memory is full is refused at once.

A full /dev/shm ends a data loader by SIGBUS an hour later, and a full /tmp a compilation, each
without a word of the node's name.
"""

import os

from slurmkit.errors import SlurmkitError
from slurmkit.hooks.discover import MIN_FREE
from slurmkit.hooks.spec import hookimpl
from slurmkit.hooks.values import Task
from slurmkit.units import format_size_mib, parse_size_mib


@hookimpl
def node_init(task: Task) -> None:
    """Raise a SlurmkitError where a file system has less room than SLURMKIT_MIN_FREE asks for."""
    for entry in task.environment[MIN_FREE].split(","):
        path, _, size = entry.strip().rpartition("=")
        if not path.startswith("/"):
            raise SlurmkitError(
                f"{MIN_FREE}={task.environment[MIN_FREE]}: expected FOLDER=SIZE",
                hint=f"for example {MIN_FREE}=/dev/shm=8G,/tmp=20G",
            )
        wanted_mib = parse_size_mib(size)
        try:
            stats = os.statvfs(path)
        except OSError as error:
            raise SlurmkitError(f"{path}: {error.strerror}") from error
        free_mib = stats.f_bavail * stats.f_frsize // 1024**2
        if free_mib < wanted_mib:
            raise SlurmkitError(
                f"{path} has {format_size_mib(free_mib)} free, "
                f"and {MIN_FREE} asks for {format_size_mib(wanted_mib)}",
                hint=f"leave the node out with --exclude={task.host}",
            )
