"""Hundreds of agents: what one of them says is heard, and those that fall silent are lost."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slurmkit.rundir.layout import ElementDir
from slurmkit.supervise.agent_events import AgentEvent, AgentLost, AgentUp, Progress
from slurmkit.supervise.agent_wire import HEARTBEAT, Control, encode, proof, read_control
from slurmkit.supervise.agents import Agents, AgentSettings

NUM = 600
HEARTBEAT_S = 1.0


def meet(control: Control, hosts: list[str]) -> list[socket.socket]:
    """Return connections that have proved to be agents', all at once; runs in another thread."""
    socks = [socket.create_connection(("127.0.0.1", control.port), timeout=10) for _ in hosts]
    for host, sock in zip(hosts, socks, strict=True):
        with sock.makefile("rb") as file:
            nonce = json.loads(file.readline())["nonce"]
        hello = {"type": "hello", "host": host, "nonce": "0"}
        hello["proof"] = proof(control.secret, "agent", nonce, "0", host)
        sock.sendall(encode(hello) + encode({"type": "up", "verdicts": []}))
    return socks


async def until(true: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def test_of_many_agents_each_is_heard(tmp_path: Path) -> None:
    events: list[AgentEvent] = []

    def of(kind: type) -> list[Any]:
        return [event for event in events if isinstance(event, kind)]

    async def supervise() -> None:
        hosts = [f"n{number}" for number in range(NUM)]
        agents = Agents(
            ElementDir(tmp_path),
            "1.0.a",
            heartbeat_s=HEARTBEAT_S,
            on_event=events.append,
            settings=AgentSettings(patience_s=60.0),
        )
        await agents.start()
        agents.expect(hosts)
        agents.begin_attempt(1)
        control = read_control(agents.control_path)
        with contextlib.ExitStack() as stack:
            socks = await asyncio.to_thread(meet, control, hosts)
            for sock in socks:
                stack.enter_context(sock)
            await until(lambda: len(of(AgentUp)) == NUM)
            agents.begin_attempt(2)
            numbers = {"low": 7, "low_rank": 0, "high": 7, "high_rank": 0, "num_ranks": 1}
            steps = encode({"type": "steps", "attempt": 2, "epoch": 0, **numbers})
            socks[3].sendall(steps)
            await until(lambda: [event.step for event in of(Progress)] == [7])
            before = len(of(AgentLost))
            silent = set(hosts[-5:])
            deadline = time.monotonic() + 20
            while not silent <= {event.host for event in of(AgentLost)}:
                assert time.monotonic() < deadline
                for sock in socks[:-5]:
                    sock.sendall(HEARTBEAT)
                await asyncio.sleep(HEARTBEAT_S / 4)
            assert {event.host for event in of(AgentLost)[before:]} == silent
        await agents.stop()

    asyncio.run(supervise())
