"""The log of starts and stops: a line of JSON each, and what follows from the last ones."""

import fcntl
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from slurmkit.errors import SlurmkitError
from slurmkit.hostlist import compress, expand
from slurmkit.record import Record

_TAIL_BYTES = 256 << 10


class Entry(Record):
    """One action on some hosts.

    Attributes:
        time: Unix seconds at its end.
        action: start, stop or failed.
        hosts: the hosts that it was done to, or tried on.
        failed: why, for each of them that failed.
        skipped: hosts that were so already.
        seconds: how long it took.
    """

    time: float
    action: str
    hosts: tuple[str, ...]
    failed: tuple[tuple[str, str], ...] = ()
    skipped: tuple[str, ...] = ()
    seconds: float = 0.0


def append(path: Path, entry: Entry) -> None:
    """Add a line; several programs may at once.

    Raises:
        SlurmkitError: the log cannot be written.
    """
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.time)),
        "at": round(entry.time, 3),
        "action": entry.action,
        "hosts": compress(entry.hosts),
        "failed": dict(entry.failed),
        "skipped": compress(entry.skipped),
        "seconds": round(entry.seconds, 3),
        "uid": os.getuid(),
        "pid": os.getpid(),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise SlurmkitError(
            f"cannot write the log {path}: {error.strerror}", hint="elastic.log in site.yaml"
        ) from error


def read_tail(path: Path) -> list[Entry]:
    """Return the last entries; none where there is no log yet, and no line that is no entry."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            item = json.loads(line)
            entry = Entry(
                float(item["at"]),
                str(item["action"]),
                tuple(expand(item["hosts"])),
                tuple((str(host), str(why)) for host, why in item["failed"].items()),
                tuple(expand(item["skipped"])),
                float(item["seconds"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, SlurmkitError):
            continue  # the first line of a tail is cut off
        found.append(entry)
    return found


def failures_in_a_row(entries: Iterable[Entry], since: float) -> Mapping[str, int]:
    """Return for each host how often it could not be started since it last was.

    Args:
        entries: the log, oldest first.
        since: earlier failures are forgotten; Unix seconds.
    """
    counts: dict[str, int] = {}
    started: set[str] = set()
    for entry in entries:
        bad = {host for host, _ in entry.failed}
        if entry.action == "stop":
            # What had been started, and nobody complained of until it was stopped, did come up.
            for host in started.intersection(entry.hosts):
                counts.pop(host, None)
            started.difference_update(entry.hosts)
            continue
        if entry.action == "start":
            started.update(host for host in entry.hosts if host not in bad)
        started -= bad
        for host in bad:
            if entry.time >= since:
                counts[host] = counts.get(host, 0) + 1
    return counts
