"""Files that grow while they are read: whole lines, in bytes, from several files at once."""

from collections import deque
from pathlib import Path

_BLOCK_BYTES = 1 << 20


class Tail:
    """Reads what was added to a file since the last look; the file need not exist yet.

    Args:
        path: the file.
        prefix: put before every line, such as ``b"[task 3] "``.
    """

    def __init__(self, path: Path, prefix: bytes = b"") -> None:
        self.path = path
        self._prefix = prefix
        self._offset = 0
        self._partial = b""

    def skip_to_last(self, num_lines: int) -> None:
        """Start at the last ``num_lines`` lines instead of at the beginning."""
        self._offset = _offset_of_last(self.path, num_lines)

    def read(self, *, final: bool = False) -> bytes:
        """Return the complete lines that are new; with ``final`` also an unfinished last one."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(_BLOCK_BYTES)
        except FileNotFoundError:
            data = b""
        self._offset += len(data)
        text = self._partial + data
        cut = len(text) if final and len(data) < _BLOCK_BYTES else text.rfind(b"\n") + 1
        self._partial = text[cut:]
        return self._prefixed(text[:cut])

    def _prefixed(self, text: bytes) -> bytes:
        if not self._prefix or not text:
            return text
        return b"".join(self._prefix + line for line in text.splitlines(keepends=True))


def _offset_of_last(path: Path, num_lines: int) -> int:
    """Return where the last lines of a file begin; 0 when it has no more lines than that."""
    starts: deque[int] = deque([0], maxlen=num_lines + 1)
    offset = 0
    try:
        with path.open("rb") as file:
            for line in file:
                offset += len(line)
                starts.append(offset)
    except FileNotFoundError:
        return 0
    # The end of the file is the start of the line that is not there yet.
    return starts[-min(num_lines + 1, len(starts))]
