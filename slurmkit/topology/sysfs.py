"""Read a /sys and /proc tree under any root: a real node, a captured one, or a written one."""

import os


class Tree:
    """The files below a root folder; what is absent or refuses to be read is None or empty.

    A device can vanish between listing and reading, and drivers answer EINVAL for what they do not
    have, so a failed read means "not known here" and never an error.
    """

    def __init__(self, root: str = "/") -> None:
        self.root = root.rstrip("/")

    def read(self, path: str, limit: int = 65536) -> str | None:
        """Return a file's text, stripped, or None."""
        data = self.read_bytes(path, limit)
        return None if data is None else data.decode("utf-8", "replace").strip()

    def read_bytes(self, path: str, limit: int = 65536) -> bytes | None:
        """Return a file's first bytes, or None."""
        try:
            descriptor = os.open(f"{self.root}/{path}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            return os.read(descriptor, limit)
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def number(self, path: str, base: int = 10) -> int | None:
        """Return the number a file holds, or None."""
        text = self.read(path)
        try:
            return None if text is None else int(text, base)
        except ValueError:
            return None

    def names(self, path: str) -> list[str]:
        """Return a folder's entries, sorted, or an empty list."""
        try:
            return sorted(os.listdir(f"{self.root}/{path}"))  # noqa: PTH208 - pathlib is slow to import
        except OSError:
            return []

    def link(self, path: str) -> str:
        """Return where a symbolic link points, as it is written, or an empty text."""
        try:
            return os.readlink(f"{self.root}/{path}")  # noqa: PTH115 - the same
        except OSError:
            return ""
