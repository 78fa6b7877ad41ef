"""Real agents: heartbeats, ranks, deaths, stacks, impostors, restarts and orphans."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slurmkit.errors import SlurmkitError
from slurmkit.rundir.atomic import atomic_write
from slurmkit.rundir.layout import ElementDir
from slurmkit.supervise.agent_events import (
    AgentEvent,
    AgentLost,
    AgentUp,
    Committed,
    Ending,
    Hang,
    Phase,
    Progress,
    Quarantined,
    SaveFailed,
    SessionUp,
    TaskGone,
    TaskUp,
)
from slurmkit.supervise.agent_place import private_folder, socket_path, sweep
from slurmkit.supervise.agent_wire import encode, read_control, write_control
from slurmkit.supervise.agents import Agents, AgentSettings

HEARTBEAT_S = 0.2


@dataclass
class Side:
    """The supervisor's side."""

    agents: Agents
    events: list[AgentEvent] = field(default_factory=list)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, true: Callable[[], object], timeout_s: float = 15.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not true():
            assert time.monotonic() < deadline, self.events
            await asyncio.sleep(0.01)

    async def event(self, kind: type, number: int = 1) -> Any:
        await self.until(lambda: len(self.of(kind)) >= number)
        return self.of(kind)[number - 1]


class Rank:
    """What a Session does, as far as agents see it."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.connect(str(path))

    def say(self, **message: object) -> None:
        self.sock.send(json.dumps(message).encode())

    def hear(self) -> dict[str, Any]:
        self.sock.settimeout(10)
        heard: dict[str, Any] = json.loads(self.sock.recv(1 << 15))
        return heard


@dataclass
class Place:
    """A run's folder and the processes that belong to it."""

    folder: Path
    job_id: str
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    sides: list[Side] = field(default_factory=list)
    ranks: list[Rank] = field(default_factory=list)

    async def side(self, **settings: Any) -> Side:
        events: list[AgentEvent] = []
        incarnation = f"{self.job_id}.0.{len(self.sides)}"
        agents = Agents(
            ElementDir(self.folder),
            incarnation,
            heartbeat_s=HEARTBEAT_S,
            on_event=events.append,
            settings=AgentSettings(**{"start_s": 10.0, **settings}),
        )
        side = Side(agents, events)
        self.sides.append(side)
        await agents.start()
        return side

    def start_agent(self, control: Path, node: str) -> "subprocess.Popen[bytes]":
        return self.start([sys.executable, "-m", "slurmkit", "agent", str(control)], node)

    def start(self, command: Sequence[str], node: str, **env: str) -> "subprocess.Popen[bytes]":
        place = {"SLURM_JOB_ID": self.job_id, "SLURMD_NODENAME": node}
        process = subprocess.Popen(
            command,
            env={**os.environ, **place, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.processes.append(process)
        return process

    def socket(self, node: str) -> Path:
        return socket_path(os.getuid(), self.job_id, node)

    def rank(self, node: str) -> Rank:
        self.ranks.append(Rank(self.socket(node)))
        return self.ranks[-1]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    job_id = f"t{os.getpid()}{tmp_path.name[-12:]}"
    monkeypatch.setenv("SLURM_JOB_ID", job_id)
    monkeypatch.delenv("SLURMD_NODENAME", raising=False)
    found = Place(tmp_path, job_id)
    yield found
    for rank in found.ranks:
        rank.sock.close()
    for process in found.processes:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.communicate(timeout=10)
    for path in socket_path(os.getuid(), job_id, "x").parent.glob(f"{job_id}.*"):
        path.unlink()


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 60))


async def up(place: Place, node: str = "n1", **settings: Any) -> tuple[Side, Any]:
    side = await place.side(**settings)
    side.agents.expect([node])
    process = place.start_agent(side.agents.control_path, node)
    await side.event(AgentUp)
    side.agents.begin_attempt(1, [node])
    return side, process


async def ended(process: "subprocess.Popen[bytes]", within_s: float = 10.0) -> int:
    deadline = time.monotonic() + within_s
    while process.poll() is None:
        assert time.monotonic() < deadline, "it still runs"
        await asyncio.sleep(0.02)
    return process.returncode


