"""How much counters of the node have grown lately: kept in a file, because they never start anew.

Each name has two readings: the older one is compared with, and the younger one takes its place once
it is as old as the window. So a growth is what came in the last one to two windows. After a pause,
as of a repair, and after a clock that went back it begins anew: that was not lately.
"""

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slurmkit.health.files import put_file

WINDOW_S = 3600.0


class Counters:
    """Earlier readings of counters.

    Args:
        path: the file; it need not exist.
        now: Unix time of this look.
    """

    def __init__(self, path: Path, now: float | None = None) -> None:
        self._path = path
        self._now = time.time() if now is None else now
        self._kept: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(path.read_bytes())
            self._kept = found if isinstance(found, dict) else {}

    def growth(self, name: str, values: Mapping[str, int]) -> dict[str, int] | None:
        """Return by how much each counter has grown; None when there is no reading of lately.

        A counter that is smaller than before was reset; all that it holds is new.

        Args:
            name: whose counters these are, such as the id of a check.
            values: the present readings.
        """
        entry: Any = self._kept.get(name)
        reading = {"at": self._now, "values": dict(values)}
        age_s = self._now - entry["new"]["at"] if _sound(entry) else -1.0
        if not 0 <= age_s < 2 * WINDOW_S:
            self._kept[name] = {"old": reading, "new": reading}
            return None
        if age_s >= WINDOW_S:
            entry = self._kept[name] = {"old": entry["new"], "new": reading}
        before = entry["old"]["values"]
        return {
            key: value - before[key] if value >= before[key] else value
            for key, value in values.items()
            if isinstance(before.get(key), int)
        }

    def save(self) -> None:
        """Write down what was read, for the next look.

        Raises:
            OSError: the file cannot be written.
        """
        put_file(self._path, json.dumps(self._kept))


def _sound(entry: Any) -> bool:
    readings = (entry.get("old"), entry.get("new")) if isinstance(entry, dict) else (None,)
    return all(
        isinstance(reading, dict)
        and isinstance(reading.get("at"), (int, float))
        and isinstance(reading.get("values"), dict)
        for reading in readings
    )
