"""The last verdicts of the health program, in a file that everybody on the node may read.

The prolog takes from it what it has no time to look at itself, and slurmkit's agents see in it that
the jobs of a node have to leave.
"""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from slurmkit.health.files import put_file
from slurmkit.health.verdict import Verdict, from_fields, worst
from slurmkit.record import Record

VERDICT_PATH = "/run/slurmkit/health.json"
#: Names another file; for tests, and for several nodes on one machine.
PATH_VARIABLE = "SLURMKIT_NODE_VERDICT"
_MOST_BYTES = 1 << 20


class Published(Record):
    """What the file says.

    Attributes:
        at: when it was written, Unix seconds.
        verdicts: of all checks.
        evict: why the jobs on this node have to leave it; empty when they need not.
    """

    at: float
    verdicts: tuple[Verdict, ...] = ()
    evict: str = ""


def published_path() -> Path:
    """Return where the file is."""
    return Path(os.environ.get(PATH_VARIABLE) or VERDICT_PATH)


def publish(path: Path, host: str, verdicts: Sequence[Verdict], evict: str) -> None:
    """Write the file.

    Raises:
        OSError: it cannot be written.
    """
    fields = {
        "time": time.time(),
        "host": host,
        "verdict": worst(list(verdicts)),
        "evict": evict,
        "checks": [verdict.fields() for verdict in verdicts],
    }
    put_file(path, json.dumps(fields))


def read_published(path: Path) -> Published | None:
    """Return what a file says; None when there is none, or none that makes sense."""
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(_MOST_BYTES))
        verdicts = tuple(from_fields(item) for item in value["checks"])
        return Published(float(value["time"]), verdicts, str(value.get("evict") or ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
