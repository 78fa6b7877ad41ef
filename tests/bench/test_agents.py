"""What thousands of agents cost the supervisor, and what one agent costs its node."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.supervise.agent_place import socket_path

Figure = Callable[[str, str, str], None]
NUM_AGENTS = 4096
_MEASURED_S = 20.0

# The supervisor's side alone: nothing else is counted.
_SUPERVISOR = """
import asyncio, json, resource, sys, time
from pathlib import Path
from slurmkit.rundir.layout import ElementDir
from slurmkit.supervise.agent_events import AgentLost, AgentUp, Progress
from slurmkit.supervise.agents import Agents, AgentSettings

folder, number, measured_s = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
up, lost, steps = [], [], []

def on_event(event):
    if isinstance(event, AgentUp): up.append(event.host)
    if isinstance(event, AgentLost): lost.append((time.time(), event.host))
    if isinstance(event, Progress): steps.append(event.step)

async def main():
    agents = Agents(ElementDir(folder), "1.0.b", heartbeat_s=1.0, on_event=on_event,
                    settings=AgentSettings(patience_s=6.0))
    await agents.start()
    agents.expect([f"n{i}" for i in range(number)])
    agents.begin_attempt(1)
    while len(up) < number: await asyncio.sleep(0.1)
    await asyncio.sleep(5.0)
    lost.clear()
    before, used = time.monotonic(), time.process_time()
    await asyncio.sleep(measured_s)
    share = (time.process_time() - used) / (time.monotonic() - before)
    print(json.dumps({"share": share, "false": len(lost), "steps": len(steps)}), flush=True)
    killed = int(await asyncio.to_thread(sys.stdin.readline))
    while len(lost) < killed: await asyncio.sleep(0.05)
    await asyncio.sleep(1.0)
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"lost": lost, "size_mib": size, "stalled_s": agents.stalled_s}), flush=True)
    await agents.stop()

asyncio.run(main())
"""

# Many agents in one process: what they send is what real ones send, a heartbeat per second, which
# may stand behind a line of progress.
_AGENTS = """
import json, select, socket, sys, time, resource
from pathlib import Path
from slurmkit.supervise.agent_wire import HEARTBEAT, encode, proof, read_control

control, first, last, progress = read_control(Path(sys.argv[1])), *map(int, sys.argv[2:5])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
# All at once, as thousands of nodes do: the supervisor takes them in batches.
socks = [socket.create_connection(("127.0.0.1", control.port)) for _ in range(first, last)]
for number, sock in zip(range(first, last), socks, strict=True):
    nonce = json.loads(sock.makefile("rb").readline())["nonce"]
    host = f"n{number}"
    hello = {"type": "hello", "host": host, "nonce": "0"}
    hello["proof"] = proof(control.secret, "agent", nonce, "0", host)
    sock.sendall(encode(hello) + encode({"type": "up", "verdicts": []}))
    sock.setblocking(False)
print("up", flush=True)
poll = select.epoll()
for sock in socks: poll.register(sock, select.EPOLLIN)
by_number = {sock.fileno(): sock for sock in socks}
started, turn = time.monotonic(), 0
while True:
    turn += 1
    for index, sock in enumerate(socks):
        due = started + turn + index / len(socks)
        pause = due - time.monotonic()
        if pause > 0.002: time.sleep(pause)
        line = HEARTBEAT
        if progress:
            line = encode({"type": "steps", "attempt": 1, "low": turn, "low_rank": 0, "high": turn,
                           "high_rank": 7, "num_ranks": 8, "epoch": 0, "loss": 1.5}) + HEARTBEAT
        sock.send(line)
    for number, _ in poll.poll(0, 8192):
        by_number[number].recv(65536)
