"""What a compiled plugin says about itself: our release, and the Slurm it was built for."""

import re
from dataclasses import dataclass
from pathlib import Path

# plugins/spank/common/dispatch.c puts these words into the file.
_NOTE = re.compile(rb"slurmkit-spank (\S+) slurm (\d+\.\d+\.\d+)\0")


@dataclass(frozen=True)
class Note:
    """Releases of slurmkit and of Slurm, such as ``0.1.0`` and ``22.05.8``."""

    slurmkit: str
    slurm: str


def read_note(path: Path) -> Note | None:
    """Return what the plugin says; None when there is no file, or it is none of ours."""
    if not path.is_file():
        return None
    match = _NOTE.search(path.read_bytes())
    return Note(match[1].decode(), match[2].decode()) if match else None
