"""Which change of Slurm's files needs a restart of which daemon, because reconfigure is not enough.

Sources: slurm.conf(5) of 22.05 and 23.02, which say so keyword by keyword; from 23.11 on daemons
start anew at `scontrol reconfigure`, and scontrol(1) excepts ports and authentication alone.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from slurmkit.errors import Location
from slurmkit.site.generate.release import Release
from slurmkit.sitecheck.candidate import Candidate, File
from slurmkit.sitecheck.config import Cluster, read_cluster

#: What `scontrol reconfigure` cannot change, by keyword in small letters: the daemons to restart.
ALWAYS: dict[str, tuple[str, ...]] = {
    "authtype": ("slurmctld", "slurmd", "slurmdbd"),
    "authinfo": ("slurmctld", "slurmd"),
    "credtype": ("slurmctld", "slurmd"),
    "slurmctldport": ("slurmctld", "slurmd"),
    "slurmdport": ("slurmctld", "slurmd"),
    "clustername": ("slurmctld", "slurmd"),
    "slurmuser": ("slurmctld",),
    "slurmduser": ("slurmd",),
    "statesavelocation": ("slurmctld",),
    "slurmdspooldir": ("slurmd",),
    "switchtype": ("slurmctld", "slurmd"),
}
#: What besides it cannot before 23.11.
BEFORE_23_11: dict[str, tuple[str, ...]] = {
    "accountingstorageenforce": ("slurmctld",),
    "accountingstoragetype": ("slurmctld",),
    "corespecplugin": ("slurmd",),
    "grestypes": ("slurmctld", "slurmd"),
    "jobacctgathertype": ("slurmctld", "slurmd"),
    "jobcontainertype": ("slurmctld", "slurmd"),
    "maxjobcount": ("slurmctld",),
    "maxnodecount": ("slurmctld",),
    "plugindir": ("slurmctld", "slurmd"),
    "powerplugin": ("slurmctld",),
    "proctracktype": ("slurmctld", "slurmd"),
    "schedulertype": ("slurmctld",),
    "selecttype": ("slurmctld", "slurmd"),
    "selecttypeparameters": ("slurmctld",),
    "slurmctldhost": ("slurmctld",),
    "slurmctldparameters": ("slurmctld",),
    "taskplugin": ("slurmd",),
    "topologyplugin": ("slurmctld", "slurmd"),
}
#: Files that a daemon reads when it starts, and the first release that reads them anew.
_FILES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("slurmdbd.conf", ("slurmdbd",), ""),
    ("cgroup.conf", ("slurmd",), "23.11"),
    ("gres.conf", ("slurmctld", "slurmd"), "23.11"),
    ("job_container.conf", ("slurmd",), "23.11"),
    ("acct_gather.conf", ("slurmd",), "23.11"),
    ("mpi.conf", ("slurmd",), "23.11"),
)
#: A unit, or a drop-in of one: systemd reads neither before it is told to.
_UNIT = re.compile(r".*/systemd/system/([^/]+)\.service(?:\.d/[^/]+\.conf)?")


@dataclass(frozen=True)
class Restart:
    """A change that a daemon must be restarted for.

    Attributes:
        daemons: which, such as slurmctld.
        why: what has changed.
        where: its place in the new files; None where it went.
    """

    daemons: tuple[str, ...]
    why: str
    where: Location | None = None


def needed(old: Candidate, new: Candidate, release: Release) -> list[Restart]:
    """Return what must be restarted for a change of files.

    Args:
        old: the files as the daemons have read them.
        new: the files as they shall be.
        release: of the Slurm that runs.
    """
    before, after = read_cluster(old, release), read_cluster(new, release)
    found: list[Restart] = []
    if before is not None and after is not None:
        found += _settings(before, after, release)
        found += _nodes(before, after, release)
    return [*found, *_files(old, new, release), *_units(old, new)]


def _settings(before: Cluster, after: Cluster, release: Release) -> Iterator[Restart]:
    table = ALWAYS if release.at_least("23.11") else {**ALWAYS, **BEFORE_23_11}
    for name, daemons in table.items():
        was = [pair.value for pair in before.slurm.settings.get(name, [])]
        now = after.slurm.settings.get(name, [])
        if was != [pair.value for pair in now]:
            gone = before.slurm.settings.get(name, [])
            key = (now or gone)[0].key
            yield Restart(daemons, f"{key} has changed", now[0].where if now else None)


def _nodes(before: Cluster, after: Cluster, release: Release) -> Iterator[Restart]:
    """scontrol(1): nodes that come or go take a restart of all daemons, before 23.11."""
    if release.at_least("23.11"):
        return
    come = [name for name in after.by_node if name not in before.by_node]
    gone = [name for name in before.by_node if name not in after.by_node]
    for names, verb in ((come, "is new"), (gone, "is gone")):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            where = after.by_node[names[0]].name.where if names is come else None
            yield Restart(("slurmctld", "slurmd"), f"node {names[0]}{more} {verb}", where)


def _files(old: Candidate, new: Candidate, release: Release) -> Iterator[Restart]:
    for name, daemons, since in _FILES:
        was, now = old.conf(name), new.conf(name)
        if since and release.at_least(since):
            continue
        if _differ(was[1] if was else None, now[1] if now else None):
            yield Restart(daemons, f"{name} has changed", _start(now[1] if now else None))


def _units(old: Candidate, new: Candidate) -> Iterator[Restart]:
    for path in sorted({*old.files, *new.files}):
        unit, now = _UNIT.fullmatch(path), new.files.get(path)
        if unit and _differ(old.files.get(path), now):
            why = f"{path} has changed (`systemctl daemon-reload` first)"
            yield Restart((unit[1],), why, _start(now))


def _differ(was: File | None, now: File | None) -> bool:
    return (was.content if was else None) != (now.content if now else None)


def _start(file: File | None) -> Location | None:
    return Location(file.shown, 1, 1) if file else None


def by_daemon(restarts: list[Restart]) -> Mapping[str, list[Restart]]:
    """Return the changes by the daemon that they concern, slurmdbd first, then as they start."""
    order = ("slurmdbd", "slurmctld", "slurmd")
    found: dict[str, list[Restart]] = {}
    for name in order:
        concerned = [restart for restart in restarts if name in restart.daemons]
        if concerned:
            found[name] = concerned
    for restart in restarts:
        for name in restart.daemons:
            if name not in order:
                found.setdefault(name, []).append(restart)
    return found
