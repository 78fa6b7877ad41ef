"""Install a site on a machine as one step, and take it back, whatever interrupts it.

All that is needed is written down first: new contents, old contents, and then the journal that says
what goes where. From the journal on, the step is finished, by this call or by the next one. Without
a journal nothing outside our own folder has changed, and what was prepared is thrown away.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slurmkit.errors import SlurmkitError, UsageError
from slurmkit.site.deploy import audit, plan, store
from slurmkit.site.deploy.folder import SiteFolder, states
from slurmkit.site.deploy.plan import Change, Conflict, FileState

_STATE = "var/lib/slurmkit/site"
_NEW = ".{}.slurmkit-new"


class Machine:
    """What sites are installed on.

    Args:
        root: ``/``, or the root of an image.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root.resolve()
        self._state = self.root / _STATE
        self._journal = self._state / "journal.json"
        self._current = self._state / "current.json"

    @property
    def interrupted(self) -> bool:
        """Whether an install or a rollback was interrupted; the next one finishes it first."""
        return self._journal.exists()

    def installed(self) -> dict[str, FileState]:
        """Return what the last install left, by path."""
        return _states(store.read_record(self._current).get("files", {}))

    def changes(self, site: SiteFolder) -> list[Change]:
        """Return what an install would change.

        Raises:
            SlurmkitError: something that is no plain file is in the way.
        """
        wanted, installed = states(site, self.root), self.installed()
        found = {path: self._found(path) for path in {**wanted, **installed}}
        return plan.changes(wanted, installed, found)

    def conflicts(self, planned: list[Change]) -> list[Conflict]:
        """Return the changes that would overwrite what another hand has written."""
        return plan.conflicts(planned, self.installed())

    def content(self, path: str) -> bytes:
        """Return what a file holds now; empty when it is not there."""
        found = store.read_file(self._place(path))
        return found[1] if found else b""

    def install(self, site: SiteFolder, *, force: bool = False) -> list[Change]:
        """Put a site's files in place, keep the old ones, and return what has changed.

        Args:
            site: what to install.
            force: overwrite what another hand has written; rollback brings it back.

        Raises:
            SlurmkitError: another hand has written a file, or one cannot be written.
        """
        with self._locked():
            planned = self.changes(site)
            if not planned:
                return []
            _refuse(self.conflicts(planned), force)
            number = self._next_number()
            contents = {path: wanted.content for path, wanted in site.files.items()}
            then = {
                "site": site.name,
                "backup": number,
                "files": {path: asdict(state) for path, state in states(site, self.root).items()},
            }
            folders = self._missing_folders(planned)
            self._keep(number, planned, folders)
            self._stage(planned, contents)
            self._start(
                {
                    "action": "install",
                    "number": number,
                    "entries": [_entry(change.path, change.new) for change in planned],
                    "remove_folders": [],
                    "then": then,
                    "audit": _audit("install", site.name, number, planned, force),
                }
            )
            return planned

    def rollback(self, *, force: bool = False) -> list[Change]:
        """Undo the last install and return what has changed.

        Args:
            force: also where files were edited since; what was written there is lost.

        Raises:
            UsageError: nothing is installed.
            SlurmkitError: a file was edited since, or cannot be written.
        """
        with self._locked():
            current = store.read_record(self._current)
            if not current:
                raise UsageError("no site is installed here: there is nothing to take back")
            number = current["backup"]
            kept = store.read_record(self._backup(number) / "record.json")
            installed = _states(current["files"])
            wanted = _states(kept["files"])
            planned = [
                Change(path, self._found(path), wanted.get(path)) for path in sorted(kept["files"])
            ]
            planned = [change for change in planned if change.old != change.new]
            edited = [
                Conflict(change.path, "it was edited after it was installed")
                for change in planned
                if change.old != installed.get(change.path)
            ]
            _refuse(edited, force)
            contents = {
                path: self._kept_content(number, index)
                for index, path in enumerate(sorted(kept["files"]))
                if path in wanted
            }
            self._stage(planned, contents)
            self._start(
                {
                    "action": "rollback",
                    "number": number,
                    "entries": [_entry(change.path, change.new) for change in planned],
                    "remove_folders": kept["folders"],
                    "then": kept["previous"],
                    "audit": _audit("rollback", current["site"], number, planned, force),
                }
            )
            return planned

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one call at a time change this machine, after it has ended an interrupted one."""
        try:
            store.make_folders(self._state)
            with (self._state / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._recover()
                yield
        except OSError as error:
            raise SlurmkitError(
                f"{error.filename}: {error.strerror}", hint="run it as root, or with --root"
            ) from error

    def _recover(self) -> None:
        journal = store.read_record(self._journal)
        if journal:
            self._finish(journal)
        current = store.read_record(self._current)
        for folder in self._backups():
            if int(folder.name) > current.get("backup", 0):
                shutil.rmtree(folder)
        shutil.rmtree(self._state / "staged", ignore_errors=True)

    def _start(self, journal: dict[str, Any]) -> None:
        store.write_record(self._journal, journal)
        self._finish(journal)

    def _finish(self, journal: dict[str, Any]) -> None:
        """Do what the journal says; doing it again does no harm."""
        for index, entry in enumerate(journal["entries"]):
            place = self._place(entry["path"])
            if entry["state"] is None:
                store.remove_file(place)
                continue
            state = FileState(**entry["state"])
            store.make_folders(place.parent)
            found = store.read_file(place)
            if found is None or found[0] != state:
                staged = store.read_file(self._staged(index))
                if staged is None:
                    raise SlurmkitError(f"{self._staged(index)} is gone; {place} is the old one")
                store.write_file(place, staged[1], state, _NEW.format(place.name))
        for folder in reversed(journal["remove_folders"]):
            store.remove_folder(self._place(folder))
        audit.append(self.root, audit.Entry(**journal["audit"]))
        if journal["then"]:
            store.write_record(self._current, journal["then"])
        else:
            store.remove_file(self._current)
        store.remove_file(self._journal)
        shutil.rmtree(self._state / "staged", ignore_errors=True)
        if journal["action"] == "rollback":
            shutil.rmtree(self._backup(journal["number"]), ignore_errors=True)

    def _keep(self, number: int, planned: list[Change], folders: list[str]) -> None:
        """Keep what the files are now, and what was installed before."""
        backup = self._backup(number)
        store.make_folders(backup)
        for index, change in enumerate(planned):
            if change.old is not None:
                self._write_private(backup / str(index), self.content(change.path))
        record = {
            "files": {c.path: None if c.old is None else asdict(c.old) for c in planned},
            "folders": folders,
            "previous": store.read_record(self._current) or None,
        }
        store.write_record(backup / "record.json", record)

    def _stage(self, planned: list[Change], contents: dict[str, bytes]) -> None:
        for index, change in enumerate(planned):
            if change.new is not None:
                store.make_folders(self._state / "staged")
                self._write_private(self._staged(index), contents[change.path])

    def _write_private(self, path: Path, content: bytes) -> None:
        state = FileState(store.digest_of(content), 0o600, os.geteuid(), os.getegid())
        store.write_file(path, content, state, _NEW.format(path.name))

    def _kept_content(self, number: int, index: int) -> bytes:
        found = store.read_file(self._backup(number) / str(index))
        if found is None:
            raise SlurmkitError(f"{self._backup(number)} is not whole: {index} is missing")
        return found[1]

    def _found(self, path: str) -> FileState | None:
        try:
            found = store.read_file(self._place(path))
        except PermissionError as error:
            raise SlurmkitError(f"cannot read {path}", hint="run it as root") from error
        return found[0] if found else None

    def _place(self, path: str) -> Path:
        """Return where a path lies; a link that leads out of an image is refused."""
        place = self.root / path.lstrip("/")
        if not place.parent.resolve().is_relative_to(self.root):
            raise SlurmkitError(f"{place.parent} leads out of {self.root}")
        return place

    def _missing_folders(self, planned: list[Change]) -> list[str]:
        missing = set()
        for change in planned:
            folder = self._place(change.path).parent
            while change.new is not None and not folder.is_dir():
                missing.add(f"/{folder.relative_to(self.root)}")
                folder = folder.parent
        return sorted(missing)

    def _backups(self) -> list[Path]:
        folder = self._state / "backups"
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def _next_number(self) -> int:
        return int(store.read_record(self._current).get("backup", 0)) + 1

    def _backup(self, number: int) -> Path:
        return self._state / "backups" / f"{number:06}"

    def _staged(self, index: int) -> Path:
        return self._state / "staged" / str(index)


def _refuse(found: list[Conflict], force: bool) -> None:
    if not found or force:
        return
    names = "; ".join(f"{conflict.path}: {conflict.why}" for conflict in found)
    raise SlurmkitError(
        f"nothing was changed: {names}",
        hint="`slurmkit site diff` shows it; --force overwrites it, and rollback brings it back",
    )


def _entry(path: str, state: FileState | None) -> dict[str, Any]:
    return {"path": path, "state": None if state is None else asdict(state)}


def _states(record: dict[str, Any]) -> dict[str, FileState]:
    return {path: FileState(**state) for path, state in record.items() if state is not None}


def _audit(
    action: str, site: str, number: int, planned: list[Change], force: bool
) -> dict[str, Any]:
    """Return who does what now, with the digests of what goes and what comes."""
    files = [
        {
            "path": change.path,
            "kind": change.kind,
            "old": change.old.digest if change.old else None,
            "new": change.new.digest if change.new else None,
        }
        for change in planned
    ]
    details = {"site": site, "number": number, "force": force, "files": files}
    return asdict(audit.new_entry(action, details))
