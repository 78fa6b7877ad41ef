"""May ranks open enough files and start enough processes?"""

import resource

from slurmkit.doctor.link import Answer, Link, Place, passed, warn
from slurmkit.health.verdict import WARN

_FILES, _PROCESSES = 4096, 4096


def judge(files: int, processes: int) -> Answer:
    """Return the answer for both limits; -1 is unlimited."""
    facts = {"open files": _shown(files), "processes": _shown(processes)}
    low = []
    if 0 <= files < _FILES:
        low.append(f"{files} open files")
    if 0 <= processes < _PROCESSES:
        low.append(f"{processes} processes")
    if low:
        return warn(f"only {' and '.join(low)}", facts)
    return passed(f"{_shown(files)} files, {_shown(processes)} processes", facts)


def _shown(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else str(limit)


def _look(_place: Place) -> Answer:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    return judge(files, processes)


LINK = Link(
    id="limits",
    group="resources",
    reads="RLIMIT_NOFILE and RLIMIT_NPROC of a process of the job",
    limits=f"warns below {_FILES} files or {_PROCESSES} processes, or when nodes differ",
    todo="raise LimitNOFILE and LimitNPROC of slurmd's unit, or /etc/security/limits.d",
    look=_look,
    differs=WARN,
)