"""


@pytest.mark.parametrize("progress", [False, True], ids=["heartbeats", "progress"])
def test_supervisor_of_thousands(progress: bool, tmp_path: Path, figure: Figure) -> None:
    command = [sys.executable, "-c", _SUPERVISOR, tmp_path, str(NUM_AGENTS), str(_MEASURED_S)]
    supervisor = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    others: list[subprocess.Popen[str]] = []
    try:
        control = tmp_path / "control" / "agents-1.0.b.json"
        while not control.exists():
            assert supervisor.poll() is None
            time.sleep(0.05)
        half = NUM_AGENTS - 256
        for first, last in ((0, half), (half, NUM_AGENTS)):
            argv = [
                sys.executable,
                "-c",
                _AGENTS,
                control,
                str(first),
                str(last),
                str(int(progress)),
            ]
            others.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
        assert supervisor.stdout
        assert supervisor.stdin
        said = json.loads(supervisor.stdout.readline())
        # A frozen process: its sockets stay open, and nothing is sent any more.
        others[1].send_signal(signal.SIGSTOP)
        stopped = time.time()
        supervisor.stdin.write("256\n")
        supervisor.stdin.flush()
        end = json.loads(supervisor.stdout.readline())
    finally:
        for process in (*others, supervisor):
            process.kill()
            process.communicate()
    kind = "one line of progress" if progress else "one heartbeat"
    what = f"supervisor of {NUM_AGENTS} agents, {kind} per second each"
    figure(what, f"{said['share']:.1%} of a core, {end['size_mib']:.0f} MiB", "<= 10 %, 150 MB")
    slowest = max(seen for seen, _ in end["lost"]) - stopped
    first = min(seen for seen, _ in end["lost"]) - stopped
    figure("256 of them frozen: seen after", f"{first:.1f} to {slowest:.1f} s", "<= 4 s")
    assert len(end["lost"]) == 256
    figure("nodes declared lost that were not", str(said["false"]), "0")


def test_one_agent(tmp_path: Path, figure: Figure) -> None:
    """An agent with 8 ranks that report four steps a second each."""
    code = """
import json, os, socket, sys, time
socks = []
for rank in range(8):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(sys.argv[1])
    sock.send(json.dumps({"type": "session", "rank": rank, "pid": 1, "attempt": 1}).encode())
    socks.append(sock)
for step in range(4000):
    for rank, sock in enumerate(socks):
        message = {"type": "step", "rank": rank, "step": step, "epoch": 0, "loss": 2.1}
        sock.send(json.dumps(message).encode())
    time.sleep(0.25)
"""
    supervisor = subprocess.Popen(
        [sys.executable, "-c", _SUPERVISOR, tmp_path, "1", "600"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    env = {**os.environ, "SLURMD_NODENAME": "n0", "SLURM_JOB_ID": f"bench{os.getpid()}"}
    control = tmp_path / "control" / "agents-1.0.b.json"
    while not control.exists():
        assert supervisor.poll() is None
        time.sleep(0.05)
    agent = subprocess.Popen([sys.executable, "-m", "slurmkit", "agent", control], env=env)
    path = socket_path(os.getuid(), env["SLURM_JOB_ID"], "n0")
    while not path.exists():
        assert agent.poll() is None
        time.sleep(0.05)
    time.sleep(1.0)
    idle = _share(agent.pid, 15.0)
    ranks = subprocess.Popen([sys.executable, "-c", code, path])
    time.sleep(1.0)
    busy = _share(agent.pid, 15.0)
    size = _status(agent.pid, "VmRSS") / 1024, _status(agent.pid, "RssAnon") / 1024
    for process in (ranks, agent, supervisor):
        process.kill()
        process.communicate()
    path.unlink(missing_ok=True)
    figure("an agent at 1 s heartbeats, no ranks", f"{idle:.3%} of a core", "<= 0.1 %")
    figure("the same with 8 ranks and 32 packets a second", f"{busy:.3%} of a core", "<= 0.1 %")
    figure("its memory", f"{size[0]:.1f} MiB, {size[1]:.1f} of them its own", "a few MB")


def _share(pid: int, over_s: float) -> float:
    """Return a process's processor time as a share; the kernel counts it in nanoseconds here."""

    def used_s() -> float:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9

    before, started = used_s(), time.monotonic()
    time.sleep(over_s)
    return (used_s() - before) / (time.monotonic() - started)


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise AssertionError(name)


def test_hello_of_a_task(tmp_path: Path, figure: Figure) -> None:
    """What a task's hello takes, in a process that has imported what exec has."""
    code = """
import os, sys, time
from slurmkit.launch.main import main
from slurmkit.launch.variables import Placement
place = Placement(rank=0, world_size=1, local_rank=0, local_world_size=1, node_rank=0, num_nodes=1)
started = time.perf_counter()
from slurmkit.launch.hello import say_hello
say_hello({"SLURMKIT_AGENT_SOCKET": sys.argv[1], "SLURMKIT_ATTEMPT": "1"}, place, False)
print(time.perf_counter() - started)
"""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    listener = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import socket, sys, time\n"
            "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
            "s.bind(sys.argv[1]); s.listen(64); time.sleep(60)",
            tmp_path / "s",
        ]
    )
    while not (tmp_path / "s").exists():
        time.sleep(0.02)
    took = []
    for _ in range(11):
        argv = [sys.executable, "-c", code, tmp_path / "s"]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
        took.append(float(done.stdout))
    listener.kill()
    listener.communicate()
    median = sorted(took)[len(took) // 2]
    figure("a task's hello to its agent, import included", f"{median * 1000:.2f} ms", "< 1 ms")
