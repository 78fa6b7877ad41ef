"""The sockets of the supervisor's side: thousands of agents for a few per cent of one core.

All agents' sockets are in one epoll set of our own, and only that is registered with asyncio: its
price per event would be most of the total. After each look at the set, it rests for a moment, so
that heartbeats that come one by one are read in batches.
"""

import asyncio
import contextlib
import resource
import select
import socket
from collections.abc import Callable, Iterable
from typing import Protocol

from slurmkit.supervise.agent_wire import (
    HEARTBEAT,
    Lines,
    Message,
    ProtocolError,
    decode,
    encode,
    new_nonce,
    proof,
    proves,
)

_READ_BYTES = 1 << 16
_REST_S = 0.02
# Of so many there is always something to read, and to register the set anew after each rest would
# let the kernel look through it: a sixth of all our time with 4096 agents.
_MANY = 512
_PROVE_WITHIN_S = 10.0
_MAX_UNSENT_BYTES = 1 << 20
_SPARE_DESCRIPTORS = 256
_IN = select.EPOLLIN | select.EPOLLRDHUP


class Peer:
    """One connection."""

    __slots__ = ("expires", "host", "lines", "nonce", "sock", "unsent")

    def __init__(self, sock: socket.socket, expires: float) -> None:
        self.sock = sock
        self.host = ""  # empty until it has proved that it knows the secret
        self.nonce = new_nonce()
        self.lines = Lines()
        self.unsent = bytearray()
        self.expires = expires


class Listener(Protocol):
    """Who is told what comes."""

    def admit(self, host: str, hello: Message) -> Message | None:
        """An agent has proved itself; return what to welcome it with, or None to send it away."""

    def message(self, host: str, message: Message) -> None:
        """An agent says this."""

    def closed(self, host: str) -> None:
        """An agent's connection was closed in good order, by its kernel."""

    def broken(self, host: str) -> None:
        """An agent's connection has failed without a word."""


