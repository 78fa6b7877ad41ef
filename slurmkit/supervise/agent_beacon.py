"""A sign of the supervisor's life on the shared folder, beside the network."""

import contextlib
import threading
from pathlib import Path

_BEACON_S = 1.0


class Beacon:
    """A file on the shared folder that grows older only when the supervisor is gone.

    An agent that cannot reach the supervisor over the network looks at it before it concludes that
    nobody supervises the job any more. A thread writes it, because a shared file system that hangs
    must not hold up the supervisor.
    """

    def __init__(self, path: Path) -> None:
        self.paused = False
        self._path = path
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="slurmkit-beacon", daemon=True).start()

    def stop(self) -> None:
        """End; the file goes."""
        self._stop.set()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _run(self) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            # Opened anew each time: closing is what makes NFS pass it on.
            with contextlib.suppress(OSError):
                if not self.paused:
                    self._path.write_text(f"{count}\n", encoding="ascii")
            self._stop.wait(_BEACON_S)
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
