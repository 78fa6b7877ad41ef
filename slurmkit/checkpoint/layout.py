"""Names inside a checkpoint folder, which steps are committed, and how leftovers are swept.

Standard library only, and cheap: the supervisor imports it. `fence` says why a sweep is safe.
"""

import json
import os
import re
import shutil
from pathlib import Path

from slurmkit.checkpoint.errors import CorruptCheckpointError
from slurmkit.record import Record

MANIFEST_NAME = "manifest.json"
QUARANTINE_NAME = "quarantine"
_STEP = re.compile(r"step-(\d{10,})", re.ASCII)
_TEMPORARY = re.compile(r"step-(\d{10,})\.tmp-.+", re.ASCII)


class StepSummary(Record):
    """What a manifest says about a step, not verified.

    Attributes:
        step: the optimizer step.
        time: when it was committed, Unix seconds.
        size_bytes: of all its files, without the manifest.
        incarnation: which life of which job wrote it; empty for a program that ran alone.
        attempt: which launch wrote it.
        world_size: how many ranks wrote it.
        save_s: from the begin of the save to the commit, seconds.
    """

    step: int
    time: float
    size_bytes: int
    incarnation: str
    attempt: int
    world_size: int
    save_s: float


def step_name(step: int) -> str:
    """Return the name of a step's folder; names sort as the steps do.

    Raises:
        ValueError: the step is negative.
    """
    if step < 0:
        raise ValueError(f"step {step} is negative")
    return f"step-{step:010d}"


def temporary_name(step: int, token: str | None) -> str:
    """Return the name of the folder that an attempt writes a step into; each attempt has its own.

    All ranks of an attempt come to the same name without talking to each other.
    """
    return f"{step_name(step)}.tmp-{safe_token(token)}"


def safe_token(token: str | None) -> str:
    """Return a token in a form that can be part of a file name."""
    return re.sub(r"[^A-Za-z0-9_-]", ".", token or "alone")


class CheckpointDir(Record):
    """A checkpoint folder; nothing here reads the data of a step."""

    path: Path

    def step_path(self, step: int) -> Path:
        """Return where a step is, or would be, when it is committed."""
        return self.path / step_name(step)

    @property
    def quarantine_path(self) -> Path:
        """Return where steps go that failed verification."""
        return self.path / QUARANTINE_NAME

    def folders(self) -> list[int]:
        """Return the steps that have a folder with a final name, ascending; damaged ones, too."""
        return sorted(int(match[1]) for match in map(_STEP.fullmatch, self._names()) if match)

    def steps(self) -> list[int]:
        """Return the committed steps, ascending: those with a manifest, which is not verified."""
        return [step for step in self.folders() if (self.step_path(step) / MANIFEST_NAME).exists()]

    def temporaries(self) -> list[str]:
        """Return the names of temporary folders: saves in progress, and what killed ones left."""
        return sorted(name for name in self._names() if _TEMPORARY.fullmatch(name))

    def sweep(self) -> list[str]:
        """Remove every temporary folder and return their names.

        Write the fence first: then a stale writer cannot commit what is being swept, nor begin
        anew (see `fence`).

        Raises:
            OSError: a folder cannot be renamed.
        """
        return [name for name in self.temporaries() if discard(self.path / name)]

    def summary(self, step: int) -> StepSummary:
        """Return what the manifest of a step says, without looking at its digests.

        Raises:
            CorruptCheckpointError: there is no manifest, or it cannot be read.
        """
        path = self.step_path(step) / MANIFEST_NAME
        try:
            fields = json.loads(path.read_bytes())
            return StepSummary(
                step=int(fields["step"]),
                time=float(fields["time"]),
                size_bytes=int(fields["size_bytes"]),
                incarnation=str(fields["incarnation"]),
                attempt=int(fields["attempt"]),
                world_size=int(fields["world_size"]),
                save_s=float(fields["save_s"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptCheckpointError(
                f"the manifest {path} cannot be read: {error!r}", step=step, file=MANIFEST_NAME
            ) from error

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.path)  # noqa: PTH208 (names only, no Path for each)
        except FileNotFoundError:
            return []


def discard(folder: Path) -> bool:
    """Take a folder out of the way by one rename, then remove it; False when it is not there.

    The rename is what counts. The new name is a temporary one, so the next sweep removes what is
    left: after a kill, or when a stale writer still puts files into it.

    Raises:
        OSError: the folder cannot be renamed.
    """
    name = folder.name.partition(".gone-")[0]
    name = name if ".tmp-" in name else f"{name}.tmp-old"
    away = folder.with_name(f"{name}.gone-{os.urandom(4).hex()}")
    try:
        folder.rename(away)
    except FileNotFoundError:
        return False
    shutil.rmtree(away, ignore_errors=True)
    return True
