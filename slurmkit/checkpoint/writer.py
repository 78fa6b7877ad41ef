"""Writing one step: files, reports of the ranks, and the commit by one process.

The order of the commit: every file synced by its writer, all ranks reported, fence checked,
manifest under a temporary name, synced, renamed, folder synced, fence checked again, folder
renamed, parent synced. Before the last rename the step does not exist; after it, it is whole.
"""

import contextlib
import errno
import os
import stat
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slurmkit.checkpoint import fence, reports
from slurmkit.checkpoint.assembly import Identity, listed_files, place_manifest, settle_files
from slurmkit.checkpoint.digest import DigestingFile, FileEntry
from slurmkit.checkpoint.errors import SaveFailedError, save_error
from slurmkit.checkpoint.exchange import put_in_place
from slurmkit.checkpoint.layout import CheckpointDir, discard, temporary_name
from slurmkit.checkpoint.manifest import Manifest, is_safe_name, plain_json, render
from slurmkit.checkpoint.reading import sync_and_digest
from slurmkit.checkpoint.reports import RankReport
from slurmkit.rundir.atomic import sync_folder


class StepWriter:
    """A step that is being written; made by `CheckpointStore.begin`.

    Every rank has one. Each opens its files and reports; one of them waits for the reports and
    commits. The folder is held open: when somebody takes it out of the way, what a late rank
    still writes cannot end up in a new folder of the same name.

    Attributes:
        step: the optimizer step.
        path: the temporary folder.
    """

    def __init__(self, root: CheckpointDir, step: int, identity: Identity) -> None:
        self.step = step
        self.path = root.path / temporary_name(step, identity.token)
        self._root = root
        self._identity = identity
        self._start = time.monotonic()
        self._mine: list[str] = []
        self._settled = False
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._folder_fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            self._check_fence()
            raise save_error(f"{self.path} cannot be made", error) from error
        self._close_folder = weakref.finalize(self, os.close, self._folder_fd)
        try:
            self._check_fence()
        except fence.StaleTokenError:
            self.abort()
            raise

    def open(self, name: str) -> DigestingFile:
        """Create a file of this step; ``/`` in the name makes folders.

        Raises:
            ValueError: the name leads out of the folder, or is one of ours.
            NoSpaceError, SaveFailedError: the file cannot be made, or exists already.
        """
        return DigestingFile(name, self._create(name, os.O_WRONLY), self.path / name)

    def create(self, name: str) -> int:
        """Create a file for reading and writing and return its descriptor; `adopt` it later.

        Raises:
            ValueError, NoSpaceError, SaveFailedError: as `open`.
        """
        return self._create(name, os.O_RDWR)

    def _create(self, name: str, mode: int) -> int:
        if not is_safe_name(name) or reports.is_report(name):
            raise ValueError(f"{name!r} cannot be the name of a file in a checkpoint")
        path = self.path / name
        flags = mode | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            self._make_folders(name)
            descriptor = os.open(name, flags, 0o644, dir_fd=self._folder_fd)
        except FileExistsError as error:
            raise SaveFailedError(
                f"{path} exists already",
                hint="do two ranks use one name? After a killed program, sweep the folder first",
            ) from error
        except OSError as error:
            raise self._gone_or(f"{path} cannot be made", error) from error
        self._mine.append(name)
        return descriptor

    def adopt(self, name: str) -> FileEntry:
        """Digest and sync a file that a library or a C program wrote into `path` by itself.

        Raises:
            ValueError: the name leads out of the folder, or is one of ours.
            NoSpaceError, SaveFailedError: it is no plain file, or it cannot be read or synced.
        """
        if not is_safe_name(name) or reports.is_report(name):
            raise ValueError(f"{name!r} cannot be the name of a file in a checkpoint")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=self._folder_fd)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise SaveFailedError(f"{self.path / name} is no plain file")
                size_bytes, digest = sync_and_digest(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._gone_or(f"{self.path / name} cannot be taken over", error) from error
        self._mine.append(name)
        return FileEntry(name, size_bytes, digest)

    def report(
        self, rank: int, entries: Sequence[FileEntry], meta: dict[str, Any] | None = None
    ) -> None:
        """Say that this rank's part is complete and durable.

        Raises:
            NoSpaceError, SaveFailedError: the report cannot be written; the save cannot succeed.
        """
        report = RankReport(rank, tuple(entries), meta or {}, os.uname().nodename)
        try:
            reports.write_done(self._folder_fd, report)
        except OSError as error:
            raise self._gone_or(f"rank {rank} cannot report in {self.path}", error) from error

    def fail(self, rank: int, error: BaseException) -> None:
        """Say that this rank's part failed; whoever waits for it stops at once."""
        for name in self._mine:  # makes room for the report, which may be about a full disk
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self._folder_fd)
        with contextlib.suppress(OSError):  # given up already, or no room at all: the wait ends it
            reports.write_failed(self._folder_fd, rank, error)
        self._close_folder()

    def await_reports(
        self, world_size: int, timeout_s: float, alive: Callable[[], bool] | None = None
    ) -> list[RankReport]:
        """Wait until every rank has reported and return the reports by rank.

        Args:
            world_size: how many ranks write this step.
            timeout_s: how long at most, seconds.
            alive: asked at every poll; False gives the save up.

        Raises:
            NoSpaceError, SaveFailedError: a rank failed, with its reason, or did not report in
                time. The temporary folder is removed.
            StaleTokenError: another attempt has taken over and swept the folder.
        """
        try:
            waiting = reports.Waiting(self.path, world_size)
            return list(reports.await_all(waiting, timeout_s, alive))
        except OSError as error:
            self.abort()
            raise self._gone_or(f"{self.path} cannot be read", error) from error
        except SaveFailedError:
            self.abort()
            self._check_fence()  # that files vanished may only mean that the folder was swept
            raise

    def commit(
        self, reports: Sequence[RankReport], *, extra: dict[str, Any] | None = None
    ) -> Manifest:
        """Make the step count; one process calls this, after every rank has reported.

        Args:
            reports: what `await_reports` returned.
            extra: what the program wants to find again; JSON.

        Raises:
            StaleTokenError: another attempt has taken over.
            NoSpaceError, SaveFailedError: a file is missing, has another length or was never
                reported, or the file system refuses. In each case the temporary folder is
                removed and the steps committed before are untouched.
            TypeError: `extra` is no JSON.
        """
        try:
            files = listed_files(reports)
            settle_files(self.path, files)
            manifest = Manifest(
                step=self.step,
                time=time.time(),
                run=self._identity.run,
                incarnation=self._identity.incarnation,
                attempt=self._identity.attempt,
                world_size=len(reports),
                files=files,
                save_s=round(time.monotonic() - self._start, 6),
                extra=plain_json(extra or {}),
                folder=self._root.step_path(self.step),
            )
            self._check_fence()
            data = render(manifest)
            place_manifest(self._folder_fd, data)
            sync_folder(self.path)
            self._check_fence()
            put_in_place(self.path, manifest.folder, data)
            self._check_it_was_ours(manifest.folder)
            sync_folder(self._root.path)
        except OSError as error:
            self.abort()
            raise self._gone_or(f"step {self.step} cannot be committed", error) from error
        except BaseException as error:
            self.abort()
            if isinstance(error, SaveFailedError):
                self._check_fence()
            raise
        self._settled = True
        self._close_folder()
        return manifest

    def abort(self) -> None:
        """Remove the temporary folder; committed steps are untouched. Harmless when repeated."""
        self._close_folder()
        if not self._settled:
            self._settled = True
            with contextlib.suppress(OSError):  # the next sweep tries again
                discard(self.path)

    def _check_it_was_ours(self, final: Path) -> None:
        # A late rank may have made the temporary folder anew between a sweep and the rename
        if not os.path.samestat(os.fstat(self._folder_fd), final.stat()):
            raise SaveFailedError(f"{self.path} was taken away during the commit")

    def _make_folders(self, name: str) -> None:
        for folder in list(Path(name).parents)[-2::-1]:  # the outermost first, without "."
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, dir_fd=self._folder_fd)

    def _check_fence(self) -> None:
        if self._identity.token is not None:
            fence.check(self._root.path, self._identity.token)

    def _gone_or(self, what: str, error: OSError) -> SaveFailedError:
        """Return what an error means, after making sure that nobody else has taken over."""
        if error.errno in (errno.ENOENT, errno.ESTALE):
            self._check_fence()  # raises: the folder was swept by a new attempt
            return SaveFailedError(f"{what}: {self.path} was given up and removed meanwhile")
        return save_error(what, error)
