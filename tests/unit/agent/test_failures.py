"""Which kind of failure it was: real-looking last words, and who is to blame when many say some."""

import re
from pathlib import Path

import pytest

from slurmkit.health.verdict import Verdict
from slurmkit.launch.outcome import TaskExit
from slurmkit.supervise import failure_patterns
from slurmkit.supervise.agent_events import AgentLost, Hang
from slurmkit.supervise.failures import Evidence, classify, last_exception, reference_table

PAGE = Path(__file__).parents[3] / "docs/reference/failures.md"


def traceback(last: str, *frames: str) -> str:
    lines = ["Traceback (most recent call last):"]
    for frame in frames or ("train.py:88:main",):
        name, line, function = frame.split(":")
        lines += [f'  File "/home/user1/{name}", line {line}, in {function}', "    call()"]
    return "\n".join([*lines, last]) + "\n"


# The last words of a rank (wording of our own around each library's fixed text), what ended it,
# and the kind and key that follow.
SAID = [
    (
        traceback("torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered"),
        {"exit_code": 1},
        ("node", "gpu-ecc"),
    ),
    (
        traceback("RuntimeError: CUDA error: uncorrectable NVLink error detected during the run"),
        {"exit_code": 1},
        ("node", "gpu-nvlink"),
    ),
    (
        "Unable to determine the device handle for GPU 0000:1B:00.0\n",
        {"exit_code": 9},
        ("node", "gpu-lost"),
    ),
    (
        traceback("RuntimeError: No CUDA GPUs are available"),
        {"exit_code": 1},
        ("node", "gpu-missing"),
    ),
    (
        traceback("RuntimeError: CUDA driver initialization failed, maybe there is no GPU"),
        {"exit_code": 1},
        ("node", "gpu-driver"),
    ),
    (
        traceback("OSError: [Errno 5] Input/output error: '/local/cache/a'"),
        {"exit_code": 1},
        ("node", "disk-error"),
    ),
    (
        traceback("OSError: [Errno 30] Read-only file system: '/tmp/x'"),
        {"exit_code": 1},
        ("node", "disk-error"),
    ),
    ("mce: [Hardware Error]: CPU 3\n", {"exit_code": 1}, ("node", "machine-check")),
    ("NVRM: Xid (PCI:0000:1b:00): 79\n", {"exit_code": 1}, ("node", "gpu-xid")),
    (
        traceback("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"),
        {"exit_code": 1},
        ("memory", "gpu-memory at /home/user1/train.py:88 in main"),
    ),
    ("", {"signal": "", "detail": "Out Of Memory"}, ("memory", "cgroup-memory")),
    (
        "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0.\n",
        {"signal": "SIGKILL"},
        ("memory", "cgroup-memory"),
    ),
    (
        traceback("RuntimeError: DataLoader worker is out: insufficient shared memory (shm)."),
        {"exit_code": 1},
        ("memory", "shared-memory at /home/user1/train.py:88 in main"),
    ),
    (
        "terminate called after throwing an instance of 'std::bad_alloc'\n",
        {"signal": "SIGABRT"},
        ("memory", "host-memory"),
    ),
    (
        traceback("MemoryError"),
        {"exit_code": 1},
        ("memory", "host-memory at /home/user1/train.py:88 in main"),
    ),
    (
        traceback("OSError: [Errno 28] No space left on device"),
        {"exit_code": 1},
        ("application", "OSError at /home/user1/train.py:88 in main, step 40"),
    ),
    (
        traceback("RuntimeError: CUDA error: device-side assert triggered"),
        {"exit_code": 1},
        ("application", "RuntimeError at /home/user1/train.py:88 in main, step 40"),
    ),
    (
        "[rank3] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7) ran too long\n",
        {"signal": "SIGABRT"},
        ("transient", "nccl-timeout"),
    ),
    (
        traceback(
            "torch.distributed.DistBackendError: NCCL error in: x.cpp:10, remote process exited "
            "or there was a network error, NCCL version 2"
        ),
        {"exit_code": 1},
        ("transient", "nccl-remote"),
    ),
    (
        "n1:7:9 [0] net_ib.cc:1 NCCL WARN NET/IB : Got completion with status=12 opcode=0\n",
        {"exit_code": 1},
        ("transient", "nccl-network"),
    ),
    (
        traceback("torch.distributed.DistBackendError: NCCL communicator was aborted on rank 2"),
        {"exit_code": 1},
        ("transient", "nccl-aborted"),
    ),
    (
        "[n1:7] ib_mlx5_log.c:1 Transport retry count exceeded on mlx5_0:1/IB\n",
        {"exit_code": 1},
        ("transient", "ucx"),
    ),
    (
        "[n1][[1,0],0] mca_btl_tcp_frag_recv: readv failed: Connection reset by peer (104)\n",
        {"exit_code": 1},
        ("transient", "open-mpi"),
    ),
    (
        traceback("RuntimeError: [gloo/transport/tcp/pair.cc:1] Connection closed by peer [10.0]"),
        {"exit_code": 1},
        ("transient", "gloo"),
    ),
    (
        traceback("torch.distributed.DistNetworkError: The client socket has timed out after 1s"),
        {"exit_code": 1},
        ("transient", "rendezvous"),
    ),
    (
        traceback("OSError: [Errno 116] Stale file handle: 'data.bin'"),
        {"exit_code": 1},
        ("transient", "stale-file"),
    ),
    (
        traceback("ConnectionResetError: [Errno 104] Connection reset by peer"),
        {"exit_code": 1},
        ("transient", "connection"),
    ),
    (
        traceback("ValueError: the loss is nan", "train.py:88:main", "model.py:12:forward"),
        {"exit_code": 1},
        ("application", "ValueError at /home/user1/model.py:12 in forward, step 40"),
    ),
    ("", {"exit_code": 3}, ("application", "exit code 3, step 40")),
    ("", {"signal": "SIGSEGV"}, ("application", "SIGSEGV, step 40")),
    ("", {"signal": "SIGKILL"}, ("transient", "killed by SIGKILL")),
    ("", {"exit_code": 75}, ("stopped", "stopped")),
]


