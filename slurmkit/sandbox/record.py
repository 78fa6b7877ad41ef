"""What is written down about a sandbox before it is made: its state folder, record and lock."""

import contextlib
import fcntl
import ipaddress
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from slurmkit.errors import SlurmkitError
from slurmkit.sandbox.layout import Layout, Size, check_name

PHASE_STARTING = "starting"
PHASE_UP = "up"

_RECORD = "sandbox.json"
_CHANGES = "site-changes.txt"


class SandboxError(SlurmkitError):
    """A sandbox could not be made, reached or removed."""


class SandboxUnavailableError(SandboxError):
    """This machine lacks something that a sandbox needs; nothing has been started."""


def sandbox_root() -> Path:
    """Return the folder with the state of all sandboxes; $SLURMKIT_SANDBOX_ROOT overrides it."""
    return Path(os.environ.get("SLURMKIT_SANDBOX_ROOT") or "/var/lib/slurmkit/sandbox")


def state_dir(name: str) -> Path:
    """Return the folder of one sandbox; it need not exist."""
    return sandbox_root() / check_name(name)


def sandbox_names() -> list[str]:
    """Return the names of all sandboxes that have a state folder, running or crashed."""
    root = sandbox_root()
    return sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []


def write_record(layout: Layout, phase: str) -> None:
    """Write down what a sandbox is and how far it got: starting or up."""
    record = {
        "v": 1,
        "name": layout.name,
        "phase": phase,
        "subnet": str(layout.subnet),
        "size": asdict(layout.size),
        "release": layout.release,
        "root_dir": str(layout.root_dir) if layout.root_dir else "",
        "shared": [str(path) for path in layout.shared],
        "slurmd_timeout_s": layout.slurmd_timeout_s,
        "slurm_conf": list(layout.slurm_conf),
        "accounting": layout.accounting,
        "profile": layout.profile,
        "scaled": layout.scaled,
        "renumber": layout.renumber,
        "preempt_grace_s": layout.preempt_grace_s,
        "sshd": layout.sshd,
        "site": layout.site,
        "node_names": list(layout.node_names),
    }
    path = layout.state_dir / _RECORD
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(record, indent=1) + "\n")
    temporary.replace(path)


def read_record(name: str) -> tuple[Layout, str] | None:
    """Return (layout, phase) of a sandbox, or None when there is none or it crashed too early."""
    folder = state_dir(name)
    try:
        record = json.loads((folder / _RECORD).read_text())
    except FileNotFoundError:
        return None
    layout = Layout(
        name=name,
        state_dir=folder,
        subnet=ipaddress.IPv4Network(record["subnet"]),
        size=Size(**record["size"]),
        release=record["release"],
        root_dir=Path(record["root_dir"]) if record["root_dir"] else None,
        shared=tuple(Path(path) for path in record["shared"]),
        slurmd_timeout_s=record["slurmd_timeout_s"],
        slurm_conf=tuple(record["slurm_conf"]),
        accounting=record.get("accounting", False),
        profile=record.get("profile", ""),
        scaled=record.get("scaled", False),
        renumber=record.get("renumber", False),
        preempt_grace_s=record.get("preempt_grace_s"),
        sshd=record.get("sshd", False),
        site=record.get("site", ""),
        node_names=tuple(record.get("node_names", ())),
    )
    return layout, record["phase"]


def write_changes(layout: Layout, changes: Iterable[object]) -> None:
    """Write down what differs from the site that a sandbox was made with, a line each."""
    text = "".join(f"{change}\n" for change in changes)
    (layout.state_dir / _CHANGES).write_text(text)


def read_changes(layout: Layout) -> list[str]:
    """Return what :func:`write_changes` wrote."""
    path = layout.state_dir / _CHANGES
    return path.read_text().splitlines() if path.is_file() else []


def recorded_subnets() -> list[ipaddress.IPv4Network]:
    """Return the networks of all sandboxes that have a record."""
    records = (read_record(name) for name in sandbox_names())
    return [record[0].subnet for record in records if record]


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock of one sandbox: one ``up`` or ``down`` at a time.

    A child that a killed ``up`` has forked holds the lock too until it has become the program that
    it was forked for. So whoever gets the lock finds, by its command line, all that the dead one
    had started.
    """
    root = sandbox_root()
    root.mkdir(parents=True, exist_ok=True)
    path = root / f".{check_name(name)}.lock"
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                break
        os.close(descriptor)  # the one before us has removed the file meanwhile
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
