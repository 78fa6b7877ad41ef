"""Checkpoint folders from outside of the program that writes them: what `slurmkit ckpt` calls.

Also the way for programs that are not in Python: they write files, and `begin_folder` and
`commit_folder` give these the same manifest and the same commit.
"""

import contextlib
import errno
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurmkit.checkpoint.digest import FileEntry
from slurmkit.checkpoint.errors import (
    CheckpointError,
    CorruptCheckpointError,
    SaveFailedError,
    save_error,
)
from slurmkit.checkpoint.layout import CheckpointDir, StepSummary
from slurmkit.checkpoint.manifest import Manifest
from slurmkit.checkpoint.reading import walk
from slurmkit.checkpoint.reports import RankReport
from slurmkit.checkpoint.retention import removable
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.checkpoint.writer import StepWriter
from slurmkit.errors import UsageError

_COPY_CHUNK_BYTES = 4 << 20


@dataclass(frozen=True)
class Verdict:
    """What verification found.

    Attributes:
        step: the step.
        ok: whether every byte is as it was written.
        problem: the file and what is wrong with it; empty when ok.
        size_bytes: how much was read at most.
        seconds: how long it took.
    """

    step: int
    ok: bool
    problem: str
    size_bytes: int
    seconds: float


@dataclass(frozen=True)
class Quarantined:
    """A step that failed verification and was put aside.

    Attributes:
        path: where it is.
        step: which step it was; -1 when its reason is lost.
        why: what was wrong.
        time: when it was put aside, Unix seconds.
    """

    path: Path
    step: int
    why: str
    time: float


@dataclass(frozen=True)
class Pruned:
    """What a prune removed, or would remove.

    Attributes:
        removed: steps, ascending.
        kept: steps, ascending.
        freed_bytes: the size of what was removed.
    """

    removed: list[int]
    kept: list[int]
    freed_bytes: int


def list_steps(folder: Path) -> list[StepSummary]:
    """Return the steps, ascending, as their manifests say; a damaged one has world_size 0.

    Raises:
        UsageError: there is no such folder.
    """
    root = _existing(folder)
    return [_summary(root, step) for step in root.folders()]


def list_quarantined(folder: Path) -> list[Quarantined]:
    """Return what was put into quarantine, the oldest name first."""
    found = []
    quarantine = _existing(folder).quarantine_path
    for path in sorted(quarantine.iterdir()) if quarantine.is_dir() else []:
        try:
            fields = json.loads((path / "why.json").read_bytes())
            entry = Quarantined(path, fields["step"], fields["why"], fields["time"])
        except (OSError, ValueError, KeyError, TypeError):
            entry = Quarantined(path, -1, "the reason was not written down", 0.0)
        found.append(entry)
    return found


def verify_all(folder: Path, steps: list[int] | None = None) -> list[Verdict]:
    """Read steps completely and say which are whole; nothing is changed.

    Args:
        folder: the checkpoint folder.
        steps: which; None for all.

    Raises:
        UsageError: there is no such folder, or no such step.
    """
    root = _existing(folder)
    present = root.folders()
    unknown = sorted(set(steps or ()) - set(present))
    if unknown:
        raise UsageError(f"{folder} has no step {unknown[0]}", hint=f"it has {present or 'none'}")
    store = CheckpointStore(root.path)
    return [_verdict(store, step) for step in (present if steps is None else sorted(steps))]


def newest_folder(folder: Path, *, token: str | None = None) -> Path | None:
    """Return the folder of the newest step that verifies; None when there is none.

    What does not verify is put into quarantine, so nobody may be writing: it is asked at the start.

    Args:
        folder: the checkpoint folder; may be missing.
        token: the fence token; None when no fence is checked.

    Raises:
        StaleTokenError: another attempt has taken over.
        CheckpointError: something cannot be read right now, which is no damage.
    """
    if not folder.is_dir():
        return None
    store = CheckpointStore(folder, token=token)
    manifest = store.newest()
    return None if manifest is None else store.dir.step_path(manifest.step)


def prune(folder: Path, keep: int, *, dry_run: bool = False) -> Pruned:
    """Remove the oldest committed steps, after making sure that the newest one is whole.

    Args:
        folder: the checkpoint folder; its job may be running, as only old steps go.
        keep: how many of the newest stay.
        dry_run: change nothing; say what would go.

    Raises:
        UsageError: there is no such folder, or `keep` is less than 1.
        CorruptCheckpointError: the newest step is damaged; nothing was removed.
    """
    root = _existing(folder)
    if keep < 1:
        raise UsageError(f"keep is {keep}; at least one step has to stay")
    steps = root.steps()
    going = removable(steps, keep)
    freed_bytes = sum(_summary(root, step).size_bytes for step in going)
    if going and not dry_run:
        store = CheckpointStore(root.path, keep=keep)
        try:
            store.verify(steps[-1])
        except CorruptCheckpointError as error:
            raise CorruptCheckpointError(
                f"nothing was removed, as the newest step is damaged: {error.message}",
                step=error.step,
                file=error.file,
                hint="the next start of the job puts it into quarantine; then prune again",
            ) from error
        going = [step for step in store.prune() if step in going]
    return Pruned(going, [step for step in steps if step not in going], freed_bytes)