@pytest.mark.parametrize(("text", "end", "expected"), SAID, ids=range(len(SAID)))
def test_last_words(text: str, end: dict[str, object], expected: tuple[str, str]) -> None:
    exit_ = TaskExit(3, "n2", **end)  # type: ignore[arg-type]
    found = classify(Evidence(exits=[exit_], tails={3: text}, step=40))
    assert (found.kind, found.key) == expected
    assert found.host == ("n2" if found.kind in ("node", "memory") else "")


def test_every_pattern_has_a_row_above() -> None:
    keys = {expected[1].partition(" at ")[0] for _text, _end, expected in SAID}
    by_launcher = {"node-failure", "slurm-launch"}
    by_exception = {"no-space", "gpu-program"}
    assert keys | by_launcher | by_exception >= set(failure_patterns.BY_ID)


def test_a_warning_long_before_does_not_decide() -> None:
    text = "Connection reset by peer, trying again\n" + traceback("KeyError: 'input_ids'")
    found = classify(Evidence(exits=[TaskExit(0, "n1", 1)], tails={0: text}, step=1))
    assert found.kind == "application"
    assert "KeyError" in found.key


def test_the_cause_is_blamed_and_not_those_that_lost_it() -> None:
    lost = traceback("RuntimeError: [gloo/transport/tcp/pair.cc:5] Connection closed by peer [n2]")
    cause = traceback("ZeroDivisionError: division by zero")
    exits = [TaskExit(0, "n1", 1), TaskExit(1, "n1", 1), TaskExit(2, "n2", 1)]
    found = classify(Evidence(exits=exits, tails={0: lost, 1: lost, 2: cause}, step=9))
    assert (found.kind, found.rank) == ("application", 2)


def test_hardware_comes_before_what_it_causes() -> None:
    app = traceback("AssertionError: gradients differ")
    ecc = traceback("RuntimeError: CUDA error: uncorrectable ECC error encountered")
    exits = [TaskExit(0, "n1", 1), TaskExit(5, "n3", 1)]
    found = classify(Evidence(exits=exits, tails={0: app, 5: ecc}))
    assert (found.kind, found.host, found.hosts) == ("node", "n3", ("n3",))


def test_the_same_bug_has_the_same_key_and_another_step_another() -> None:
    text = traceback("ValueError: 0x7f3a is odd")
    again = traceback("ValueError: 0x11c0 is odd")
    first = classify(Evidence(exits=[TaskExit(1, "n1", 1)], tails={1: text}, step=5))
    second = classify(Evidence(exits=[TaskExit(1, "n4", 1)], tails={1: again}, step=5))
    later = classify(Evidence(exits=[TaskExit(1, "n1", 1)], tails={1: text}, step=6))
    assert first.key == second.key != later.key


