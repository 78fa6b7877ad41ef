"""What an install would change, and what stands in its way. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class FileState:
    """What a file is: its content by SHA-256, its permissions, and whose it is."""

    digest: str
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True)
class Change:
    """One file that would change.

    Attributes:
        path: absolute, as programs inside the root see it.
        old: what is there; None for nothing.
        new: what would be there; None where it goes.
    """

    path: str
    old: FileState | None
    new: FileState | None

    @property
    def kind(self) -> str:
        """Create, remove, update, or mode where only permissions or the owner change."""
        if self.old is None:
            return "create"
        if self.new is None:
            return "remove"
        return "update" if self.old.digest != self.new.digest else "mode"


@dataclass(frozen=True)
class Conflict:
    """A file that is not as anybody's install left it: somebody's work would be lost."""

    path: str
    why: str


def changes(
    wanted: Mapping[str, FileState],
    installed: Mapping[str, FileState],
    found: Mapping[str, FileState | None],
) -> list[Change]:
    """Return what differs, by path.

    Args:
        wanted: what the site has.
        installed: what the last install wrote; of it, what the site has no more goes.
        found: what is there now, for every path of both.
    """
    targets: dict[str, FileState | None] = {**dict.fromkeys(installed), **wanted}
    return [
        Change(path, found[path], new)
        for path, new in sorted(targets.items())
        if found[path] != new
    ]


def conflicts(planned: list[Change], installed: Mapping[str, FileState]) -> list[Conflict]:
    """Return the changes that would overwrite or remove what another hand has written."""
    found = []
    for change in planned:
        before = installed.get(change.path)
        if change.old is None or change.old == before:
            continue
        if before is None:
            found.append(Conflict(change.path, "it was there before, and no install wrote it"))
        elif change.old.digest != before.digest:
            found.append(Conflict(change.path, "it was edited after it was installed"))
        else:
            found.append(Conflict(change.path, "its mode or owner was changed after the install"))
    return found
