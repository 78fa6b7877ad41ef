"""Who changed what on a machine by `slurmkit site`, and when: one JSON line per change.

Written by everything that changes a site: install, rollback, tiers. Only root reads it, because
paths and names of accounts are in it. A line is appended by one write and synced.
"""

import getpass
import json
import os
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slurmkit.errors import SlurmkitError
from slurmkit.site.deploy import store

#: Below the root; beside what installs keep.
LOG = "var/lib/slurmkit/site/log.jsonl"


@dataclass(frozen=True)
class Entry:
    """One change.

    Attributes:
        id: random, so that a change that was finished twice is written down once.
        time: when it began, such as 2026-05-01T12:00:00+0200.
        user: whose process did it.
        sudo_user: who became that user by sudo; empty for nobody.
        host: name of the machine that did it, which for an image is not the one it is for.
        action: install, rollback, reconfigure, tiers ...
        details: what was done, as the action has it.
    """

    id: str
    time: str
    user: str
    sudo_user: str
    host: str
    action: str
    details: dict[str, Any] = field(default_factory=dict)


def new_entry(action: str, details: Mapping[str, Any]) -> Entry:
    """Return what is to be written down about a change that begins now."""
    return Entry(
        id=secrets.token_hex(8),
        time=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        user=_user(),
        sudo_user=os.environ.get("SUDO_USER", ""),
        host=socket.gethostname(),
        action=action,
        details=dict(details),
    )


def record(root: Path, action: str, details: Mapping[str, Any]) -> Entry:
    """Write down a change that was just made, and return what was written.

    Args:
        root: ``/``, or the root of an image.
        action: one word, such as ``tiers``.
        details: what JSON can hold; no secrets.

    Raises:
        SlurmkitError: the log cannot be written.
    """
    entry = new_entry(action, details)
    try:
        append(root, entry)
    except OSError as error:
        raise SlurmkitError(
            f"{error.filename}: {error.strerror}", hint="run it as root, or with --root"
        ) from error
    return entry


def append(root: Path, entry: Entry) -> None:
    """Write an entry down unless it is there already; durable when this returns."""
    path = root / LOG
    store.make_folders(path.parent)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    try:
        before = _tail(descriptor)
        if f'"id": "{entry.id}"'.encode() in before:
            return
        line = f"{json.dumps(asdict(entry), sort_keys=True)}\n".encode()
        # A line that was cut off by a crash ends here, and stands alone.
        os.write(descriptor, line if before.endswith(b"\n") or not before else b"\n" + line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    store.sync_folder(path.parent)


def entries(root: Path) -> list[Entry]:
    """Return every change that was written down, the oldest first; cut-off lines are left out.

    Raises:
        SlurmkitError: the log may not be read.
    """
    try:
        found = store.read_file(root / LOG)
    except PermissionError as error:
        raise SlurmkitError(f"cannot read {root / LOG}", hint="run it as root") from error
    changes = []
    for line in (found[1] if found else b"").decode(errors="replace").splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict) and {"time", "user", "action"} <= set(values):
            known = {name: values[name] for name in Entry.__dataclass_fields__ if name in values}
            changes.append(Entry(**{"id": "", "sudo_user": "", "host": "", **known}))
    return changes


def who(entry: Entry) -> str:
    """Return who made a change, for people: ``user1 (as root)``."""
    return f"{entry.sudo_user} (as {entry.user})" if entry.sudo_user else entry.user


def _tail(descriptor: int) -> bytes:
    """Return the end of the log, where the entry of an interrupted change would be."""
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, 65536, max(0, size - 65536))


def _user() -> str:
    try:
        return getpass.getuser() if os.geteuid() == os.getuid() else str(os.geteuid())
    except (KeyError, OSError):  # a uid without a name
        return str(os.getuid())