def hello(place: Place, side: Side, code: str, rank: int = 0) -> "subprocess.Popen[bytes]":
    """Start a task by the real `slurmkit exec`."""
    env = {"SLURM_PROCID": str(rank), "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    env |= {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "4", "SLURM_STEP_ID": "0"}
    env |= {"SLURM_STEP_NODELIST": "n1", "MASTER_ADDR": "n1", "MASTER_PORT": "1"}
    env |= {"SLURMKIT_RENDEZVOUS_HOST": "n1", "SLURMKIT_ATTEMPT": "1"}
    command = [sys.executable, "-m", "slurmkit", "exec", "--", sys.executable, "-c", code]
    return place.start(command, "n1", **env, **side.agents.environment())


def test_comes_up_and_ends_with_its_supervisor(place: Place) -> None:
    async def body() -> None:
        side, process = await up(place)
        assert side.of(AgentUp) == [AgentUp("n1")]
        assert side.agents.hosts_up() == ["n1"]
        await asyncio.sleep(6 * HEARTBEAT_S)
        await side.agents.stop()
        assert await ended(process) == 0
        assert not side.of(AgentLost)
        assert not side.agents.control_path.exists()
        assert not place.socket("n1").exists()

    run(body())


def test_what_ranks_say_arrives(place: Place) -> None:
    async def body() -> None:
        side, _ = await up(place)
        rank = place.rank("n1")
        pid = os.getpid()
        rank.say(type="session", rank=3, pid=1, dump=None, restored=7, attempt=1)
        assert await side.event(SessionUp) == SessionUp(3, "n1", pid, 7)
        rank.say(type="phase", rank=3, phase="run", step=7)
        rank.say(type="committed", rank=3, step=8, size_bytes=5, save_s=0.5, stall_s=0.1)
        rank.say(type="save_failed", rank=3, step=9, error="full")
        rank.say(type="quarantined", rank=3, step=6, why="torn")
        rank.say(type="ending", rank=3, step=9, why="term")
        await side.event(Ending)
        said = [event for event in side.events if not isinstance(event, (AgentUp, SessionUp))]
        assert said == [
            Phase("run", 3, "n1", 7),
            Committed(8, 5, 0.5, 0.1, 3, "n1"),
            SaveFailed(9, "full", 3, "n1"),
            Quarantined(6, "torn", 3, "n1"),
            Ending(3, "n1", 9, "term"),
        ]
        await side.agents.stop()

    run(body())


def test_nonsense_from_a_rank_harms_nobody(place: Place) -> None:
    async def body() -> None:
        side, _ = await up(place)
        rank = place.rank("n1")
        for packet in (b"x", b"[]", b"{}", b'{"type":3}', b'{"type":"step"}', b"\xff" * 32768):
            rank.sock.send(packet)
        rank.say(type="session", rank="first", pid=1)
        rank.say(type="committed", rank=0)
        rank.say(type="session", rank=1, pid=1, attempt=1)
        await side.event(SessionUp)
        rank.say(type="step", rank=1, step="many")
        rank.say(type="step", rank=1, step=4)
        assert (await side.event(Progress)).step == 4
        assert not side.of(Committed)
        await side.agents.stop()

    run(body())


def test_progress_is_that_of_the_slowest_rank(place: Place) -> None:
    async def body() -> None:
        side, _ = await up(place)
        ranks = [place.rank("n1"), place.rank("n1")]
        for number, rank in enumerate(ranks):
            rank.say(type="session", rank=number, pid=1, attempt=1)
        for number, rank in enumerate(ranks):
            for step in range(1, 50 + number):
                rank.say(type="step", rank=number, step=step, epoch=2)
        await side.until(lambda: side.of(Progress) and side.of(Progress)[-1].step_max == 50)
        last = side.of(Progress)[-1]
        assert (last.step, last.rank_min, last.rank_max, last.epoch) == (49, 0, 1, 2)
        assert last.num_ranks == 2
        await side.agents.stop()

    run(body())


def test_words_of_an_earlier_attempt_are_left_out(place: Place) -> None:
    async def body() -> None:
        side, _ = await up(place)
        side.agents.begin_attempt(2)
        late, rank = place.rank("n1"), place.rank("n1")
        late.say(type="session", rank=0, pid=1, attempt=1)
        late.say(type="step", rank=0, step=999, attempt=1)
        late.say(type="committed", rank=0, step=999, attempt=1)
        late.sock.close()
        await asyncio.sleep(3 * HEARTBEAT_S)
        assert not side.of(SessionUp)
        assert not side.of(Committed)
        assert not side.of(Progress)
        await side.agents.stop()
        rank.sock.close()

    run(body())


def test_a_task_says_hello_and_its_death_is_seen_at_once(place: Place) -> None:
    async def body() -> None:
        side, _ = await up(place)
        task = hello(place, side, "import time; time.sleep(60)", rank=2)
        started = await side.event(TaskUp)
        assert (started.rank, started.host, started.pid) == (2, "n1", task.pid)
        task.kill()
        killed = time.monotonic()
        gone = await side.event(TaskGone)
        assert time.monotonic() - killed < HEARTBEAT_S + 0.3
        assert (gone.rank, gone.pid) == (2, task.pid)
        await side.agents.stop()

    run(body())


def test_the_program_learns_the_socket_and_starts_without_an_agent(place: Place) -> None:
    async def body() -> None:
        side = await place.side()
        show = "import os; print(os.environ['SLURMKIT_AGENT_SOCKET'])"
        task = hello(place, side, show)
        said, _ = await asyncio.to_thread(task.communicate, None, 20)
        assert said.decode().strip() == str(place.socket("n1"))
        assert task.returncode == 0
        await side.agents.stop()

    run(body())


def test_stop_reaches_ranks_that_are_there_and_that_come_later(place: Place) -> None:
    async def body() -> None:
        side, _ = await up(place)
        early = place.rank("n1")
        early.say(type="session", rank=0, pid=1, attempt=1)
        await side.event(SessionUp)
        side.agents.tell(None, {"type": "save"})
        side.agents.tell(None, {"type": "stop", "deadline": 5.0, "why": "time limit"})
        assert await asyncio.to_thread(early.hear) == {"type": "save"}
        stop = {"type": "stop", "deadline": 5.0, "why": "time limit"}
        assert await asyncio.to_thread(early.hear) == stop
        late = place.rank("n1")
        late.say(type="session", rank=1, pid=1, attempt=1)
        assert await asyncio.to_thread(late.hear) == stop
        side.agents.begin_attempt(2)
        after = place.rank("n1")
        after.say(type="session", rank=2, pid=1, attempt=2)
        await side.until(lambda: any(event.rank == 2 for event in side.of(SessionUp)))
        after.sock.settimeout(3 * HEARTBEAT_S)
        with pytest.raises(TimeoutError):
            after.sock.recv(1000)
        await side.agents.stop()

    run(body())


def test_a_frozen_agent_is_lost_and_comes_back(place: Place) -> None:
    async def body() -> None:
        side, process = await up(place)
        process.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        lost = await side.event(AgentLost)
        assert 2 * HEARTBEAT_S < time.monotonic() - stopped < 3 * HEARTBEAT_S + 0.4
        assert lost.host == "n1"
        assert lost.silent_s >= 3 * HEARTBEAT_S - 0.001  # it is told in rounded seconds
        process.send_signal(signal.SIGCONT)
        assert (await side.event(AgentUp, 2)).returned
        await side.agents.stop()

    run(body())


def test_a_supervisor_that_stood_still_loses_nobody(place: Place) -> None:
    async def body() -> None:
        side, _ = await up(place)
        time.sleep(12 * HEARTBEAT_S)
        await asyncio.sleep(6 * HEARTBEAT_S)
        assert not side.of(AgentLost)
        assert side.agents.stalled_s > 8 * HEARTBEAT_S
        await side.agents.stop()

    run(body())


def test_an_agent_that_ended_alone_can_be_replaced_and_knows_the_ranks(place: Place) -> None:
    async def body() -> None:
        side, process = await up(place)
        task = hello(place, side, "import time; time.sleep(60)")
        await side.event(TaskUp)
        process.kill()
        await ended(process)
        await asyncio.sleep(5 * HEARTBEAT_S)
        assert not side.of(AgentLost)
        place.start_agent(side.agents.control_path, "n1")
        await side.until(lambda: side.agents.hosts_up() == ["n1"])
        task.kill()
        assert (await side.event(TaskGone)).pid == task.pid
        assert not side.of(AgentLost)
        assert len(side.of(AgentUp)) == 1
        await side.agents.stop()

    run(body())


def test_an_agent_that_never_comes_is_reported(place: Place) -> None:
    async def body() -> None:
        side, _ = await up(place, start_s=1.0)
        side.agents.expect(["n2"])
        lost = await side.event(AgentLost)
        assert lost.host == "n2"
        assert "did not start" in lost.why
        await side.agents.stop()

    run(body())


def test_a_node_given_up_is_sent_away(place: Place) -> None:
    async def body() -> None:
        side, process = await up(place)
        side.agents.forget(["n1"])
        assert await ended(process) == 0
        again = place.start_agent(side.agents.control_path, "n1")
        assert await ended(again) == 0
        assert not side.of(AgentLost)
        assert len(side.of(AgentUp)) == 1
        await side.agents.stop()

    run(body())


def test_whoever_does_not_know_the_secret_is_no_agent(place: Place, tmp_path: Path) -> None:
    async def body() -> None:
        side, _ = await up(place)
        control = read_control(side.agents.control_path)
        forged = tmp_path / "forged" / "c"
        write_control(forged, control.replace(secret="00" * 32, hosts=("localhost",)))
        place.start_agent(forged, "n2")
        reader, writer = await asyncio.open_connection("localhost", control.port)
        await reader.readline()
        said = {"type": "hello", "host": "n1", "nonce": "0", "proof": "0"}
        writer.write(encode(said) + encode({"type": "committed", "rank": 0, "step": 1}))
        assert await asyncio.wait_for(reader.read(), 10) == b""
        await asyncio.sleep(3 * HEARTBEAT_S)
        assert side.agents.hosts_up() == ["n1"]
        assert not side.of(Committed)
        writer.close()
        await side.agents.stop()

    run(body())


def test_an_agent_obeys_nobody_who_does_not_know_the_secret(place: Place, tmp_path: Path) -> None:
    async def body() -> None:
        side, process = await up(place)
        control = read_control(side.agents.control_path)
        await side.agents.stop()
        assert await ended(process) == 0
        said: list[bytes] = []

        async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(encode({"type": "nonce", "nonce": "1"}))
            said.append(await reader.readline())
            writer.write(encode({"type": "end", "proof": "0"}))
            await reader.read()
            writer.close()

        server = await asyncio.start_server(impostor, "localhost", 0)
        port = server.sockets[0].getsockname()[1]
        path = tmp_path / "elsewhere" / "agents-x"
        write_control(path, control.replace(port=port, hosts=("localhost",)))
        agent = place.start_agent(path, "n1")
        await side.until(lambda: len(said) > 1)
        assert agent.poll() is None
        assert control.secret.encode() not in b"".join(said)
        server.close()

    run(body())


def test_stacks_of_ranks_with_and_without_a_session(place: Place, tmp_path: Path) -> None:
    async def body() -> None:
        side, _ = await up(place)
        own = """
import faulthandler, json, os, signal, socket, time
path = os.environ["DUMP"]
faulthandler.register(signal.SIGUSR1, file=open(path, "w"))
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sock.connect(os.environ["SLURMKIT_AGENT_SOCKET"])
hello = {"type": "session", "rank": 0, "pid": 1, "dump": "USR1", "dump_path": path}
sock.send(json.dumps(hello).encode())
def waits_for_ever(): time.sleep(60)
waits_for_ever()
"""
        os.environ["DUMP"] = str(tmp_path / "dump")
        hello(place, side, own, rank=0)
        plain = "def spins():\n    while True: pass\nspins()"
        hello(place, side, plain, rank=1)
        await side.event(SessionUp)
        await side.until(lambda: len(side.of(TaskUp)) == 2)
        folder = tmp_path / "stacks"
        files = await side.agents.dump_stacks(folder, 15.0)
        assert [file.name for file in files] == ["rank-00000.txt", "rank-00001.txt"]
        assert "waits_for_ever" in files[0].read_text()
        second = files[1].read_text()
        assert "State:" in second
        if shutil.which("py-spy") or Path(sys.executable).with_name("py-spy").exists():
            assert "spins" in second
        assert not side.of(AgentLost)
        await side.agents.stop()

    run(body())


def test_a_hang_is_told_once_with_the_ranks_that_are_behind(place: Place) -> None:
    async def body() -> None:
        side, _ = await up(place, hang=0.8)
        ranks = [place.rank("n1"), place.rank("n1")]
        for number, rank in enumerate(ranks):
            rank.say(type="session", rank=number, pid=1, attempt=1)
            rank.say(type="step", rank=number, step=1)
        for step in range(2, 8):
            for number, rank in enumerate(ranks):
                rank.say(type="step", rank=number, step=step)
            await asyncio.sleep(0.2)
        assert not side.of(Hang)
        ranks[1].say(type="step", rank=1, step=8)
        hang = await side.event(Hang)
        assert hang.ranks == (0,)
        assert hang.silent_s > 0.8
        await asyncio.sleep(1.2)
        assert len(side.of(Hang)) == 1
        await side.agents.stop()

    run(body())


def test_a_rank_that_does_not_come_to_a_save_hangs(place: Place) -> None:
    async def body() -> None:
        side, _ = await up(place, hang=1.0)
        ranks = [place.rank("n1"), place.rank("n1")]
        for number, rank in enumerate(ranks):
            rank.say(type="session", rank=number, pid=1, attempt=1)
            rank.say(type="step", rank=number, step=1)
            rank.say(type="phase", rank=number, phase="run", step=1)
        await side.event(SessionUp, 2)
        await asyncio.sleep(HEARTBEAT_S)
        ranks[0].say(type="phase", rank=0, phase="save", step=2)
        await side.event(Hang)
        assert not [event for event in side.of(Phase) if event.phase == "save"]
        await side.agents.stop()

    run(body())


def test_a_long_save_of_all_ranks_is_no_hang(place: Place) -> None:
    async def body() -> None:
        side, _ = await up(place, hang=1.0)
        ranks = [place.rank("n1"), place.rank("n1")]
        for number, rank in enumerate(ranks):
            rank.say(type="session", rank=number, pid=1, attempt=1)
            rank.say(type="step", rank=number, step=1)
            rank.say(type="phase", rank=number, phase="save", step=1)
        await side.event(Phase)
        await asyncio.sleep(2.0)
        assert not side.of(Hang)
        for number, rank in enumerate(ranks):
            rank.say(type="phase", rank=number, phase="run", step=1)
        await side.event(Hang)
        await side.agents.stop()

    run(body())


def test_the_preflight_travels_with_the_agent(place: Place) -> None:
    async def body() -> None:
        side, _ = await up(place, preflight="quick", num_gpus=1000)
        verdicts = {verdict.check: verdict for verdict in side.of(AgentUp)[0].verdicts}
        assert verdicts["gpu-count"].refuses
        assert verdicts["gpu-count"].drains
        assert verdicts["shared-folder"].verdict == "pass"
        assert verdicts["clock-skew"].verdict == "pass"
        await side.agents.stop()

    run(body())


def test_orphans_submit_one_successor_and_end(place: Place) -> None:
    """Their supervisor is a process of its own, which is killed."""
    code = f"""
import asyncio
from pathlib import Path
from slurmkit.rundir.layout import ElementDir
from slurmkit.supervise.agents import Agents, AgentSettings
async def main():
    settings = AgentSettings(successor=True, patience_s=1.5)
    element = ElementDir(Path({str(place.folder)!r}))
    def say(event): print(event, flush=True)
    agents = Agents(element, "7.0.a", heartbeat_s=0.2, on_event=say, settings=settings)
    await agents.start()
    agents.expect(["n1", "n2", "n3"])
    await asyncio.sleep(600)
asyncio.run(main())
"""

    async def body() -> None:
        supervisor = place.start([sys.executable, "-c", code], "n0")
        control = place.folder / "control" / "agents-7.0.a.json"
        while not control.exists():
            await asyncio.sleep(0.02)
        atomic_write(place.folder / "fence", "7.0.a\n")
        began = {"v": 1, "seq": 1, "time": 0, "event": "incarnation_started", "attempt": 1}
        began |= {"incarnation": "7.0.a", "host": "n0", "remedies": ["successor"]}
        (place.folder / "ledger.jsonl").write_text(json.dumps(began) + "\n")
        agents = [place.start_agent(control, node) for node in ("n1", "n2", "n3")]
        assert supervisor.stdout
        for _ in agents:
            line = await asyncio.to_thread(supervisor.stdout.readline)
            assert b"AgentUp" in line
        supervisor.send_signal(signal.SIGSTOP)
        await asyncio.sleep(3.5)
        supervisor.send_signal(signal.SIGCONT)  # its host took connections all the time
        await asyncio.sleep(1.0)
        assert [agent.poll() for agent in agents] == [None] * 3
        supervisor.kill()
        codes = [await ended(agent, 20) for agent in agents]
        assert codes == [0, 0, 0]
        claim = place.folder / "control" / "successor-7.0.a"
        # There is no Slurm here: that it was tried, by one of them, is all there is to see.
        host, outcome = claim.read_text().splitlines()[:2]
        assert host in ("n1", "n2", "n3")
        assert outcome.startswith("failed")

    run(body())


@pytest.mark.parametrize("sign", ["beacon", "fence", "control"])
def test_signs_of_life_or_of_another_keep_orphans_from_it(place: Place, sign: str) -> None:
    async def body() -> None:
        side = await place.side(successor=True, patience_s=1.0)
        control = side.agents.control_path
        side.agents.expect(["n1"])
        agent = place.start_agent(control, "n1")
        await side.event(AgentUp)
        side.agents._server.stop()  # the network is gone; beacon and files are not
        if sign == "fence":
            atomic_write(place.folder / "fence", "another\n")
        elif sign == "control":
            control.unlink()
        if sign == "beacon":
            await asyncio.sleep(3.0)
            assert agent.poll() is None
        else:
            assert await ended(agent) == 0
        assert not list((place.folder / "control").glob("successor-*"))
        await side.agents.stop()

    run(body())


def test_told_to_end_by_slurm_it_serves_as_long_as_its_supervisor(place: Place) -> None:
    async def body() -> None:
        side, process = await up(place)
        process.send_signal(signal.SIGTERM)
        rank = place.rank("n1")
        rank.say(type="session", rank=0, pid=1, attempt=1)
        await side.event(SessionUp)
        side.agents.tell(None, {"type": "stop", "deadline": 1.0, "why": "term"})
        assert (await asyncio.to_thread(rank.hear))["type"] == "stop"
        await side.agents.stop()
        assert await ended(process) == 0

    run(body())


def test_the_folder_of_sockets_must_be_our_own(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "link").symlink_to(elsewhere)
    with pytest.raises(SlurmkitError, match="not a folder of our own"):
        private_folder(tmp_path / "link")
    if os.geteuid() == 0:
        os.chown(elsewhere, 12345, 12345)
        with pytest.raises(SlurmkitError, match="not a folder of our own"):
            private_folder(elsewhere)
    private_folder(tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_stale_sockets_are_swept_and_living_ones_are_not(tmp_path: Path) -> None:
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stale.bind(str(tmp_path / "stale"))
    stale.close()
    living = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    living.bind(str(tmp_path / "living"))
    living.listen(1)
    assert sweep(tmp_path) == ["stale"]
    assert (tmp_path / "living").exists()
    living.close()