def begin_folder(
    folder: Path, step: int, *, token: str | None = None, size_bytes: int | None = None
) -> Path:
    """Return the temporary folder of a step, made and empty or begun by another rank.

    Every rank of a program may ask, and then writes its files there; `commit_folder` comes last.

    Raises:
        NoSpaceError, SaveFailedError, StaleTokenError: as `CheckpointStore.begin`.
    """
    return CheckpointStore(folder, token=token).begin(step, size_bytes=size_bytes).path


def commit_folder(
    folder: Path,
    step: int,
    *,
    source: Path | None = None,
    token: str | None = None,
    keep: int | None = None,
    extra: dict[str, Any] | None = None,
) -> Manifest:
    """Digest and commit files that a program has written and closed.

    Args:
        folder: the checkpoint folder.
        step: the step they belong to.
        source: the folder with the files. It is taken over, without copying where the file system
            can link, and is removed when the step is committed; after an error it is untouched.
            None: the files are in what `begin_folder` returned.
        token: the fence token; None when no fence is checked.
        keep: prune afterwards, so that this many steps stay; None: do not.
        extra: for the manifest; JSON.

    Raises:
        UsageError: there is nothing to commit.
        NoSpaceError, SaveFailedError, StaleTokenError: as `StepWriter.commit`.
    """
    store = CheckpointStore(folder, token=token, keep=keep or 1)
    origin = source.absolute() if source else None
    if origin and (origin == store.dir.path or not origin.is_dir()):
        raise UsageError(f"{source} is no folder with files of a step")
    writer = store.begin(step)
    try:
        entries = _take_over(writer, origin) if origin else _adopt_all(writer)
        if not entries:
            raise UsageError(
                f"there are no files to commit in {source or writer.path}",
                hint="write the files of the step first",
            )
        manifest = writer.commit([RankReport(0, tuple(entries))], extra=extra)
    except BaseException:
        writer.abort()
        raise
    if origin:
        with contextlib.suppress(OSError):  # the step counts; what is left of its source does not
            shutil.rmtree(origin)
    if keep:
        store.prune()
    return manifest


def _adopt_all(writer: StepWriter) -> list[FileEntry]:
    names = sorted(walk(writer.path))
    with ThreadPoolExecutor(min(8, len(os.sched_getaffinity(0))), "digest") as pool:
        return list(pool.map(writer.adopt, names))


def _take_over(writer: StepWriter, source: Path) -> list[FileEntry]:
    entries = []
    linked = []
    for name in sorted(walk(source)):
        target = writer.path / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source / name, target, follow_symlinks=False)
            linked.append(name)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
                raise save_error(f"{source / name} cannot be taken over", error) from error
            entries.append(_copy(writer, source, name))
    with ThreadPoolExecutor(min(8, len(os.sched_getaffinity(0))), "digest") as pool:
        return [*entries, *pool.map(writer.adopt, linked)]


def _copy(writer: StepWriter, source: Path, name: str) -> FileEntry:
    path = source / name
    if not path.is_file() or path.is_symlink():
        raise SaveFailedError(f"{path} is no plain file")
    with path.open("rb", buffering=0) as original, writer.open(name) as copy:
        buffer = memoryview(bytearray(_COPY_CHUNK_BYTES))
        while length := original.readinto(buffer):
            copy.write(buffer[:length])
        return copy.close()


def _verdict(store: CheckpointStore, step: int) -> Verdict:
    start = time.monotonic()
    problem = ""
    try:
        size_bytes = store.verify(step).size_bytes
    except CheckpointError as error:
        problem = error.message
        size_bytes = _summary(store.dir, step).size_bytes
    return Verdict(step, not problem, problem, size_bytes, time.monotonic() - start)


def _summary(root: CheckpointDir, step: int) -> StepSummary:
    try:
        return root.summary(step)
    except CorruptCheckpointError:
        return StepSummary(step, 0.0, 0, "", 0, 0, 0.0)


def _existing(folder: Path) -> CheckpointDir:
    if not folder.is_dir():
        raise UsageError(f"there is no checkpoint folder {folder}")
    return CheckpointDir(folder.absolute())
