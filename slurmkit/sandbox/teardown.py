"""Remove a sandbox, running or crashed, so that nothing of it stays."""

import shutil

from slurmkit.sandbox import machine, processes, programs, record
from slurmkit.sandbox.layout import check_name
from slurmkit.sandbox.record import SandboxError


def take_down(name: str) -> bool:
    """Remove a sandbox, running or crashed; return whether there was anything of it.

    Raises:
        UsageError: not root.
        SandboxError: something of it does not end.
    """
    check_name(name)
    programs.require_root()
    with record.locked(name):
        return remove(name)


def remove(name: str) -> bool:
    """Do what :func:`take_down` does, for a caller who holds the lock.

    Namespaces, mounts and links need no undoing: the kernel drops them with the last process.
    """
    folder = record.state_dir(name)
    # The room first: its end is the end of everything in it. Hosts on their own cannot outlive it,
    # but a half-made sandbox is no place to rely on that.
    inits = processes.find_inits(folder)
    for script in sorted(inits, key=lambda path: path.parent != folder):
        if not processes.end(inits[script]):
            raise SandboxError(f"sandbox {name}: process {inits[script].pid} does not end")
    there = folder.exists()
    if there:
        shutil.rmtree(folder)
    return there or bool(inits)


def clear_name(name: str) -> None:
    """Remove what a crash left under this name, for a caller who holds the lock.

    Raises:
        SandboxError: a sandbox of that name runs.
    """
    known = record.read_record(name)
    if known and known[1] == record.PHASE_UP and machine.room(known[0]):
        raise SandboxError(
            f"sandbox {name} is up already",
            hint=f"use it, or take it down first: slurmkit sandbox down --name {name}",
        )
    remove(name)
