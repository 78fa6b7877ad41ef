"""One check of a site: its files, its scripts, and a slurmctld that reads them."""

from dataclasses import dataclass
from pathlib import Path

from slurmkit.errors import Problem, SlurmkitError, UsageError
from slurmkit.site.folders import find_folder, release_of, shipped_sites
from slurmkit.site.generate.release import Release
from slurmkit.sitecheck import boot, compare, complaints, scripts
from slurmkit.sitecheck.candidate import Candidate, read_candidate
from slurmkit.sitecheck.config import Cluster, read_cluster
from slurmkit.sitecheck.lint import lint_candidate
from slurmkit.sitecheck.registry import by_place


@dataclass(frozen=True)
class Report:
    """What is known of a candidate.

    Attributes:
        site: its folder's name.
        release: of Slurm, that it was read for.
        booted: the Slurm that it was started in; empty where it was not.
        where: where that slurmctld is from.
        notes: what a person should know about the check itself.
        problems: all that is wrong, by file and line.
    """

    site: str
    release: str
    booted: str
    where: str
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether it can be installed: there is nothing but warnings."""
        return all(problem.warning for problem in self.problems)


def check_site(folder: Path, version: str = "", *, start: bool = True) -> Report:
    """Check a site folder, a shipped site by its name, or a folder of .conf files.

    Args:
        folder: the site.
        version: release of Slurm; empty for the one that site.yaml is for, and without a site.yaml
            what this machine has.
        start: whether to start a slurmctld on it.

    Raises:
        UsageError: it is no site, or the release is unknown.
    """
    if not folder.exists() and str(folder) in shipped_sites():
        folder = find_folder(str(folder))
    candidate = read_candidate(folder)
    engines = boot.engines() if start else []
    release = _release(candidate, version, engines)
    found = lint_candidate(candidate, release)
    found += scripts.problems(candidate)
    cluster = read_cluster(candidate, release)
    booted = None
    notes: list[str] = []
    if start and cluster is not None:
        booted = _boot(cluster, engines, found, notes)
    if cluster is not None and booted is not None:
        found = _joined(found, _seen(cluster, booted))
    ordered = sorted(found, key=by_place)
    return Report(
        candidate.name,
        str(release),
        str(booted.engine.release) if booted else "",
        booted.engine.place if booted else "",
        tuple(notes),
        tuple(dict.fromkeys(ordered)),
    )


def _release(candidate: Candidate, version: str, engines: list[boot.Engine]) -> Release:
    if version:
        return Release.parse(version)
    if candidate.site is not None:
        return release_of(candidate.site.slurm.version)
    known = engines or boot.engines()
    if known:
        return known[0].release
    raise UsageError(
        "which release of Slurm the site is for is unknown: there is none on this machine",
        hint="name it: --slurm-version 24.11",
    )


#: Faults that slurmctld looks for files or hosts with, for up to a minute.
_WAITS = frozenset({"include-missing", "include-pattern", "bad-host-list", "topology-plugin"})


def _boot(
    cluster: Cluster, engines: list[boot.Engine], found: list[Problem], notes: list[str]
) -> boot.Booted | None:
    engine = boot.choose(engines, cluster.release)
    if engine is None:
        have = ", ".join(str(known.release) for known in engines) or "none at all"
        notes.append(
            f"there is no slurmctld {cluster.release.major} here (there is {have}): the files were"
            " read for it, and not tried"
        )
        return None
    waits = next((problem for problem in found if problem.code in _WAITS), None)
    if waits is not None:
        notes.append(f"not tried: slurmctld hangs for a while where there is {waits.code}")
        return None
    try:
        booted = boot.boot(cluster, engine)
    except SlurmkitError as error:  # the files were read all the same
        notes.append(f"not tried: {error.message}")
        return None
    notes += [f"tried without {left}" for left in booted.left_out]
    return booted


def _seen(cluster: Cluster, booted: boot.Booted) -> list[Problem]:
    found = complaints.problems(
        cluster, booted.log, up=booted.up, without_accounts=booted.without_accounts
    )
    if booted.up:
        found += compare.problems(cluster, booted.config, booted.nodes, booted.partitions)
    return found


def _joined(read: list[Problem], seen: list[Problem]) -> list[Problem]:
    """Return both, without what slurmctld says of a line that was found wrong already."""
    places = {(p.where.file, p.where.line) for p in read if p.where}
    kept = []
    for problem in seen:
        where = problem.where
        known = where is not None and (where.file, where.line) in places
        # A line of which nothing is said may be the one that a rule has named.
        unplaced = where is None and any(not p.warning for p in read)
        if not known and not unplaced:
            kept.append(problem)
    return [*read, *kept]
