"""Programs and rights that a sandbox needs from the machine."""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from slurmkit.errors import UsageError
from slurmkit.sandbox.record import SandboxError, SandboxUnavailableError
from slurmkit.sandbox.scripts import PATH

# Program -> the Debian package that brings it.
_PACKAGES = {
    "debootstrap": "debootstrap",
    "hostname": "hostname",
    "mariadb-install-db": "mariadb-server-core",
    "mariadbd": "mariadb-server-core",
    "my_print_defaults": "mariadb-client-core",
    "ip": "iproute2",
    "mount": "mount",
    "munged": "munge",
    "nsenter": "util-linux",
    "pivot_root": "util-linux",
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "sbatch": "slurm-client",
    "sinfo": "slurm-client",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "slurmdbd": "slurmdbd",
    "unshare": "util-linux",
}
# What makes the namespaces, and what runs in them from this machine's own root file system.
NAMESPACE_PROGRAMS = ("unshare", "nsenter", "mount", "pivot_root", "ip")
HOST_PROGRAMS = (
    *("unshare", "nsenter", "setsid", "mount", "ip", "hostname"),
    *("munged", "slurmctld", "slurmd", "sbatch", "sinfo"),
)
ACCOUNTING_PROGRAMS = ("mariadb-install-db", "my_print_defaults", "mariadbd", "slurmdbd")

_VERSION = re.compile(r"(\d+)\.(\d+)")


def require_root() -> None:
    """Raise a UsageError unless this process is root: namespaces, mounts and devices need it."""
    if os.geteuid() != 0:
        raise UsageError(
            "slurmkit sandbox makes namespaces, mounts and device files and needs root",
            hint="run it with sudo, or as root in a container started with --privileged",
        )


def require_programs(programs: Sequence[str]) -> None:
    """Raise a SandboxUnavailableError that names missing programs and the packages they are in."""
    missing = [name for name in programs if not shutil.which(name, path=PATH)]
    if missing:
        packages = sorted({_PACKAGES[name] for name in missing})
        raise SandboxUnavailableError(
            f"programs missing on this machine: {', '.join(missing)}",
            hint=f"on Debian: apt-get install {' '.join(packages)}",
        )


def require_namespaces() -> None:
    """Raise a SandboxUnavailableError unless the kernel lets us make namespaces."""
    command = ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "true"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=20, check=False, env={"PATH": PATH}
    )
    if done.returncode != 0:
        raise SandboxUnavailableError(
            f"this root may make no namespaces: {done.stderr.strip()}",
            hint="in a container: start it with --privileged",
        )


def parse_version(text: str) -> tuple[int, int]:
    """Return (major, minor) of what ``slurmctld -V`` prints, such as (22, 5).

    Raises:
        SandboxError: there is no version in it.
    """
    match = _VERSION.search(text)
    if not match:
        raise SandboxError(f"slurmctld -V printed {text.strip()!r}, which names no version")
    return int(match[1]), int(match[2])


def slurm_version(root_dir: Path | None) -> str:
    """Return the version of a root file system's slurmctld, such as ``22.05.8``; None for ours."""
    command = ["slurmctld", "-V"]
    if root_dir:
        command = ["chroot", str(root_dir), *command]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=20, check=False, env={"PATH": PATH}
    )
    if done.returncode != 0:
        raise SandboxError(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout}")
    return done.stdout.split()[-1]


@contextlib.contextmanager
def usual_umask() -> Iterator[None]:
    """Make files that other users may read: their jobs run here, too, whatever root's umask is."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def has_plugin(root_dir: Path | None, pattern: str) -> bool:
    """Return whether the Slurm of a root file system, or this machine's, has such a plugin.

    Args:
        root_dir: a release's root file system; None for this machine's own.
        pattern: name of its file, such as ``mpi_pmix*.so``.
    """
    return any((root_dir or Path("/")).glob(f"usr/lib/*/slurm*/{pattern}"))