def test_the_step_is_that_of_the_failing_rank_where_it_told_of_it() -> None:
    text = traceback("ValueError: odd")
    told = [
        classify(
            Evidence(exits=[TaskExit(1, "n1", 1)], tails={1: text}, step=reported, failed_at={1: 9})
        )
        for reported in (5, 7, None)
    ]
    assert {failure.key for failure in told} == {
        "ValueError at /home/user1/train.py:88 in main, step 9"
    }


def test_a_failing_check_turns_a_network_error_into_one_of_the_node() -> None:
    text = traceback("ConnectionResetError: [Errno 104] Connection reset by peer")
    sick = Verdict("rdma-ports", "fail", "mlx5_0 port 1 is DOWN", "drain")
    evidence = Evidence(exits=[TaskExit(1, "n2", 1)], tails={1: text}, verdicts={"n2": [sick]})
    found = classify(evidence)
    assert (found.kind, found.key, found.host) == ("node", "rdma-ports", "n2")
    assert "mlx5_0" in found.reason


def test_a_failing_check_does_not_excuse_a_bug() -> None:
    sick = Verdict("rdma-ports", "fail", "mlx5_0 port 1 is DOWN", "drain")
    text = traceback("KeyError: 'x'")
    found = classify(
        Evidence(exits=[TaskExit(1, "n2", 1)], tails={1: text}, verdicts={"n2": [sick]})
    )
    assert found.kind == "application"


@pytest.mark.parametrize("state", ["cancelled", "timeout", "preempted"])
def test_what_slurm_does_explains_the_rest(state: str) -> None:
    exits = [TaskExit(0, "n1", signal="SIGTERM")]
    found = classify(Evidence(exits=exits, slurm_state=state, lost=[AgentLost("n1", 4.0)]))
    assert found.kind == state


def test_a_save_before_the_time_limit_is_a_timeout() -> None:
    exits = [TaskExit(rank, "n1", 75) for rank in range(4)]
    assert classify(Evidence(exits=exits, slurm_state="timeout")).kind == "timeout"
    assert classify(Evidence(exits=exits)).kind == "stopped"
    assert classify(Evidence(exit_code=75)).kind == "stopped"


def test_one_rank_that_failed_is_not_hidden_by_those_that_stopped() -> None:
    exits = [TaskExit(0, "n1", 75), TaskExit(1, "n1", 1)]
    text = traceback("ValueError: bad")
    assert classify(Evidence(exits=exits, tails={1: text})).kind == "application"


def test_lost_nodes() -> None:
    lost = [AgentLost("n2", 3.1, "3 heartbeats in a row are missing"), AgentLost("n3", 3.2)]
    exits = [TaskExit(0, "n1", signal="SIGKILL")]
    found = classify(Evidence(exits=exits, lost=lost))
    assert (found.kind, found.host, found.hosts) == ("node", "n2", ("n2", "n3"))


def test_hang() -> None:
    found = classify(Evidence(hang=Hang(400.0, 300.0, (3,)), step=12))
    assert (found.kind, found.key, found.rank) == ("hang", "hang at step 12", 3)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("srun: error: Unable to create step for job 7: Job credential expired", "transient"),
        ("slurmstepd: error: *** STEP 7.0 ON n1 CANCELLED AT 2026 DUE TO NODE FAILURE ***", "node"),
        ("srun: error: Node failure on n2", "node"),
        ("srun: error: slurmstepd: oom-kill event", "memory"),
        ("no such file", "application"),
        ("", "application"),
    ],
)
def test_the_launcher_alone_speaks(said: str, expected: str) -> None:
    assert classify(Evidence(launcher=said, exit_code=1)).kind == expected


def test_python_exceptions() -> None:
    text = "[rank2]: " + traceback("a.b.MyError: it broke\nmore of it", "x.py:3:f").replace(
        "\n", "\n[rank2]: "
    )
    raised = last_exception(text)
    assert raised is not None
    assert (raised.name, raised.frame) == ("a.b.MyError", "/home/user1/x.py:3 in f")
    assert "more of it" in raised.words
    assert last_exception("no traceback") is None
    assert last_exception("Traceback (most recent call last):\n  File") is None


def test_the_page_shows_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(r"<!-- begin failures -->\n(.*?)<!-- end failures -->", text, re.DOTALL)
    assert found
    assert found[1].strip() == reference_table()
