"""The programs of the how-to pages, with the real libraries: stopped by an agent, and resumed."""

import contextlib
import json
import re
import selectors
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"
PAGES = {"pytorch": "train.py", "hugging-face": "train_hf.py", "lightning": "train_lightning.py"}


def program(page, folder):
    """Write the program of a page into a folder."""
    text = (HOW_TO / f"checkpoint-{page}.md").read_text()
    name = PAGES[page]
    source = re.search(rf'```python title="{re.escape(name)}"[^\n]*\n(.*?)```', text, re.S)[1]
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(source)
    return name


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def start(clean_env, tmp_path):
    """Run a page's program on some ranks; an agent asks them to stop if it is told to."""

    def run(page, folder, world=1, stop=False):
        folder = tmp_path / folder
        name = program(page, folder)
        env = clean_env | {"SLURMKIT_CHECKPOINT_EVERY": "20", "HF_HUB_OFFLINE": "1"}
        env |= {"SLURMKIT_AGENT_SOCKET": str(tmp_path / "agent"), "GLOO_SOCKET_IFNAME": "lo"}
        if world > 1:
            env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
            env |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
        heard = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as agent:
            agent.bind(str(tmp_path / "agent"))
            agent.listen()
            ranks = [
                subprocess.Popen(
                    [sys.executable, name],
                    cwd=folder,
                    env=env | ({"RANK": str(rank), "LOCAL_RANK": str(rank)} if world > 1 else {}),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for rank in range(world)
            ]
            try:
                listen(agent, ranks, heard, stop)
                results = [rank.communicate(timeout=60) for rank in ranks]
            finally:
                for rank in ranks:
                    rank.kill()
                    rank.wait()
        (tmp_path / "agent").unlink()
        last = results[0][0].strip().rpartition("\n")[2]
        return [rank.returncode for rank in ranks], last, heard, results

    return run


def accepted(agent, ranks):
    agent.settimeout(0.2)
    while all(rank.poll() is None for rank in ranks):
        with contextlib.suppress(TimeoutError):
            return agent.accept()[0]
    return None


def listen(agent, ranks, heard, stop):
    """Be the agent until all ranks have hung up, or one has ended before it called."""
    with selectors.DefaultSelector() as lines:
        for number in range(len(ranks)):
            if (line := accepted(agent, ranks)) is None:
                return
            if stop and number == 0:  # one rank is told, and all stop
                line.send(b'{"type": "stop", "why": "time limit", "deadline": 4e9}')
            lines.register(line, selectors.EVENT_READ)
        while lines.get_map():
            for key, _ in lines.select(timeout=60):
                try:
                    packet = key.fileobj.recv(1 << 15)
                except ConnectionResetError:
                    packet = b""
                if packet:
                    heard.append(json.loads(packet))
                else:
                    lines.unregister(key.fileobj)
                    key.fileobj.close()


@pytest.mark.parametrize("page", PAGES)
def test_stopped_and_resumed_is_as_if_never_stopped(start, page):
    codes, undisturbed, heard, results = start(page, "undisturbed")
    assert codes == [0], results
    assert undisturbed.startswith("step ")
    kinds = [message["type"] for message in heard]
    assert kinds[0] in ("session", "phase")
    assert "session" in kinds
    assert "step" in kinds
    assert kinds[-1] == "ending"
    committed = [message["step"] for message in heard if message["type"] == "committed"]
    assert 20 in committed

    codes, last, heard, results = start(page, "stopped", stop=True)
    assert codes == [75], results
    assert "step " not in last
    (step,) = [message["step"] for message in heard if message["type"] == "committed"]
    assert step < int(undisturbed.split(",")[0].removeprefix("step "))
    assert heard[-1]["type"] == "ending"
    codes, last, heard, results = start(page, "stopped")
    assert codes == [0], results
    assert last == undisturbed
    assert [m["restored"] for m in heard if m["type"] == "session"][-1] == step


@pytest.mark.parametrize(
    "page", ["pytorch", *(pytest.param(page, marks=pytest.mark.long) for page in [*PAGES][1:])]
)
def test_two_ranks_stop_together(start, page):
    codes, _, heard, results = start(page, "two", world=2, stop=True)
    assert codes == [75, 75], results
    assert len([message for message in heard if message["type"] == "committed"]) == 1
    codes, last, _, results = start(page, "two", world=2)
    assert codes == [0, 0], results
    assert last.startswith("step ")
