"""Copies of parts on another node: a small server there, and a client that sends.

One connection carries one part: the server says a nonce, the client sends a header that is signed
with a secret both know (HMAC-SHA256 over nonce and header), then the bytes of each file in order.
The header holds the digest of every file, so the bytes need no signature of their own. The server
keeps the part as its node keeps its own, and answers, signed, when it is durable. What is sent is
not encrypted: use it on the network that the ranks use for their own traffic.
"""

import hashlib
import hmac
import json
import logging
import os
import socket
import threading
from dataclasses import asdict
from typing import Any

from slurmkit.checkpoint.digest import FileEntry
from slurmkit.checkpoint.errors import CheckpointError
from slurmkit.checkpoint.local import LocalLevel
from slurmkit.checkpoint.local_part import Part

_log = logging.getLogger(__name__)
_NONCE_BYTES = 32
_MOST_HEADER_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 20


class PartnerError(CheckpointError):
    """A copy could not be sent to or taken from another node."""


class PartnerServer:
    """Keeps parts of other nodes on this one, from a thread.

    Args:
        level: where parts are kept.
        secret: shared with the clients.
        host: address to listen on; empty for all.
        timeout_s: how long a silent client is waited for.
    """

    def __init__(
        self, level: LocalLevel, secret: bytes, *, host: str = "", timeout_s: float = 60.0
    ) -> None:
        self._level = level
        self._secret = secret
        self._timeout_s = timeout_s
        self._listener = socket.create_server((host, 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="partner", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop to listen; what is being received is finished or lost."""
        # shutdown() wakes accept(); close() alone does not, on Linux
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(self._timeout_s)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, address = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(self._timeout_s)
                try:
                    self._take(connection)
                except (OSError, ValueError, KeyError, TypeError, CheckpointError) as error:
                    _log.warning("no copy taken from %s: %s", address[0], error)

    def _take(self, connection: socket.socket) -> None:
        nonce = os.urandom(_NONCE_BYTES)
        connection.sendall(nonce)
        length = int.from_bytes(_receive(connection, 4), "big")
        if length > _MOST_HEADER_BYTES:
            raise PartnerError(f"a header of {length} bytes makes no sense")
        mark = _receive(connection, 32)
        header = _receive(connection, length)
        if not hmac.compare_digest(mark, _sign(self._secret, nonce, header)):
            raise PartnerError("the signature is wrong")
        fields = json.loads(header)
        expected = [FileEntry(**entry) for entry in fields["entries"]]
        writer = self._level.begin(
            fields["step"], fields["token"], fields["rank"], fields["world_size"]
        )
        try:
            for entry in expected:
                self._take_file(connection, writer.open(entry.name), entry)
        except BaseException:
            writer.give_up([entry.name for entry in expected])
            raise
        writer.finish(expected, fields["meta"])
        connection.sendall(_sign(self._secret, nonce, b"durable"))

    def _take_file(self, connection: socket.socket, file: Any, entry: FileEntry) -> None:
        buffer = memoryview(bytearray(_CHUNK_BYTES))
        left = entry.size_bytes
        with file:
            while left:
                count = connection.recv_into(buffer[: min(left, len(buffer))])
                if not count:
                    raise PartnerError("the connection ended early")
                file.write(buffer[:count])
                left -= count
            if file.close() != entry:
                raise PartnerError(f"{entry.name} arrived with other bytes than were sent")


def send_part(part: Part, address: tuple[str, int], secret: bytes, timeout_s: float = 60.0) -> None:
    """Send a part to another node and return when it is durable there.

    Raises:
        PartnerError: it did not arrive, with the reason.
    """
    try:
        with socket.create_connection(address, timeout_s) as connection:
            _send(connection, part, secret)
    except (OSError, ValueError) as error:
        raise PartnerError(
            f"step {part.step} of rank {part.rank} did not reach {address[0]}:{address[1]}: {error}"
        ) from error


def _send(connection: socket.socket, part: Part, secret: bytes) -> None:
    nonce = _receive(connection, _NONCE_BYTES)
    fields = {
        "step": part.step,
        "token": part.token,
        "rank": part.rank,
        "world_size": part.world_size,
        "meta": part.meta,
        "entries": [asdict(entry) for entry in part.entries],
    }
    header = json.dumps(fields).encode()
    connection.sendall(len(header).to_bytes(4, "big") + _sign(secret, nonce, header) + header)
    for entry in part.entries:
        with (part.folder / entry.name).open("rb", buffering=0) as file:
            if connection.sendfile(file) != entry.size_bytes:
                raise ValueError(f"{entry.name} changed its length")
    if not hmac.compare_digest(_receive(connection, 32), _sign(secret, nonce, b"durable")):
        raise ValueError("the answer has a wrong signature")


def _receive(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        chunk = connection.recv(length - len(data))
        if not chunk:
            raise PartnerError("the connection ended early")
        data += chunk
    return bytes(data)


def _sign(secret: bytes, nonce: bytes, data: bytes) -> bytes:
    return hmac.new(secret, nonce + data, hashlib.sha256).digest()
