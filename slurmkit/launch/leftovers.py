"""Finds and removes what a job's processes leave on a machine: processes, shared memory, folders.

It holds to three rules. Only what belongs to one user is looked at. A process is the job's when the
kernel says that its environment, or that of one it descends from, carries the job's mark. A file or
a segment goes when no living process has it open or mapped: it is listed first and looked for
afterwards, and whoever makes one holds it from its first moment on, so that another job's, however
young, is seen as used.

Hosts without slurmkit's folder get this file through SSH and run it by any Python from 3.8 on: it
imports nothing of slurmkit.
"""

from __future__ import annotations  # Python 3.8 reads this file, too

import argparse
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: Files in /dev/shm that their makers keep mapped as long as they are of use: those of Open MPI 4
#: and 5, NCCL, CUDA, torch, UCX, PSM, MPICH, Intel MPI and LLVM's OpenMP.
SHM_KINDS = re.compile(
    r"(?:vader_segment|sm_segment|osc_rdma|open_mpi|psm2_shm|psm3_shm|ucx_shm_posix)[._-].*"
    r"|nccl-[A-Za-z0-9]+|cuda\.shm\..*|torch_\d+_.*|__KMP_REGISTERED_LIB_\d+_.*"
    r"|(?:mpich|MPICH|Intel_MPI|intel_mpi|impi)[._-].*"
)
#: Folders in /tmp of which the same is true: Open MPI's, and those with the sockets of Python's
#: multiprocessing, which a data loader's workers leave when they are ended. What nobody holds open
#: while it is of use, such as torchrun's folders, is the epilog's to remove, which knows that no
#: other job is there.
TMP_KINDS = re.compile(r"ompi\..+\.\d+|openmpi-sessions-.*|prte\..*|pymp-.*")
# What mpirun starts on hosts; their environment is sshd's, their command line has our mark.
_DAEMONS = frozenset({b"orted", b"prted", b"prterun", b"mpirun", b"hydra_pmi_proxy", b"mpiexec"})
_JOB = "SLURM_JOB_ID="
_IPC_RMID = 0  # linux/ipc.h
_MAPPED = re.compile(rb"^\S+ \S+ \S+ \S+ (\d+) +(/\S.*)$", re.MULTILINE)
_POLL_S = 0.02


def sweep(
    marks: Iterable[str],
    *,
    job_id: str = "",
    max_age_s: float | None = None,
    grace_s: float = 2.0,
    folders: Iterable[str] | None = None,
) -> dict[str, list[str]]:
    """End the processes that carry a mark, then remove what nobody uses any more.

    Args:
        marks: texts such as ``SLURM_JOB_ID=7``; one that a process's environment holds is enough.
        job_id: of Slurm, which the same environment must hold besides; empty for none. A job hands
            its marks on to jobs that it submits, and their own number tells these apart.
        max_age_s: how long ago the job began, seconds: older SysV segments are not its own. None,
            or another job of Slurm's, leaves all alone that were not attached to its processes.
        grace_s: seconds between TERM and KILL.
        folders: where Open MPI keeps its sessions; None for /tmp, /var/tmp and $TMPDIR.

    Returns:
        Under ``ended`` the processes, under ``removed`` the files and segments, under ``left`` what
        could not be ended or removed, with the reason.
    """
    uid = os.geteuid()
    wanted = [os.fsencode(mark) for mark in marks]
    also = os.fsencode(_JOB + job_id) if job_id else b""
    if job_id and _other_jobs(job_id, uid):
        max_age_s = None
    found = _Found(uid)
    _end_all(found, lambda: marked(wanted, uid, also), grace_s)
    usual = ("/tmp", "/var/tmp", os.environ.get("TMPDIR") or "/tmp")
    _remove_files(found, usual if folders is None else folders)
    _remove_segments(found, max_age_s)
    return {"ended": list(found.ended.values()), "removed": found.removed, "left": found.left}


class _Found:
    """What is learned on the way."""

    def __init__(self, uid: int) -> None:
        self.uid = uid
        self.files: set[str] = set()  # that the job's processes had mapped
        self.segments: set[int] = set()
        self.ended: dict[int, str] = {}
        self.removed: list[str] = []
        self.left: list[str] = []


# -- processes ---------------------------------------------------------------------------------


