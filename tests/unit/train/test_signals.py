"""What a rank is told: signals, the agent's socket, the environment."""

import json
import os
import signal
import socket
import time

import pytest

from slurmkit.train.errors import TrainError
from slurmkit.train.progress import Progress
from slurmkit.train.settings import Settings
from slurmkit.train.signals import SignalFlags
from slurmkit.train.world import join


@pytest.fixture
def flags():
    flags = SignalFlags(signal.SIGUSR2, grace_s=20)
    flags.install()
    yield flags
    flags.remove()


def test_a_warning_has_no_deadline_and_term_has_one(flags):
    os.kill(os.getpid(), signal.SIGUSR2)
    assert (flags.stop, flags.deadline) == ("warning", float("inf"))
    before = time.time()
    os.kill(os.getpid(), signal.SIGTERM)
    assert flags.stop == "warning"  # the first reason counts
    assert before + 20 <= flags.deadline <= time.time() + 20


def test_a_later_signal_only_shortens_the_deadline(flags):
    flags.ask_to_stop("time limit", time.time() + 5)
    deadline = flags.deadline
    os.kill(os.getpid(), signal.SIGTERM)
    assert flags.deadline == deadline


def test_pressing_ctrl_c_twice_ends_at_once(flags):
    os.kill(os.getpid(), signal.SIGINT)
    assert flags.stop == "interrupt"
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_signals_are_given_back_but_a_late_warning_is_harmless():
    before = signal.getsignal(signal.SIGTERM)
    flags = SignalFlags(signal.SIGUSR2)
    flags.install()
    assert signal.getsignal(signal.SIGTERM) != before
    flags.remove()
    assert signal.getsignal(signal.SIGTERM) == before
    os.kill(os.getpid(), signal.SIGUSR2)  # would kill this process, had it its default meaning
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)


def test_signals_that_come_while_it_ends_do_not_change_how_it_ends():
    flags = SignalFlags(signal.SIGUSR2)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    flags.install()
    flags.ignore()
    flags.remove()
    os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    signal.signal(signal.SIGTERM, before[0])
    signal.signal(signal.SIGINT, before[1])
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)


@pytest.fixture
def agent(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        listener.settimeout(5)
        yield listener


def test_the_agent_hears_and_asks(agent, tmp_path):
    progress = Progress(str(tmp_path / "s"), 3)
    progress.session(pid=1, restored=None, dump=None)
    line, _ = agent.accept()
    assert json.loads(line.recv(9999)) == {
        "type": "session",
        "rank": 3,
        "pid": 1,
        "restored": None,
        "dump": None,
    }
    progress.tell("phase", phase="run", step=4)
    assert json.loads(line.recv(9999)) == {"type": "phase", "rank": 3, "phase": "run", "step": 4}
    assert progress.asked() == []
    line.send(b'{"type": "save"}')
    line.send(b"garbage")
    line.send(b'{"type": "stop", "deadline": 5, "why": "time limit"}')
    assert [message["type"] for message in progress.asked()] == ["save", "stop"]
    line.close()
    progress.close()


def test_a_full_socket_never_blocks(agent, tmp_path):
    progress = Progress(str(tmp_path / "s"), 0)
    started = time.monotonic()
    for step in range(5000):
        progress.tell("phase", phase="run", step=step, filling="x" * 1000)
    assert time.monotonic() - started < 5
    progress.close()


def test_a_new_agent_is_told_again_who_this_is(agent, tmp_path, monkeypatch):
    progress = Progress(str(tmp_path / "s"), 0)
    progress.session(pid=1)
    first, _ = agent.accept()
    first.recv(9999)
    first.close()
    assert progress.asked() == []  # notices that the agent has gone
    monkeypatch.setattr("slurmkit.train.progress._RETRY_S", 0.0)
    progress._retry_at = 0.0
    progress.tell("phase", phase="run", step=1)
    second, _ = agent.accept()
    assert json.loads(second.recv(9999))["type"] == "session"
    assert json.loads(second.recv(9999))["type"] == "phase"
    second.close()
    progress.close()


def test_without_an_agent_nothing_happens(tmp_path):
    for path in (None, str(tmp_path / "nobody")):
        progress = Progress(path, 0)
        progress.session(pid=1)
        progress.tell("phase", phase="run", step=1)
        assert progress.asked() == []


def test_steps_are_told_at_most_four_times_a_second():
    progress = Progress("somewhere", 0)
    assert sum(progress.step_due(100 + number / 100) for number in range(100)) == 4


def test_settings_of_a_program_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_environment({})
    assert settings == Settings(folder=tmp_path / "checkpoints")


def test_settings_of_a_job():
    settings = Settings.from_environment(
        {
            "SLURMKIT_RUN_DIR": "/run",
            "SLURMKIT_CHECKPOINT_DIR": "ckpt",
            "SLURMKIT_CHECKPOINT_EVERY": "600s",
            "SLURMKIT_CHECKPOINT_KEEP": "5",
            "SLURMKIT_CHECKPOINT_ASYNC": "0",
            "SLURMKIT_CHECKPOINT_LEVELS": "nvme,shared",
            "SLURMKIT_LOCAL_DIR": "/nvme",
            "SLURMKIT_FENCE": "abc/2",
            "SLURMKIT_WARNING_SIGNAL": "USR2",
            "SLURMKIT_GRACE_S": "12.5",
            "SLURMKIT_MTBF_S": "7200",
        }
    )
    assert str(settings.folder) == "/run/ckpt"
    assert (settings.every, settings.keep, settings.asynchronous) == ("600s", 5, False)
    assert str(settings.local_dir) == "/nvme"
    assert settings.warning_signal is signal.SIGUSR2
    assert (settings.fence, settings.grace_s, settings.mtbf_s) == ("abc/2", 12.5, 7200)


@pytest.mark.parametrize(
    ("name", "value"), [("SLURMKIT_GRACE_S", "soon"), ("SLURMKIT_WARNING_SIGNAL", "USR9")]
)
def test_wrong_settings_are_named(name, value):
    with pytest.raises(TrainError, match=f"{name}={value}"):
        Settings.from_environment({name: value})


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, "LOCAL_RANK, MASTER_ADDR, MASTER_PORT not"),
        ({"SLURM_STEP_NUM_TASKS": "2"}, "srun started several tasks, but no RANK is set"),
    ],
)
def test_a_missing_environment_is_named(env, complaint):
    with pytest.raises(TrainError, match=complaint) as caught:
        join(timeout=None, env=env)
    assert "slurmkit submit" in caught.value.hint
