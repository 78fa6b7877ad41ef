"""Run programs on the hosts of a sandbox."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from slurmkit.errors import UsageError
from slurmkit.sandbox import enter, machine, processes, scripts
from slurmkit.sandbox.layout import CONTROLLER, LOGIN, Layout
from slurmkit.sandbox.record import SandboxError


def check_host(layout: Layout, host: str) -> None:
    """Raise a UsageError unless the sandbox has a host of that name."""
    if host not in layout.hosts:
        raise UsageError(
            f"sandbox {layout.name} has no host {host!r}",
            hint=f"its hosts are {CONTROLLER}, {LOGIN} and {layout.node_range}",
        )


def running_init(layout: Layout, host: str) -> processes.Process:
    """Return process 1 of a host.

    Raises:
        UsageError: there is no such host.
        SandboxError: it does not run.
    """
    check_host(layout, host)
    init = machine.inits(layout).get(host)
    if init is None:
        raise SandboxError(
            f"{host} of sandbox {layout.name} does not run",
            hint=f"slurmkit sandbox heal {host} --name {layout.name}",
        )
    return init


def entry_command(
    layout: Layout, host: str, argv: Sequence[str | Path], cwd: Path | str | None
) -> list[str]:
    """Return the command that runs ``argv`` on a host.

    Args:
        layout: the sandbox.
        host: name of the host.
        argv: program and arguments.
        cwd: folder on the host; None for the current one, or the shared folder where the host does
            not see that.

    Raises:
        SandboxError: the host does not run.
    """
    return [
        *(sys.executable, "-I", "-S", enter.__file__, str(running_init(layout, host).pid)),
        str(cwd) if cwd is not None else str(Path.cwd()),
        str(layout.shared_dir) if cwd is None else "",
        *(str(word) for word in argv),
    ]


def environment(layout: Layout, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment as it is right on a host.

    The caller's PATH may lack the sbin folders, and its SLURM_CONF may name another cluster.

    Args:
        layout: the sandbox.
        extra: variables on top.
    """
    env = {**os.environ, "SLURM_CONF": str(layout.slurm_conf_path), **(extra or {})}
    path = [p for p in enter.without_shims(env.get("PATH", "")).split(":") if p]
    env["PATH"] = ":".join(path + [p for p in scripts.PATH.split(":") if p not in path])
    return env


def run(
    layout: Layout,
    host: str,
    argv: Sequence[str | Path],
    *,
    cwd: Path | str | None = None,
    timeout: float | None = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Run a program on a host without input and return its output, whatever its exit code.

    Raises:
        SandboxError: the host does not run.
        subprocess.TimeoutExpired: it took too long.
    """
    return subprocess.run(
        entry_command(layout, host, argv, cwd),
        env=environment(layout),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
