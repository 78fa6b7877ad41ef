"""What launchers say about failed tasks, in their real words."""

import pytest

from slurmkit.launch.labels import Labels, Source, source_of, task_label
from slurmkit.launch.messages import expand_ranks, mpirun_exits, srun_exits, torchrun_exits
from slurmkit.launch.outcome import TaskExit, judge, lost_peer, root_cause, signal_name


@pytest.mark.parametrize(
    ("line", "exits"),
    [
        (
            "srun: error: node1: task 2: Exited with exit code 7",
            [TaskExit(2, "node1", exit_code=7)],
        ),
        (
            "srun: error: node1: tasks 0-1: Terminated",
            [
                TaskExit(0, "node1", signal="SIGTERM", detail="Terminated"),
                TaskExit(1, "node1", signal="SIGTERM", detail="Terminated"),
            ],
        ),
        (
            "srun: error: node2: task 3: Segmentation fault (core dumped)",
            [TaskExit(3, "node2", signal="SIGSEGV", detail="Segmentation fault (core dumped)")],
        ),
        (
            "srun: error: node2: tasks 1,4: Killed",
            [
                TaskExit(1, "node2", signal="SIGKILL", detail="Killed"),
                TaskExit(4, "node2", signal="SIGKILL", detail="Killed"),
            ],
        ),
        (
            "srun: error: gpu-001: task 0: Out Of Memory",
            [TaskExit(0, "gpu-001", detail="Out Of Memory")],
        ),
        ("srun: error: node1: task 2: Something New", []),
        ("srun: launch/slurm: _step_signal: Terminating StepId=2.0", []),
        ("srun: error: Unable to create step for job 3: Job/step already completing", []),
        ("srun: Force Terminated StepId=2.0", []),
        ("", []),
    ],
)
def test_srun(line: str, exits: list[TaskExit]) -> None:
    assert srun_exits(line) == exits


def test_expand_ranks() -> None:
    assert expand_ranks("0-3,7,9-10") == [0, 1, 2, 3, 7, 9, 10]
    assert expand_ranks("") == []


_SUMMARY = """\
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
------------------------------------------------------------
Failures:
[1]:
  time      : 2026-11-20_13:10:{later}
  host      : node2
  rank      : 2 (local_rank: 0)
  exitcode  : -15 (pid: 17044)  (SIGTERM)
  error_file: <N/A>
  traceback : Signal 15 (SIGTERM) received by PID 17044
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-20_13:10:20
  host      : node2
  rank      : 3 (local_rank: 1)
  exitcode  : 1 (pid: 17046)
  error_file: <N/A>
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
============================================================
"""


@pytest.mark.parametrize("later", ["20", "21"])
def test_torchrun_names_its_first_failure(later: str) -> None:
    first, second = torchrun_exits(_SUMMARY.format(later=later))
    assert first == TaskExit(3, "node2", exit_code=1)
    assert second == TaskExit(2, "node2", signal="SIGTERM")


def test_torchrun_without_a_summary() -> None:
    assert torchrun_exits("W1120 Sending process 17044 closing signal SIGTERM\n") == []


@pytest.mark.parametrize(
    ("text", "exits"),
    [
        (
            "mpirun detected that one or more processes exited with non-zero status, thus causing\n"
            "the job to be terminated. The first process to do so was:\n\n"
            "  Process name: [[58214,1],3]\n  Exit code:    7\n",
            [TaskExit(3, "", exit_code=7)],
        ),
        (
            "prterun detected that one or more processes exited with non-zero status\n\n"
            "   Process name: [prterun-node1-118@1,2]\n   Exit code:    1\n",
            [TaskExit(2, "", exit_code=1)],
        ),
        (
            "mpirun noticed that process rank 1 with PID 4242 on node node2 exited on signal 11 "
            "(Segmentation fault).",
            [TaskExit(1, "node2", signal="SIGSEGV")],
        ),
        ("all is well", []),
    ],
)
def test_mpirun(text: str, exits: list[TaskExit]) -> None:
    assert mpirun_exits(text) == exits


