"""How agents and supervisor talk: JSON lines over TCP, opened by a mutual proof of one secret.

The supervisor sends a nonce, the agent answers with its own nonce and a keyed hash of both and of
its node's name, and the supervisor proves that it knows the secret, too. The secret itself never
travels and is never logged; it is in a file that only the user can read. An empty line is a
heartbeat: one byte, as it is most of what is ever sent.
"""

import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

from slurmkit.errors import SlurmkitError
from slurmkit.record import Record
from slurmkit.rundir.atomic import atomic_write

HEARTBEAT = b"\n"
MAX_LINE_BYTES = 1 << 16
_VERSION = 1
Message = dict[str, Any]


class ProtocolError(SlurmkitError):
    """The other side does not speak this protocol, or does not know the secret."""


class Control(Record):
    """What an agent needs to know; the supervisor writes it where only the user can read.

    Attributes:
        incarnation: whose agents these are.
        hosts: names and addresses of the supervisor's host, in the order to try.
        port: where it listens.
        secret: what both sides must know, hexadecimal.
        heartbeat_s: seconds between heartbeats.
        preflight: off, quick or full.
        num_gpus: GPUs that the node should have; None when unknown.
        patience_s: how long a supervisor may be away before its agents give it up, seconds.
        successor: whether they then submit a successor of the job.
    """

    incarnation: str
    hosts: tuple[str, ...]
    port: int
    secret: str
    heartbeat_s: float = 1.0
    preflight: str = "off"
    num_gpus: int | None = None
    patience_s: float = 30.0
    successor: bool = False

    def __repr__(self) -> str:
        return f"Control({self.incarnation}, {self.hosts}, {self.port})"  # never the secret


def control_path(folder: Path, incarnation: str) -> Path:
    """Return where the control file of an incarnation is."""
    return folder / f"agents-{incarnation}.json"


def write_control(path: Path, control: Control) -> None:
    """Write the control file, readable by its owner alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    values = {"v": _VERSION, **{name: getattr(control, name) for name in Control._fields}}
    atomic_write(path, json.dumps(values), mode=0o600)


def read_control(path: Path) -> Control:
    """Return what a control file says.

    Raises:
        ProtocolError: it is no control file, or another user's.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_uid != os.getuid():
            raise ProtocolError(f"{path} belongs to another user", hint="it cannot be trusted")
        data = file.read()
    try:
        values = json.loads(data)
        known = {name: values[name] for name in Control._fields if name in values}
        return Control(**{**known, "hosts": tuple(known["hosts"])})
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"{path} is not a control file of agents ({error!r})") from error


def new_secret() -> str:
    """Return a fresh secret."""
    return os.urandom(32).hex()


def new_nonce() -> str:
    """Return a fresh nonce."""
    return os.urandom(16).hex()


def proof(secret: str, *words: str) -> str:
    """Return what only somebody who knows the secret can say about these words."""
    said = "\0".join(words).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(said, key=bytes.fromhex(secret)).hexdigest()


def proves(given: object, secret: str, *words: str) -> bool:
    """Whether a proof is right; takes the same time whatever was given."""
    expected = proof(secret, *words)
    return hmac.compare_digest(str(given).encode("utf-8", "replace"), expected.encode())


def encode(message: Message) -> bytes:
    """Return a message as a line."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> Message:
    """Return the message of a line.

    Raises:
        ProtocolError: it is none.
    """
    try:
        message = json.loads(line.decode())  # a text is read faster than bytes
    except ValueError as error:
        raise ProtocolError(f"not a message: {line[:80]!r}") from error
    if not isinstance(message, dict):
        raise ProtocolError(f"not a message: {line[:80]!r}")
    return message


class Lines:
    """Puts lines together from what a socket gives."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the complete lines, without heartbeats.

        Raises:
            ProtocolError: a line is longer than any of ours.
        """
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_LINE_BYTES:
            raise ProtocolError(f"a line of more than {MAX_LINE_BYTES} bytes")
        return [line for line in lines if line]
