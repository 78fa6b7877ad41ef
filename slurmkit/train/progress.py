"""What this rank tells the agent of its node, and what the agent asks of it.

A Unix socket of datagrams in order, one JSON object each. Nothing here ever waits: what does not
fit into the socket's buffer is dropped, and training goes on without an agent.
"""

import json
import socket
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

_RETRY_S = 1.0
_STEP_EVERY_S = 0.25
_MAX_BYTES = 32 * 1024
# Said once and counted by the supervisor: kept while an agent is started anew.
_KEPT = frozenset({"committed", "save_failed", "quarantined", "ending"})
_MAX_KEPT = 64


class Progress:
    """A rank's line to its agent.

    Args:
        path: of the agent's socket; None for no agent, and then every call does nothing.
        rank: number of this rank.
    """

    def __init__(self, path: str | None, rank: int) -> None:
        self._path = path
        self._rank = rank
        self._socket: socket.socket | None = None
        self._retry_at = 0.0
        self._step_at = 0.0
        self._hello: dict[str, Any] | None = None
        self._kept: deque[dict[str, Any]] = deque(maxlen=_MAX_KEPT)

    def session(self, **values: Any) -> None:
        """Say that a session is here; said again to an agent that was started anew."""
        self._hello = {"type": "session", "rank": self._rank, **values}
        if self._socket is None:
            self._connect()
        else:
            self._send(self._hello)

    def tell(self, type_: str, **values: Any) -> None:
        """Send one message."""
        if self._path is None:
            return
        message = {"type": type_, "rank": self._rank, **values}
        if type_ in _KEPT:
            self._kept.append(message)
        if self._socket is None and not self._connect():
            return
        while self._kept and self._send(self._kept[0]):
            self._kept.popleft()
        if type_ not in _KEPT:
            self._send(message)

    def step_due(self, now: float) -> bool:
        """Whether the agent should hear of a step; at most four times a second."""
        if self._path is None or now < self._step_at:
            return False
        self._step_at = now + _STEP_EVERY_S
        return True

    def step(self, step: int, epoch: int, logged: Mapping[str, Any]) -> None:
        """Tell of a step, at most four times a second.

        Tensors in ``logged`` are read only when it is told, so that a GPU is not waited for in
        each step.
        """
        if self.step_due(time.monotonic()):
            values = {name: _plain(value) for name, value in logged.items()}
            self.tell("step", **{**values, "step": step, "epoch": epoch})

    def asked(self) -> list[dict[str, Any]]:
        """Return what the agent has sent since the last call."""
        messages: list[dict[str, Any]] = []
        while self._socket is not None:
            try:
                packet = self._socket.recv(_MAX_BYTES)
            except BlockingIOError:
                break
            except OSError:
                packet = b""
            if not packet:  # the agent has gone; another one may come
                self.close()
                break
            try:
                message = json.loads(packet)
            except ValueError:
                continue
            if isinstance(message, dict):
                messages.append(message)
        return messages

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> bool:
        if self._path is None or time.monotonic() < self._retry_at:
            return False
        self._retry_at = time.monotonic() + _RETRY_S
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        line.setblocking(False)
        try:
            line.connect(self._path)
        except OSError:
            line.close()
            return False
        self._socket = line
        if self._hello is not None:
            self._send(self._hello)
        return True

    def _send(self, message: dict[str, Any]) -> bool:
        """Send it if there is room; return whether it was sent."""
        if self._socket is None:
            return False
        try:
            self._socket.send(json.dumps(message).encode()[:_MAX_BYTES])
        except BlockingIOError:
            return False  # the agent is behind; the next message tells more than this one
        except OSError:
            self.close()
            return False
        return True


def _plain(value: Any) -> Any:
    if isinstance(value, (int, float, str, bool)):
        return value
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # such as a tensor of many numbers
        return str(value)[:100]
