"""How slow a disk is: told by the sandbox, obeyed by the server of the disk's file system."""

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path

# Files in a disk's control folder: how slow it shall be, and that its server serves.
SPEED = "speed.json"
READY = "ready"

_POLL_S = 0.02


@dataclass(frozen=True)
class Speed:
    """How slow it is.

    Attributes:
        delay_s: how much longer each operation takes.
        bytes_per_s: how much all readers and writers get together; 0 for no limit.
        stuck: nothing is answered until this changes, as with a server that is down.
    """

    delay_s: float = 0.0
    bytes_per_s: int = 0
    stuck: bool = False

    def write(self, path: Path) -> None:
        """Make this the speed of the file system that reads ``path``."""
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(vars(self)))
        temporary.replace(path)


class Brake:
    """Makes operations wait, as the file with the speed says now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = (0, 0)
        self._speed = Speed()
        self._lock = threading.Lock()
        self._busy_until = 0.0

    def wait(self, num_bytes: int = 0) -> None:
        """Take as long as an operation on so many bytes takes beyond what it really takes."""
        while (speed := self._now()).stuck:
            time.sleep(_POLL_S)
        until = time.monotonic() + speed.delay_s
        if num_bytes and speed.bytes_per_s:
            with self._lock:
                start = max(time.monotonic(), self._busy_until)
                self._busy_until = start + num_bytes / speed.bytes_per_s
            until = max(until, self._busy_until)
        if (pause := until - time.monotonic()) > 0:
            time.sleep(pause)

    def _now(self) -> Speed:
        found = self._path.stat()
        if (found.st_ino, found.st_mtime_ns) != self._known:
            self._speed = Speed(**json.loads(self._path.read_text()))
            self._known = (found.st_ino, found.st_mtime_ns)
        return self._speed