def marked(marks: list[bytes], uid: int, also: bytes = b"") -> dict[int, str]:
    """Return the processes of a user that carry a mark or descend from one that does, by number.

    This process and those that it descends from are never among them.
    """
    parents, names, found = {}, {}, set()
    for pid, entries in _of_user(uid, "environ"):
        try:
            parent, state = _stat(pid)
            words = _words(pid, "cmdline")
        except OSError:
            continue  # it has ended
        if state in "ZX":
            continue
        parents[pid], names[pid] = parent, f"{pid} {os.path.basename(os.fsdecode(words[0]))}"
        has_mark = not set(marks).isdisjoint(entries) and (not also or also in entries)
        if has_mark or _is_daemon(marks, words):
            found.add(pid)
    ours = set(_ancestors(os.getpid()))
    found -= ours
    return {
        pid: name
        for pid, name in names.items()
        if pid not in ours and not found.isdisjoint(_chain(pid, parents))
    }


def _is_daemon(marks: list[bytes], words: list[bytes]) -> bool:
    values = {mark.partition(b"=")[2] for mark in marks if mark.startswith(b"SLURMKIT_")}
    found = os.path.basename(words[0].strip(b'"')) in _DAEMONS
    return found and any(word.strip(b'"') in values for word in words)


def _other_jobs(job_id: str, uid: int) -> set[str]:
    """Return the ids of other Slurm jobs that a user has processes of on this machine."""
    environs = (map(os.fsdecode, entries) for _, entries in _of_user(uid, "environ"))
    jobs = {text[len(_JOB) :] for texts in environs for text in texts if text.startswith(_JOB)}
    return jobs - {job_id}


def _end_all(found: _Found, living: Callable[[], dict[int, str]], grace_s: float) -> None:
    """End all processes that ``living`` returns, those that are born meanwhile, too."""
    began = time.monotonic()
    while processes := living():
        waited_s = time.monotonic() - began
        if waited_s > 2 * grace_s + 2:  # in uninterruptible sleep: not even KILL ends them
            found.left += [f"process {name} does not end" for name in processes.values()]
            return
        for pid, name in processes.items():
            if pid not in found.ended:
                _note_held(pid, found)
                _signal(pid, signal.SIGTERM)
                _signal(pid, signal.SIGCONT)  # a stopped process takes TERM only once it goes on
            elif waited_s > grace_s:
                _signal(pid, signal.SIGKILL)
            found.ended[pid] = name
        time.sleep(_POLL_S)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _note_held(pid: int, found: _Found) -> None:
    with contextlib.suppress(OSError):
        for inode, path in _mapped(pid):
            if path.startswith("/SYSV"):
                found.segments.add(inode)  # of a SysV segment the inode is its id (ipc/shm.c)
            elif path.startswith("/dev/shm/"):
                found.files.add(path)


# -- files -------------------------------------------------------------------------------------


def _remove_files(found: _Found, folders: Iterable[str]) -> None:
    uid = found.uid
    candidates = list(_entries("/dev/shm", SHM_KINDS, uid))
    candidates += [path for path in found.files - {*candidates} if os.path.exists(path)]
    for folder in dict.fromkeys(folders):
        candidates += [p for top in _entries(folder, TMP_KINDS, uid) for p in _parts(top)]
    if not candidates:
        return
    used = in_use(uid)
    families = _families(uid)
    for path in candidates:
        if _is_used(path, used) or _maker_lives(path, families):
            continue
        if not os.path.basename(path).startswith("pymp-") or _holds_dead_sockets(path):
            _remove(path, found)
    for folder in {os.path.dirname(path) for path in candidates if _is_session(path)}:
        with contextlib.suppress(OSError):  # other sessions are in it
            os.rmdir(folder)


def in_use(uid: int) -> set[str]:
    """Return the paths that living processes of a user have open, mapped, bound or run in.

    Root sees those of everybody.
    """
    used: set[str] = set()
    for pid in _pids():
        base = f"/proc/{pid}"
        try:
            if os.geteuid() != 0 and os.stat(base).st_uid != uid:
                continue
            # First what is open, then what is mapped: on its way a file goes from there to here.
            for name in os.listdir(f"{base}/fd"):
                with contextlib.suppress(OSError):
                    used.add(os.readlink(f"{base}/fd/{name}"))
            used.add(os.readlink(f"{base}/cwd"))
            used.update(path for _, path in _mapped(pid))
        except OSError:
            continue
    with contextlib.suppress(OSError):
        for line in _read("/proc/net/unix").splitlines()[1:]:
            words = line.split(None, 7)
            if len(words) == 8:
                used.add(os.fsdecode(words[7]))
    return used


def _is_used(path: str, used: set[str]) -> bool:
    return path in used or any(other.startswith(f"{path}/") for other in used)


def _holds_dead_sockets(folder: str) -> bool:
    """Whether a folder of multiprocessing, whose sockets nobody is bound to, is there for nobody.

    A process that closes its socket removes it: one that is there and not bound has lost its owner.
    """
    with contextlib.suppress(OSError):
        modes = [os.lstat(os.path.join(folder, name)).st_mode for name in os.listdir(folder)]
        return bool(modes) and all(map(stat.S_ISSOCK, modes))
    return False


