"""Install a site and tell Slurm: checked first, told only where that is enough."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from slurmkit.errors import InvalidInputError, SlurmError, UsageError
from slurmkit.site.deploy import Change, Machine, SiteFolder, audit
from slurmkit.site.generate.release import Release
from slurmkit.sitecheck import restart
from slurmkit.sitecheck.candidate import Candidate, File, read_candidate
from slurmkit.sitecheck.report import check_site
from slurmkit.slurm.daemons import DaemonControl


@dataclass(frozen=True)
class Told:
    """What came of an install or a rollback that Slurm was to be told of.

    Attributes:
        changes: the files that changed.
        reconfigured: whether Slurm has read them again.
        restarts: what must be restarted instead.
        failure: why reconfigure failed; empty where it did not.
    """

    changes: tuple[Change, ...]
    reconfigured: bool = False
    restarts: tuple[restart.Restart, ...] = ()
    failure: str = ""


def install(
    machine: Machine, folder: Path, site: SiteFolder, *, force: bool, slurm: DaemonControl
) -> Told:
    """Check a site, install it, and let Slurm read it where a restart is not what it takes.

    Args:
        machine: where; this one, because its Slurm is told.
        folder: the site folder.
        site: what is in it.
        force: overwrite what another hand has written.
        slurm: the daemons' door.

    Raises:
        UsageError: the machine is an image, or has no Slurm.
        InvalidInputError: the site has errors; nothing was changed.
        SlurmkitError: a file cannot be written.
    """
    release = _release(machine, slurm)
    report = check_site(folder, str(release))
    if not report.ok:
        raise InvalidInputError([problem for problem in report.problems if not problem.warning])
    new = read_candidate(folder)
    before = _found(machine, {*machine.installed(), *new.files})
    changes = machine.install(site, force=force)
    if not changes:
        return Told(())
    found = _found(machine, {*before.files, *new.files})
    after = replace(found, files={**found.files, **new.files})  # named as people edit them
    return tell(machine, changes, restart.needed(before, after, release), slurm)


def rollback(machine: Machine, *, force: bool, slurm: DaemonControl) -> Told:
    """Undo the last install, and let Slurm read the files again.

    Raises:
        UsageError: the machine is an image or has no Slurm, or nothing is installed.
        SlurmkitError: a file was edited since, or cannot be written.
    """
    release = _release(machine, slurm)
    before = _found(machine, machine.installed())
    changes = machine.rollback(force=force)
    after = _found(machine, {*before.files, *(change.path for change in changes)})
    return tell(machine, changes, restart.needed(before, after, release), slurm)


def tell(
    machine: Machine, changes: list[Change], restarts: list[restart.Restart], slurm: DaemonControl
) -> Told:
    """Let Slurm read its files, unless something must be restarted; write down what was done."""
    if restarts:
        daemons = list(restart.by_daemon(restarts))
        audit.record(machine.root, "reconfigure", {"done": False, "restart": daemons})
        return Told(tuple(changes), restarts=tuple(restarts))
    try:
        slurm.reconfigure()
    except SlurmError as error:
        audit.record(machine.root, "reconfigure", {"done": False, "error": error.message})
        return Told(tuple(changes), failure=error.message)
    audit.record(machine.root, "reconfigure", {"done": True})
    return Told(tuple(changes), reconfigured=True)


def _release(machine: Machine, slurm: DaemonControl) -> Release:
    if machine.root != Path("/"):
        raise UsageError(
            "--reconfigure tells the Slurm of this machine, and --root is an image",
            hint="install into the image, and reconfigure where Slurm runs",
        )
    if not slurm.present():
        raise UsageError("--reconfigure: there is no scontrol on this machine")
    return Release.parse(slurm.version())


def _found(machine: Machine, paths: Iterable[str]) -> Candidate:
    """Return what a machine has at these paths."""
    contents = {path: machine.content(path) for path in sorted(paths)}
    files = {path: File(content, path) for path, content in contents.items() if content}
    return Candidate(files, name="installed")
