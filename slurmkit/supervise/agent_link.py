"""The agent's connection to the supervisor: made, proved, kept, and made again."""

import os
import select
import socket
from collections import deque
from typing import Protocol

from slurmkit.supervise.agent_wire import (
    HEARTBEAT,
    Control,
    Lines,
    Message,
    ProtocolError,
    decode,
    encode,
    new_nonce,
    proof,
    proves,
)

_BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_CONNECT_WITHIN_S = 5.0
_READ_BYTES = 1 << 16
_MAX_UNSENT_BYTES = 1 << 18
_MAX_KEPT = 500
DOWN, CONNECTING, PROVING, UP = "down", "connecting", "proving", "up"


class Listener(Protocol):
    """Who is told what the supervisor says."""

    def welcomed(self, welcome: Message) -> None:
        """The connection stands and both sides have proved themselves."""

    def told(self, message: Message) -> None:
        """The supervisor says this."""


class Link:
    """One connection after the other.

    Args:
        control: where the supervisor is.
        host: this node's name.
        listener: who is told.
        now: monotonic seconds.
    """

    def __init__(self, control: Control, host: str, listener: Listener, now: float) -> None:
        self.state = DOWN
        self.heard = now  # when anything last came from the supervisor
        self.accepted = -1e9  # when the kernel of its host last took a connection
        self.sock: socket.socket | None = None
        self._control = control
        self._host = host
        self._listener = listener
        self._addresses: list[tuple[int, str]] = []
        self._turn = 0
        self._tries = 0
        self._next_try = now
        self._give_up_at = 0.0
        self._unsent = bytearray()
        self._kept: deque[bytes] = deque(maxlen=_MAX_KEPT)
        self._been_up = False

    @property
    def wants(self) -> int:
        """What to poll the socket for."""
        if self.state == CONNECTING or self._unsent:
            return select.POLLIN | select.POLLOUT
        return select.POLLIN

    def tick(self, now: float) -> None:
        """Connect when it is time; give up what takes too long."""
        if self.state == DOWN:
            if now >= self._next_try:
                self._connect(now)
        elif self.state != UP and now >= self._give_up_at:
            self.fail(now)

    def next_s(self, now: float) -> float:
        """Return in how many seconds ``tick`` has something to do."""
        if self.state == UP:
            return 3600.0
        return max(0.0, (self._next_try if self.state == DOWN else self._give_up_at) - now)

    def beat(self) -> None:
        """Send a heartbeat."""
        if self.state == UP and not self._unsent:
            self._write(HEARTBEAT)

    def send(self, message: Message, *, keep: bool = True, beat: bool = False) -> None:
        """Send a message.

        Args:
            message: what to send.
            keep: whether it is sent later when that is not possible now.
            beat: whether it is time for a heartbeat, too.
        """
        line = encode(message) + (HEARTBEAT if beat else b"")
        if self.state != UP:
            if keep:
                self._kept.append(line)
        elif len(self._unsent) < _MAX_UNSENT_BYTES and (keep or not self._unsent):
            self._write(line)

    def ready(self, now: float) -> None:
        """The socket can be read or written."""
        if self.sock is None:
            return
        if self.state == CONNECTING:
            if self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.fail(now)
                return
            self.state = PROVING
            self.accepted = now
        if self._unsent:
            self._flush()
        try:
            data = self.sock.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.fail(now)
            return
        self.heard = now
        try:
            for line in self._lines.feed(data):
                self._take(decode(line), now)
        except ProtocolError:
            self.fail(now)

    def fail(self, now: float) -> None:
        """Close the connection and try again a little later."""
        self.close()
        pause_s = _BACKOFF_S[min(self._tries, len(_BACKOFF_S) - 1)]
        self._tries += 1
        # Thousands of agents that lose one supervisor must not all come back in one moment.
        self._next_try = now + pause_s * (0.5 + os.urandom(1)[0] / 256)

    def close(self) -> None:
        """Close the connection."""
        self.state = DOWN
        self._unsent.clear()
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def _connect(self, now: float) -> None:
        if not self._addresses and not self._resolve():
            self.fail(now)
            return
        family, address = self._addresses[self._turn % len(self._addresses)]
        self._turn += 1
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self.sock = socket.socket(family, kind)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = Lines()
        self._nonce = new_nonce()
        self.state = CONNECTING
        self._give_up_at = now + _CONNECT_WITHIN_S
        try:
            self.sock.connect((address, self._control.port))
        except BlockingIOError:
            pass
        except OSError:
            self.fail(now)

    def _resolve(self) -> bool:
        """Look the supervisor's host up; once, as a name server that hangs would hold us up."""
        for name in self._control.hosts:
            try:
                found = socket.getaddrinfo(name, self._control.port, type=socket.SOCK_STREAM)
            except OSError:
                continue
            for family, _kind, _protocol, _name, address in found:
                if (family, address[0]) not in self._addresses:
                    self._addresses.append((family, str(address[0])))
        return bool(self._addresses)

    def _take(self, message: Message, now: float) -> None:
        if self.state == UP:
            self._listener.told(message)
            return
        kind = message.get("type")
        if kind == "nonce":
            self._theirs = str(message.get("nonce"))
            words = ("agent", self._theirs, self._nonce, self._host)
            hello = {"type": "hello", "host": self._host, "nonce": self._nonce}
            said = proof(self._control.secret, *words)
            self._write(encode({**hello, "proof": said, "again": self._been_up}))
            return
        ours = ("supervisor", self._nonce, getattr(self, "_theirs", ""))
        if not proves(message.get("proof"), self._control.secret, *ours):
            raise ProtocolError("whoever answers there does not know the secret")
        if kind == "end":
            self._listener.told(message)
            return
        self.state, self._tries, self._been_up = UP, 0, True
        self.heard = now
        self._listener.welcomed(message)
        while self._kept and self.state == UP:
            self._write(self._kept.popleft())

    def _write(self, line: bytes) -> None:
        self._unsent += line
        self._flush()

    def _flush(self) -> None:
        if self.sock is None:
            return
        try:
            del self._unsent[: self.sock.send(self._unsent)]
        except OSError:  # full, or broken: reading tells
            return
