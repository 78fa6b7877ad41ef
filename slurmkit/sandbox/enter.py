"""Run one program on a host of a sandbox: enter its namespaces, then be that program's shadow.

Run by path (``python -I -S enter.py``) and free of imports from slurmkit, because it stands between
a person's shell and every Slurm program that they start. nsenter would do but for one thing: it
forks to enter a pid namespace and passes no signal on.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence

# clone(2); the pid namespace applies to children only, and the mount namespace comes last because
# entering it changes what /proc/PID means.
_NAMESPACES = (("uts", 0x04000000), ("ipc", 0x08000000), ("net", 0x40000000), ("mnt", 0x00020000))
_CLONE_NEWPID = 0x20000000
_PR_SET_PDEATHSIG = 1
_SI_KERNEL = 0x80

# Name of the folder with a sandbox's stand-ins for Slurm's programs (shims.py writes it).
SHIM_FOLDER = "slurmkit-shims"

_FORWARDED = {
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGCONT,
    signal.SIGWINCH,
}


def enter(
    pid: int,
    argv: Sequence[str],
    *,
    cwd: str,
    fallback: str = "",
    announce: bool = False,
    env: dict[str, str] | None = None,
) -> int:
    """Run ``argv`` in the namespaces of process ``pid``; return its wait status.

    The program keeps this process's standard streams, terminal and process group. Signals that
    reach this process alone are passed on; those of the terminal reach both anyway. If this process
    dies, so does the program.

    Args:
        pid: process 1 of the host, as seen from here.
        argv: program and arguments, found by PATH on the host.
        cwd: folder to run in.
        fallback: folder to run in where the host does not see ``cwd``; empty for none.
        announce: say so on stderr in that case.
        env: its environment; this process's own by default.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    handles = {kind: os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind, _ in _NAMESPACES}
    pid_handle = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY)
    _call(libc.setns, pid_handle, _CLONE_NEWPID)
    watched = _FORWARDED | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    child = os.fork()
    if child == 0:
        try:
            _call(libc.prctl, _PR_SET_PDEATHSIG, int(signal.SIGKILL))
            for kind, flag in _NAMESPACES:
                _call(libc.setns, handles[kind], flag)
            if _change_folder(cwd, fallback) and announce:
                sys.stderr.write(f"note: {cwd} is not shown on this host; running in {fallback}\n")
                sys.stderr.flush()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            # Python ignores these two; a program expects the default.
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            os.execvpe(argv[0], list(argv), dict(os.environ) if env is None else env)  # noqa: S606
        except OSError as error:
            sys.stderr.write(f"slurmkit sandbox exec: {argv[0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(127)
    for handle in (*handles.values(), pid_handle):
        os.close(handle)
    try:
        return _shadow(child, watched)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _call(function: Callable[[int, int], int], first: int, second: int) -> None:
    if function(first, second) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _change_folder(cwd: str, fallback: str) -> bool:
    """Change the folder; return whether it had to be the other one."""
    try:
        os.chdir(cwd)
    except OSError as error:
        if not fallback:
            reason = f"folder {cwd} is not shown on this host (see slurmkit sandbox up --share)"
            raise OSError(error.errno, reason) from error
        os.chdir(fallback)
        return True
    return False


def _shadow(child: int, watched: set[signal.Signals]) -> int:
    """Pass signals on until the child ends; return its wait status.

    Ctrl-Z needs nothing: the terminal stops and continues the whole process group.
    """
    while True:
        info = signal.sigwaitinfo(watched)
        if info.si_signo != signal.SIGCHLD:
            # From the terminal it went to the whole process group, the child included.
            if info.si_code != _SI_KERNEL:
                os.kill(child, info.si_signo)
            continue
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status


def leave(status: int) -> int:
    """End as the child did: return its exit code, or die of the signal that killed it."""
    if not os.WIFSIGNALED(status):
        return os.WEXITSTATUS(status)
    number = os.WTERMSIG(status)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    return 128 + number


def without_shims(path: str) -> str:
    """Return PATH without folders of stand-ins: on a host, only the real programs are right."""
    return ":".join(p for p in path.split(":") if os.path.basename(p) != SHIM_FOLDER)  # noqa: PTH119


def main(arguments: Sequence[str]) -> int:
    """Run ``enter.py PID CWD FALLBACK PROGRAM ...``."""
    pid, cwd, fallback, *argv = arguments
    env = {**os.environ, "PATH": without_shims(os.environ.get("PATH", os.defpath))}
    return leave(enter(int(pid), argv, cwd=cwd, fallback=fallback, env=env))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