@pytest.mark.parametrize(
    ("labels", "line", "source", "text"),
    [
        ("srun", b"3: hello", Source("rank", 3), b"hello"),
        ("srun", b"  12: ", Source("rank", 12), b""),
        ("srun", b"3:  indented", Source("rank", 3), b" indented"),
        ("srun", b"srun: error: x", Source("launcher"), b"srun: error: x"),
        ("srun", b"3 eggs: two", Source("launcher"), b"3 eggs: two"),
        ("torchrun", b"1: [3]: loss 2", Source("rank", 3), b"loss 2"),
        ("torchrun", b"1: [default3]:loss", Source("rank", 3), b"loss"),
        ("torchrun", b"1: [3]: ", Source("rank", 3), b""),
        ("torchrun", b"1: [3]:", Source("node", 1), b"[3]:"),
        ("torchrun", b"1: W1120 x", Source("node", 1), b"W1120 x"),
        ("torchrun", b"srun: error: x", Source("launcher"), b"srun: error: x"),
        ("openmpi", b"[1,3]<stdout>:text", Source("rank", 3), b"text"),
        ("openmpi", b"[1,3]<stderr>: text", Source("rank", 3), b"text"),
        ("openmpi", b"[prterun-n1-7@1,12]<stdout>: x", Source("rank", 12), b"x"),
        ("openmpi", b"[1,2,3] is a list", Source("launcher"), b"[1,2,3] is a list"),
        ("none", b"3: hello", Source("launcher"), b"3: hello"),
    ],
)
def test_labels(labels: Labels, line: bytes, source: Source, text: bytes) -> None:
    task, cut = task_label(line, labels)
    found, more = source_of(task, line[cut:], labels)
    assert (found, line[cut + more :]) == (source, text)


_CRASH = TaskExit(2, "n1", exit_code=1, reason="ValueError: boom (train.py:3)")
_LOST = TaskExit(0, "n2", exit_code=1, reason="RuntimeError: Connection closed by peer [::1]:1")
_KILLED = TaskExit(1, "n1", signal="SIGKILL")
_NO_MEMORY = TaskExit(1, "n1", signal="SIGKILL", detail="Out Of Memory")
_CUT_OFF = TaskExit(2, "n1", exit_code=1, reason="Traceback (most recent call last):")


def _judged(*exits: TaskExit) -> list[TaskExit]:
    seen: list[TaskExit] = []
    for exit_ in exits:
        seen.append(judge(exit_, seen))
    return seen


@pytest.mark.parametrize(
    ("exits", "consequences", "cause"),
    [
        ([_CRASH, _KILLED], [False, True], 2),
        ([_CRASH, _LOST, _KILLED], [False, True, True], 2),
        ([_LOST, _CRASH], [False, False], 2),
        ([_LOST, _KILLED], [False, True], 0),
        # Two nodes report in any order: the kill is what the launcher did about the crash.
        ([_KILLED, _CRASH], [False, False], 2),
        ([_KILLED, _LOST], [False, True], 1),
        ([_NO_MEMORY, _CRASH], [False, False], 1),
        ([_KILLED, _CUT_OFF], [False, False], 1),
        ([_CUT_OFF], [False], 2),
    ],
)
def test_the_cause_is_the_first_that_did_not_only_lose_its_peer(
    exits: list[TaskExit], consequences: list[bool], cause: int
) -> None:
    judged = _judged(*exits)
    assert [exit_.consequence for exit_ in judged] == consequences
    found = root_cause(judged)
    assert found
    assert found.rank == cause


def test_no_failure_has_no_cause() -> None:
    assert root_cause([]) is None
    assert lost_peer(_LOST)
    assert not lost_peer(_CRASH)


def test_a_failure_in_words() -> None:
    assert str(_CRASH) == "rank 2 on n1 exited with code 1: ValueError: boom (train.py:3)"
    assert str(_KILLED) == "rank 1 on n1 was ended by SIGKILL"
    assert str(TaskExit(0, "", detail="Out Of Memory")) == "rank 0 failed: Out Of Memory"
    assert str(TaskExit(None, "n1", exit_code=2)) == "the command on n1 exited with code 2"
    assert (_KILLED.shell_code, _CRASH.shell_code, signal_name(99)) == (137, 1, "signal 99")
