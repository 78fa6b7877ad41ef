"""The manifest: what a step consists of, as a JSON file that notices any change to itself."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from slurmkit.checkpoint.digest import ALGORITHM, FileEntry, digest_of
from slurmkit.checkpoint.errors import CorruptCheckpointError, UnknownFormatError
from slurmkit.checkpoint.layout import MANIFEST_NAME

VERSION = 1


@dataclass(frozen=True)
class ManifestFile(FileEntry):
    """One file of a committed step, and the rank that wrote it (-1: none in particular)."""

    rank: int = -1


@dataclass(frozen=True)
class Manifest:
    """A committed step.

    Attributes:
        step: the optimizer step.
        time: of the commit, Unix seconds.
        run: which run; free text.
        incarnation: which life of which job; empty for a program that ran alone.
        attempt: which launch.
        world_size: how many ranks wrote it.
        files: all files, sorted by name.
        save_s: from the begin of the save to the commit, seconds.
        extra: whatever the program wants to know again, such as the epoch; JSON.
        folder: where the step is; not part of the file.
        near: sound copies of files that are quicker to read; not part of the file.
    """

    step: int
    time: float
    run: str
    incarnation: str
    attempt: int
    world_size: int
    files: tuple[ManifestFile, ...]
    save_s: float
    extra: dict[str, Any] = field(default_factory=dict)
    folder: Path = Path()
    near: Mapping[str, Path] = field(default_factory=dict, compare=False)

    @property
    def size_bytes(self) -> int:
        """The size of all files together."""
        return sum(file.size_bytes for file in self.files)

    def path_of(self, name: str) -> Path:
        """Return where to read a file."""
        return self.near.get(name, self.folder / name)

    def entry(self, name: str) -> ManifestFile:
        """Return the entry of one file.

        Raises:
            KeyError: the step has no such file.
        """
        for file in self.files:
            if file.name == name:
                return file
        raise KeyError(f"step {self.step} has no file {name}")

    def files_of(self, rank: int) -> list[ManifestFile]:
        """Return the files that one rank wrote."""
        return [file for file in self.files if file.rank == rank]


def is_safe_name(name: str) -> bool:
    """Return whether a file of a step may be called this: below its folder, and not ours."""
    parts = PurePosixPath(name).parts
    return (
        str(PurePosixPath(name)) == name
        and bool(parts)
        and ".." not in parts
        and not name.startswith("/")
        and name != MANIFEST_NAME
        and not any(ord(char) < 32 for char in name)
    )


def render(manifest: Manifest) -> bytes:
    """Return the bytes of the manifest file; one manifest has one form only."""
    body: dict[str, Any] = {
        "version": VERSION,
        "algorithm": ALGORITHM,
        "step": manifest.step,
        "time": manifest.time,
        "run": manifest.run,
        "incarnation": manifest.incarnation,
        "attempt": manifest.attempt,
        "world_size": manifest.world_size,
        "save_s": manifest.save_s,
        "size_bytes": manifest.size_bytes,
        "files": [
            {"name": f.name, "size_bytes": f.size_bytes, "digest": f.digest, "rank": f.rank}
            for f in manifest.files
        ],
        "extra": manifest.extra,
    }
    return _dump({**body, "digest": digest_of(_dump(body))})


def parse(data: bytes, folder: Path, step: int) -> Manifest:
    """Return the manifest that these bytes are.

    Args:
        data: the whole file.
        folder: where the step is.
        step: which step the folder claims to be.

    Raises:
        CorruptCheckpointError: any byte is not as it was written, or it is another step's.
        UnknownFormatError: it was written by a newer release.
    """

    def corrupt(why: str) -> CorruptCheckpointError:
        path = folder / MANIFEST_NAME
        return CorruptCheckpointError(f"{path} {why}", step=step, file=MANIFEST_NAME)

    try:
        fields = json.loads(data)
        claimed = fields.pop("digest")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise corrupt("is not a manifest any more") from error
    # Rendering again and comparing bytes also notices changes that JSON does not, such as blanks
    if claimed != digest_of(_dump(fields)) or _dump({**fields, "digest": claimed}) != data:
        raise corrupt("does not match its own digest")
    if fields["version"] != VERSION or fields["algorithm"] != ALGORITHM:
        raise UnknownFormatError(
            f"{folder / MANIFEST_NAME} is of format {fields['version']} with"
            f" {fields['algorithm']} digests; this release knows {VERSION} with {ALGORITHM}",
            hint="use the slurmkit that wrote it, or a newer one",
        )
    if fields["step"] != step:
        raise corrupt(f"is that of step {fields['step']}")
    return _from_fields(fields, folder)


def _from_fields(fields: dict[str, Any], folder: Path) -> Manifest:
    return Manifest(
        **{name: fields[name] for name in ("step", "time", "run", "incarnation", "attempt")},
        world_size=fields["world_size"],
        files=tuple(ManifestFile(**file) for file in fields["files"]),
        save_s=fields["save_s"],
        extra=fields["extra"],
        folder=folder,
    )


def plain_json(value: dict[str, Any]) -> dict[str, Any]:
    """Return what will be read back: keys as text, tuples as lists.

    Raises:
        TypeError: a value is no JSON, such as a tensor.
    """
    result: dict[str, Any] = json.loads(json.dumps(value))
    return result


def sorted_files(files: Iterable[ManifestFile]) -> tuple[ManifestFile, ...]:
    """Return files in the order in which a manifest lists them."""
    return tuple(sorted(files, key=lambda file: file.name))


def _dump(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, indent=1, sort_keys=True).encode() + b"\n"