def _parts(path: str) -> Iterator[str]:
    """Yield what is removed one by one: of Open MPI's folder of a user each session's own."""
    if not _is_top_of_sessions(path):
        yield path
        return
    with contextlib.suppress(OSError):
        for name in os.listdir(path):
            yield f"{path}/{name}"


def _is_top_of_sessions(path: str) -> bool:
    name = os.path.basename(path)
    return name.startswith(("ompi.", "openmpi-sessions-", "prte.")) and not os.path.islink(path)


def _is_session(path: str) -> bool:
    return _is_top_of_sessions(os.path.dirname(path))


def _families(uid: int) -> set[str]:
    """Return the families of jobs (Open MPI 4) whose daemons live: jobid >> 16 names a folder."""
    found = set()
    for _, words in _of_user(uid, "cmdline"):
        for word, value in zip(words, words[1:]):
            number = value.strip(b'"')
            if word == b"ess_base_jobid" and number.isdigit():
                found.add(f"jf.{int(number) >> 16}")
    return found


def _maker_lives(path: str, families: set[str]) -> bool:
    """Whether the process, or the job of Open MPI, that a name tells of is still there."""
    name = os.path.basename(path)
    match = re.match(r"pid\.(\d+)$|torch_(\d+)_|__KMP_REGISTERED_LIB_(\d+)_", name)
    number = next((group for group in match.groups() if group), "") if match else ""
    return name in families or (bool(number) and _lives(int(number)))


def _remove(path: str, found: _Found) -> None:
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        found.left.append(f"{path}: {error.strerror}")
    else:
        found.removed.append(path)


def _entries(folder: str, kinds: re.Pattern[str], uid: int) -> Iterator[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):
            if kinds.fullmatch(name) and os.lstat(path).st_uid == uid:
                yield path


# -- SysV segments -----------------------------------------------------------------------------


def _remove_segments(found: _Found, max_age_s: float | None) -> None:
    """Remove segments that nobody is attached to and whose maker is dead (proc_sysvipc_shm(5))."""
    oldest = None if max_age_s is None else time.time() - max_age_s
    try:
        header, *lines = _read("/proc/sysvipc/shm").decode().splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        row = dict(zip(header.split(), map(int, line.split())))
        number = row["shmid"]
        if row["uid"] != found.uid or row["nattch"] or _lives(row["cpid"]):
            continue
        if number in found.segments or (oldest is not None and row["ctime"] >= oldest):
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.shmctl(number, _IPC_RMID, None) == 0:
                found.removed.append(f"SysV segment {number}")
            else:
                reason = os.strerror(ctypes.get_errno())
                found.left.append(f"SysV segment {number}: {reason}")


# -- /proc -------------------------------------------------------------------------------------


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _of_user(uid: int, name: str) -> Iterator[tuple[int, list[bytes]]]:
    """Yield a user's processes, each with the words of its file of that name."""
    for pid in _pids():
        with contextlib.suppress(OSError):  # it has ended, or is closed to us
            if os.stat(f"/proc/{pid}").st_uid == uid:
                yield pid, _words(pid, name)


def _words(pid: int, name: str) -> list[bytes]:
    return _read(f"/proc/{pid}/{name}").split(b"\0")


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _stat(pid: int) -> tuple[int, str]:
    """Return a process's parent and state letter."""
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(fields[1]), fields[0].decode()


def _lives(pid: int) -> bool:
    try:
        return _stat(pid)[1] not in "ZX"
    except OSError:
        return False


def _mapped(pid: int) -> list[tuple[int, str]]:
    """Return inode and path of each file that a process has mapped."""
    text = _read(f"/proc/{pid}/maps")
    return [(int(inode), os.fsdecode(path)) for inode, path in _MAPPED.findall(text)]


def _ancestors(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        while pid > 1:
            yield pid
            pid, _ = _stat(pid)


def _chain(pid: int, parents: dict[int, int]) -> Iterator[int]:
    seen: set[int] = set()
    while pid in parents and pid not in seen:
        yield pid
        seen.add(pid)
        pid = parents[pid]


def main(arguments: list[str]) -> int:
    """Sweep this machine and print one line of JSON; 1 when something is left."""
    parser = argparse.ArgumentParser(prog="leftovers")
    parser.add_argument("--mark", dest="marks", action="append", required=True)
    parser.add_argument("--job-id", default="")
    parser.add_argument("--max-age-s", type=float)
    parser.add_argument("--grace-s", type=float, default=2.0)
    found = sweep(**vars(parser.parse_args(arguments)))
    print(json.dumps(found))
    return 1 if found["left"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
