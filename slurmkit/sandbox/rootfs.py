"""Root file systems of other Debian releases, made once by debootstrap and kept in a cache."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from slurmkit.errors import UsageError
from slurmkit.sandbox import apt_sources, programs
from slurmkit.sandbox.record import SandboxUnavailableError

HOST_RELEASE = "host"

# python3 brings the libraries that a Python from the host needs, git what records a run's code.
_PACKAGES = (
    "git",
    "hostname",
    "iproute2",
    "munge",
    "procps",
    "python3",
    "slurm-client",
    "slurm-wlm-basic-plugins",
    "slurmctld",
    "slurmd",
)
_ACCOUNTING_PACKAGES = ("mariadb-client-core", "mariadb-server-core", "slurmdbd")
# One script serves every suite since usr was merged; debootstrap 1.0.128 has none named forky.
_SCRIPT = Path("/usr/share/debootstrap/scripts/sid")
_SUITE = re.compile(r"[a-z]{3,20}")
_TIMEOUT_S = 1800.0
_REPORT_EVERY_S = 5.0


def cache_dir() -> Path:
    """Return the folder of all root file systems; $SLURMKIT_CACHE moves it."""
    return Path(os.environ.get("SLURMKIT_CACHE") or "/var/cache/slurmkit") / "rootfs"


def packages(*, accounting: bool) -> list[str]:
    """Return the packages that a root file system has beyond the essential ones."""
    return sorted([*_PACKAGES, *(_ACCOUNTING_PACKAGES if accounting else ())])


def rootfs_dir(suite: str, *, accounting: bool = False) -> Path:
    """Return where the root file system of a suite is kept; another package list, another place."""
    digest = hashlib.sha256(" ".join(packages(accounting=accounting)).encode()).hexdigest()
    return cache_dir() / f"{suite}-{digest[:8]}"


def prepare(
    release: str,
    progress: Callable[[str], None],
    *,
    accounting: bool = False,
    more: Sequence[str] = (),
) -> Path | None:
    """Return the root file system of a release, made first where it is missing; None for the host.

    Args:
        release: ``host`` or the name of a suite.
        progress: called with one line per step.
        accounting: whether slurmdbd and its database shall be in it, too.
        more: further Debian packages, which are added to a copy of what has none; not for the host.

    Raises:
        UsageError: ``release`` is no name of a suite.
        SandboxUnavailableError: programs are missing, or debootstrap failed.
    """
    if release == HOST_RELEASE:
        more = programs.ACCOUNTING_PROGRAMS if accounting else ()
        programs.require_programs([*programs.HOST_PROGRAMS, *more])
        return None
    if not _SUITE.fullmatch(release):
        raise UsageError(
            f"--release {release!r} is no Debian suite",
            hint="use host for this machine's Slurm, trixie for 24.11 or forky for 26.05",
        )
    programs.require_programs(programs.NAMESPACE_PROGRAMS)
    target = rootfs_dir(release, accounting=accounting)
    if not target.is_dir():
        programs.require_programs(["debootstrap", "setpriv"])
        with _locked(release):
            if not target.is_dir():  # somebody else may have made it while we waited
                _make(release, packages(accounting=accounting), target, progress)
    return _with_packages(target, sorted(more), progress) if more else target


def _with_packages(base: Path, more: Sequence[str], progress: Callable[[str], None]) -> Path:
    """Return a copy of a root file system that has further packages, made first where missing.

    A copy takes seconds, and another debootstrap a minute.
    """
    target = base.with_name(
        f"{base.name}-{hashlib.sha256(' '.join(more).encode()).hexdigest()[:8]}"
    )
    if target.is_dir():
        return target
    with _locked(target.name):
        if target.is_dir():
            return target
        progress(f"adding {', '.join(more)} to a copy of {base.name}")
        temporary = target.with_name(f".{target.name}.part")
        shutil.rmtree(temporary, ignore_errors=True)
        log = target.with_name(f"{target.name}.log")
        try:
            copy = ["cp", "-a", "--reflink=auto", str(base), str(temporary)]
            _run(copy, log, progress, "the copy")
            what = f"the installation of {', '.join(more)}"
            _run(_install_command(temporary, more), log, progress, what)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def _install_command(root: Path, more: Sequence[str]) -> list[str]:
    # Lists of a mirror that is behind have expired; for a sandbox they are good enough.
    apt = "apt-get -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root"
    script = (
        f"export DEBIAN_FRONTEND=noninteractive; {apt} update -q || true\n"
        f'{apt} install -q -y --no-install-recommends "$@" && {apt} clean'
    )
    return [
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("--propagation", "private", "sh", "-c"),
        'cp /etc/resolv.conf "$0/etc/resolv.conf"; mount -t proc proc "$0/proc"\n'
        'script=$1; shift; exec chroot "$0" sh -c "$script" apt "$@"',
        *(str(root), script, *more),
    ]


@contextlib.contextmanager
def _locked(suite: str) -> Iterator[None]:
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{suite}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(
    suite: str, include: Sequence[str], target: Path, progress: Callable[[str], None]
) -> None:
    """Run debootstrap into a temporary folder and rename it: a cached one is always complete."""
    temporary = target.with_name(f".{target.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)  # of one that was interrupted
    log = target.with_name(f"{target.name}.log")
    progress(f"making a root file system of Debian {suite}, once; this takes about a minute")
    started = time.monotonic()
    try:
        _run(_command(suite, include, temporary), log, progress, f"debootstrap of {suite}")
        for archive in (temporary / "var/cache/apt/archives").glob("*.deb"):
            archive.unlink()
        temporary.chmod(0o755)  # all users' programs run in it, whatever the umask says
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    progress(f"made {target} in {time.monotonic() - started:.0f} s")


def _command(suite: str, include: Sequence[str], target: Path) -> list[str]:
    mirror = apt_sources.debian_mirror()
    return [
        # It dies with us, and with it, in its own pid and mount namespaces, whatever a package
        # started and every mount.
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("--propagation", "private", "debootstrap", "--variant=minbase"),
        f"--include={','.join(include)}",
        *(suite, str(target), *([mirror] if mirror else []), *([str(_SCRIPT)] if mirror else [])),
    ]


def _run(command: Sequence[str], log: Path, progress: Callable[[str], None], what: str) -> None:
    """Run a command, all it says into ``log``, and report its current line now and then.

    Raises:
        SandboxUnavailableError: it failed or took too long; the message begins with ``what``.
    """
    deadline = time.monotonic() + _TIMEOUT_S
    reported = time.monotonic()
    with (
        log.open("w", buffering=1) as file,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
    ):
        assert process.stdout
        try:
            for raw in process.stdout:
                line = raw.decode(errors="replace")
                file.write(line)
                now = time.monotonic()
                if now > deadline:
                    raise SandboxUnavailableError(f"{what} took more than {_TIMEOUT_S:.0f} s")
                if line.startswith("I: ") and now - reported > _REPORT_EVERY_S:
                    reported = now
                    progress(f"  {line.removeprefix('I: ').strip()}")
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        said = "\n  ".join(log.read_text(errors="replace").splitlines()[-8:])
        raise SandboxUnavailableError(
            f"{what} ended with {process.returncode}:\n  {said}",
            hint=f"the whole log is in {log}; is the package mirror reachable?",
        )
