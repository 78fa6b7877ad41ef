"""The fence of a checkpoint folder: which attempt may commit into it.

The file ``fence`` holds one token. It is written before each launch, by the supervisor or by a
program that runs alone. Why no stale writer can commit behind the back of a new attempt:

- A new attempt first writes the fence, then renames every temporary folder away, then lists the
  committed steps.
- A writer first creates its temporary folder, then checks the fence; and it checks the fence once
  more before it renames the temporary folder to its final name.

Take a writer of an older attempt. If it created its folder after the fence moved, its first check
fails. If before, the sweep, which comes after the fence, sees the folder. Then either the writer's
rename came before the sweep's, so the step is committed and the new attempt sees it, because it
lists after the sweep; or the sweep's rename came first, so the writer's rename finds nothing and
fails. One rename wins, as rename(2) is atomic, and NFS does it on the server.

On NFS a client opens the fence anew at each check, which asks the server (close-to-open, nfs(5));
the file that the client may have cached was replaced by rename and its handle is stale.
"""

from pathlib import Path

from slurmkit.checkpoint.errors import CheckpointError
from slurmkit.rundir.atomic import atomic_write

FENCE_NAME = "fence"


class StaleTokenError(CheckpointError):
    """Another attempt has taken over this checkpoint folder; this one must not write any more."""


def write_fence(folder: Path, token: str) -> None:
    """Give the folder to an attempt: from now on only writers with this token can commit.

    Args:
        folder: the checkpoint folder; it is made when it is not there.
        token: ``<incarnation>/<attempt>``, one line.

    Raises:
        ValueError: the token is empty or has a line break.
        OSError: the file system refuses; the fence is as it was.
    """
    if not token.strip() or "\n" in token or token != token.strip():
        raise ValueError(f"{token!r} is not a fence token; write <incarnation>/<attempt>")
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / FENCE_NAME, token + "\n")


def holder(folder: Path) -> str | None:
    """Return the token that may commit, or None when there is no fence."""
    try:
        return (folder / FENCE_NAME).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def check(folder: Path, token: str) -> None:
    """Return when the token holds the fence.

    Raises:
        StaleTokenError: another attempt holds it, or the fence is gone.
    """
    current = holder(folder)
    if current != token:
        who = f"attempt {current} has taken over" if current else "its fence is gone"
        raise StaleTokenError(
            f"attempt {token} may not write checkpoints to {folder} any more: {who}",
            hint="nothing is lost: the attempt that holds the fence goes on from the newest step",
        )
