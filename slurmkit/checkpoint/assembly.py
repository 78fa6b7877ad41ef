"""The steps of a commit, one by one; `writer` says in which order and under which checks."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmkit.checkpoint.errors import SaveFailedError
from slurmkit.checkpoint.layout import MANIFEST_NAME
from slurmkit.checkpoint.manifest import ManifestFile, sorted_files
from slurmkit.checkpoint.reading import fresh_size, walk
from slurmkit.checkpoint.reports import RankReport, is_report
from slurmkit.rundir.atomic import sync_folder, write_all


@dataclass(frozen=True)
class Identity:
    """Who writes.

    Attributes:
        token: the fence token, or None when no fence is checked.
        run: which run; free text.
    """

    token: str | None
    run: str

    @property
    def incarnation(self) -> str:
        """The part of the token before the slash."""
        return (self.token or "").rpartition("/")[0]

    @property
    def attempt(self) -> int:
        """The number after the slash; 0 when there is none."""
        number = (self.token or "").rpartition("/")[2]
        return int(number) if number.isdecimal() else 0


def listed_files(reports: Sequence[RankReport]) -> tuple[ManifestFile, ...]:
    """Return all files that ranks have reported, as a manifest lists them; pure.

    Raises:
        SaveFailedError: two ranks claim one file.
    """
    files: dict[str, ManifestFile] = {}
    for report in reports:
        for entry in report.entries:
            if entry.name in files:
                raise SaveFailedError(
                    f"ranks {files[entry.name].rank} and {report.rank} both say that they wrote"
                    f" {entry.name}"
                )
            files[entry.name] = ManifestFile(
                entry.name, entry.size_bytes, entry.digest, report.rank
            )
    return sorted_files(files.values())


def settle_files(folder: Path, files: Sequence[ManifestFile]) -> None:
    """Compare what was reported with what lies there, remove the reports, sync the folders.

    Raises:
        SaveFailedError: a file is missing, has another length, or was reported by nobody.
        OSError: the folder cannot be read or synced.
    """
    present = walk(folder)
    for name in [name for name in present if is_report(name)]:
        (folder / name).unlink()
        del present[name]
    for file in files:
        size_bytes = present.pop(file.name, None)
        if size_bytes != file.size_bytes:
            size_bytes = fresh_size(folder / file.name)
        if size_bytes != file.size_bytes:
            found = "is missing" if size_bytes is None else f"has {size_bytes} bytes"
            raise SaveFailedError(
                f"{folder / file.name} {found}, but rank {file.rank} reported"
                f" {file.size_bytes} bytes"
            )
    if present:
        raise SaveFailedError(f"{folder / min(present)} was reported by no rank")
    for parent in {parent for file in files for parent in Path(file.name).parents}:
        sync_folder(folder / parent)


def place_manifest(folder_fd: int, data: bytes) -> None:
    """Write the manifest under a temporary name, sync it, and give it its name.

    Raises:
        OSError: the file system refuses.
    """
    temporary = f".{MANIFEST_NAME}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o644, dir_fd=folder_fd)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, MANIFEST_NAME, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