class AgentServer:
    """Listens for agents; everything happens in the event loop's thread.

    Args:
        secret: what both sides must know.
        listener: who is told.
        now: monotonic seconds.
    """

    def __init__(self, secret: str, listener: Listener, now: Callable[[], float]) -> None:
        self._secret = secret
        self._listener = listener
        self._now = now
        self._peers: dict[int, Peer] = {}
        self._by_host: dict[str, Peer] = {}
        self._beats: set[str] = set()
        self._words: set[str] = set()
        self._strangers: set[int] = set()
        self._door: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._resting: asyncio.TimerHandle | None = None

    def start(self, port: int, backlog: int) -> int:
        """Listen, and return the port."""
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._door = _listening(port, backlog)
        self._epoll.register(self._door, select.EPOLLIN)
        self._loop.add_reader(self._epoll.fileno(), self._ready)
        return int(self._door.getsockname()[1])

    def stop(self) -> None:
        """Close everything."""
        if self._loop is None or self._door is None:
            return
        if self._resting:
            self._resting.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        for peer in self._peers.values():
            peer.sock.close()
        self._peers.clear()
        self._by_host.clear()
        self._door.close()
        self._door = None
        self._epoll.close()

    def connected(self) -> list[str]:
        """Return the hosts that are connected and have proved themselves."""
        return list(self._by_host)

    def take_beats(self) -> set[str]:
        """Return the hosts whose heartbeats came since this was last called."""
        beats, self._beats = self._beats, set()
        return beats

    def take_words(self) -> set[str]:
        """Return the hosts of which anything else came since this was last called."""
        words, self._words = self._words, set()
        return words

    def look(self) -> None:
        """Read what is there now."""
        if self._door is not None:
            self._read_ready()

    def send(self, hosts: Iterable[str] | None, message: Message) -> None:
        """Send a message to these hosts, or to all; those without a connection are left out."""
        self.send_line(self._by_host if hosts is None else hosts, encode(message))

    def send_line(self, hosts: Iterable[str], line: bytes) -> None:
        """Send a line."""
        for host in list(hosts):
            peer = self._by_host.get(host)
            if peer is not None:
                self._send(peer, line)

    def drop(self, host: str) -> None:
        """Close a host's connection."""
        peer = self._by_host.get(host)
        if peer is not None:
            self._close(peer)

    def expire(self) -> None:
        """Close connections that do not prove themselves."""
        now = self._now()
        for descriptor in list(self._strangers):
            peer = self._peers.get(descriptor)
            if peer is None or peer.host:
                self._strangers.discard(descriptor)
            elif peer.expires < now:
                self._close(peer)

    def _ready(self) -> None:
        """Read, and then let more gather for a moment."""
        assert self._loop is not None
        self._read_ready()
        if self._door is None:  # stopped by what was read
            return
        self._loop.remove_reader(self._epoll.fileno())
        self._resting = self._loop.call_later(_REST_S, self._wake)

    def _wake(self) -> None:
        self._resting = None
        if self._door is None or self._loop is None:
            return
        if len(self._peers) < _MANY:
            self._loop.add_reader(self._epoll.fileno(), self._ready)
            return
        self._read_ready()
        if self._door is not None:
            self._resting = self._loop.call_later(_REST_S, self._wake)

    def _read_ready(self) -> None:
        door = self._door
        if door is None:
            return
        peers = self._peers
        door_descriptor = door.fileno()
        for descriptor, what in self._epoll.poll(0, 8192):
            if descriptor == door_descriptor:
                self._accept(door)
                continue
            peer = peers.get(descriptor)
            if peer is None:
                continue
            self._read(peer, writable=bool(what & select.EPOLLOUT))

    def _read(self, peer: Peer, *, writable: bool) -> None:
        try:
            data = peer.sock.recv(_READ_BYTES)
        except BlockingIOError:
            data = None
        except OSError:
            self._lose(peer, in_order=False)
            return
        if data == HEARTBEAT and peer.host:
            self._beats.add(peer.host)
        elif data:
            self._take(peer, data)
        elif data is not None:
            self._lose(peer, in_order=True)
            return
        if writable:
            self._flush(peer)

    def _accept(self, door: socket.socket) -> None:
        for _ in range(1024):
            try:
                sock, _address = door.accept()
            except OSError:  # nobody is waiting, or we have no descriptors left: they come again
                return
            sock.setblocking(False)
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(sock, self._now() + _PROVE_WITHIN_S)
            self._peers[sock.fileno()] = peer
            self._strangers.add(sock.fileno())
            self._epoll.register(sock, _IN)
            self._send(peer, encode({"type": "nonce", "nonce": peer.nonce}))

    def _take(self, peer: Peer, data: bytes) -> None:
        try:
            lines = peer.lines.feed(data)
            if peer.host:
                self._words.add(peer.host)
                if data.startswith(HEARTBEAT) or b"\n" + HEARTBEAT in data:  # an empty line
                    self._beats.add(peer.host)
            for line in lines:
                if peer.host:
                    self._listener.message(peer.host, decode(line))
                else:
                    self._admit(peer, decode(line))
        except ProtocolError:
            self._lose(peer, in_order=False)

    def _admit(self, peer: Peer, hello: Message) -> None:
        """Let an agent in that proves to know the secret.

        Raises:
            ProtocolError: it does not.
        """
        host, nonce = str(hello.get("host", "")), str(hello.get("nonce", ""))
        words = ("agent", peer.nonce, nonce, host)
        if not host or not proves(hello.get("proof"), self._secret, *words):
            raise ProtocolError("no agent of ours")
        welcome = self._listener.admit(host, hello)
        if welcome is None:
            self._send(peer, encode({"type": "end", "proof": self._own(nonce, peer.nonce)}))
            self._close(peer)
            return
        former = self._by_host.get(host)
        if former is not None:
            self._close(former)
        peer.host = host
        self._by_host[host] = peer
        self._beats.add(host)
        own = self._own(nonce, peer.nonce)
        self._send(peer, encode({"type": "welcome", "proof": own, **welcome}))

    def _own(self, agents_nonce: str, our_nonce: str) -> str:
        return proof(self._secret, "supervisor", agents_nonce, our_nonce)

    def _send(self, peer: Peer, line: bytes) -> None:
        if peer.unsent:
            if line != HEARTBEAT and len(peer.unsent) < _MAX_UNSENT_BYTES:
                peer.unsent += line
            return
        try:
            sent = peer.sock.send(line)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # reading tells the rest
        if sent < len(line):
            peer.unsent += line[sent:]
            self._epoll.modify(peer.sock, _IN | select.EPOLLOUT)

    def _flush(self, peer: Peer) -> None:
        with contextlib.suppress(OSError):
            del peer.unsent[: peer.sock.send(peer.unsent)]
        if not peer.unsent and peer.sock.fileno() in self._peers:
            self._epoll.modify(peer.sock, _IN)

    def _lose(self, peer: Peer, *, in_order: bool) -> None:
        host = peer.host
        ours = self._by_host.get(host) is peer
        self._close(peer)
        if ours and in_order:
            self._listener.closed(host)
        elif ours:
            self._listener.broken(host)

    def _close(self, peer: Peer) -> None:
        descriptor = peer.sock.fileno()
        if self._peers.pop(descriptor, None) is None:
            return
        self._strangers.discard(descriptor)
        if self._by_host.get(peer.host) is peer:
            del self._by_host[peer.host]
        with contextlib.suppress(OSError):
            self._epoll.unregister(peer.sock)
        peer.sock.close()


def _listening(port: int, backlog: int) -> socket.socket:
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        door.bind(("", port))
        door.listen(backlog)
    except OSError:
        door.close()
        raise
    return door


def make_room(num_agents: int) -> None:
    """Raise this process's own limit of open files if there are more agents than it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = num_agents + _SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
