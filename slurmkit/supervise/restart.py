"""What a program in any language is told: where to restart from, and that its end is near.

Programs that use ``slurmkit.train`` or a store of their own find the newest checkpoint themselves;
for the others the script exports SLURMKIT_RESTART_DIR, empty, and each launch fills it.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from slurmkit.rundir.atomic import atomic_write

RESTART_VARIABLE = "SLURMKIT_RESTART_DIR"
WARNING_VARIABLE = "SLURMKIT_WARNING_FILE"
WARNING_NAME = "warning"


def restart_dir(
    checkpoints: Path, token: str | None, env: Mapping[str, str], warn: Callable[[str], None]
) -> str | None:
    """Return the newest verified step's folder, empty for none; None where nobody asks for it.

    A process of its own verifies it: that takes memory and time, and the digests' library.

    Args:
        checkpoints: the checkpoint folder.
        token: the fence token of the attempt that is about to start.
        env: this process's environment; the script says in it that the program wants to know.
        warn: is told what was put into quarantine.

    Raises:
        OSError: checkpoints cannot be read now, or another attempt has taken over: a program that
            then began at step 0 would throw work away.
    """
    if RESTART_VARIABLE not in env:
        return None
    if not checkpoints.is_dir():
        return ""
    command = [sys.executable, "-m", "slurmkit", "ckpt", "newest", str(checkpoints.absolute())]
    own = {name: value for name, value in env.items() if name != "SLURMKIT_FENCE"}
    try:
        done = subprocess.run(
            command,
            cwd="/",  # what the user calls slurmkit.py is not meant
            env={**own, **({"SLURMKIT_FENCE": token} if token else {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise OSError(f"the newest checkpoint cannot be read: {error.stderr.strip()}") from error
    for line in done.stderr.splitlines():
        warn(line)
    return done.stdout.strip()


def write_warning(folder: Path, why: str, deadline: float | None) -> None:
    """Make the file that programs look for; again changes nothing.

    Args:
        folder: of the attempt.
        why: for people.
        deadline: when the job ends, Unix seconds; None when nobody knows.
    """
    path = folder / WARNING_NAME
    if path.exists():
        return
    end = "" if deadline is None else f"{deadline:.0f}"
    with contextlib.suppress(OSError):  # the signal and the agents tell it, too
        atomic_write(path, f"{why}\n{end}\n")


def warning_path(folder: Path) -> str:
    """Return what SLURMKIT_WARNING_FILE says in an attempt."""
    return os.fspath(folder / WARNING_NAME)
