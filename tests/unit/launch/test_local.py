"""Jobs as local processes: the same contract, one failure ends all, and nothing is left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slurmkit.launch.local import (
    LocalJob,
    LocalResult,
    rank_environment,
    run_local,
    torchrun_command,
)
from slurmkit.launch.processes import NotStartedError
from slurmkit.rundir.layout import ElementDir
from slurmkit.rundir.ledger import read_ledger


def _run(tmp_path: Path, script: str, **options: object) -> tuple[LocalResult, bytes]:
    said: list[bytes] = []
    values: dict[str, object] = {
        "num_nodes": 2,
        "ranks_per_node": 2,
        "env": dict(os.environ),
        "grace_s": 2.0,
        **options,
    }
    job = LocalJob(("bash", "-c", script), workdir=tmp_path, **values)  # type: ignore[arg-type]
    result = run_local(job, ElementDir(tmp_path), said.append)
    return result, b"".join(said)


def _alive(marker: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            pass  # it has ended
    return found


def test_every_rank_gets_its_place_and_its_log(tmp_path: Path) -> None:
    script = 'echo "$RANK $LOCAL_RANK $NODE_RANK $WORLD_SIZE $MASTER_ADDR $TOKEN"; echo é >&2'
    result, said = _run(tmp_path, script, secrets={"TOKEN": "s3cret"})
    assert (result.exit_code, result.state, result.root_cause) == (0, "completed", None)
    folder = tmp_path / "logs" / "attempt-1"
    for rank in range(4):
        expected = f"{rank} {rank % 2} {rank // 2} 4 127.0.0.1 s3cret\né\n"
        assert (folder / f"rank-0000{rank}.log").read_text() == expected
    assert (folder / "merged.log").read_bytes() == said
    assert sorted(said.splitlines())[0].startswith(b"[rank 0] 0 0 0 4")


def test_a_failing_rank_ends_the_others_and_is_named(tmp_path: Path) -> None:
    marker = f"local-{os.getpid()}-{time.time_ns()}"
    script = (
        f"trap '' TERM; exec -a {marker} sleep 60 & "
        "if [ $RANK = 2 ]; then echo bad luck; exit 9; fi; wait; sleep 60"
    )
    started = time.monotonic()
    result, _ = _run(tmp_path, script, grace_s=0.5)
    assert time.monotonic() - started < 20
    assert (result.exit_code, result.state) == (9, "failed")
    assert result.root_cause
    assert (result.root_cause.rank, result.root_cause.reason) == (2, "bad luck")
    assert _alive(marker) == []
    events = read_ledger(tmp_path / "ledger.jsonl")
    assert [r.event for r in events[:2]] == ["attempt_started", "step_started"]
    exits = [r.fields for r in events if r.event == "task_exited"]
    assert exits[0]["rank"] == 2
    assert [e["consequence"] for e in exits] == [False, True, True, True]
    assert events[-1].fields["root_cause"]["exit_code"] == 9


def test_a_rank_that_a_signal_ends(tmp_path: Path) -> None:
    result, _ = _run(tmp_path, "if [ $RANK = 1 ]; then kill -SEGV $$; fi; sleep 60")
    assert result.exit_code == 128 + signal.SIGSEGV
    assert result.root_cause
    assert (result.root_cause.rank, result.root_cause.signal) == (1, "SIGSEGV")


def test_no_value_of_a_secret_is_in_the_ledger(tmp_path: Path) -> None:
    script = 'if [ $RANK = 0 ]; then echo "token $TOKEN"; exit 3; fi; sleep 60'
    result, _ = _run(tmp_path, script, secrets={"TOKEN": "s3cret"})
    assert result.root_cause
    assert result.root_cause.reason == "token ***"
    assert "s3cret" not in (tmp_path / "ledger.jsonl").read_text()


def test_lines_of_ranks_are_never_mixed(tmp_path: Path) -> None:
    script = "for i in $(seq 300); do printf $RANK; printf '%s\\n' $RANK$RANK$RANK; done"
    _, said = _run(tmp_path, script)
    lines = said.splitlines()
    assert len(lines) == 1200
    assert set(lines) == {f"[rank {r}] {str(r) * 4}".encode() for r in range(4)}


def test_output_without_an_end_arrives_exactly(tmp_path: Path) -> None:
    script = "head -c 100000 /dev/zero | tr '\\0' x; printf '\\r50%%\\xff'"
    _run(tmp_path, script, num_nodes=1, ranks_per_node=1)
    log = (tmp_path / "logs" / "attempt-1" / "rank-00000.log").read_bytes()
    assert log == b"x" * 100000 + b"\r50%\xff"


def test_a_missing_program_starts_nothing(tmp_path: Path) -> None:
    job = LocalJob(("no-such-program",), workdir=tmp_path, env=dict(os.environ))
    with pytest.raises(NotStartedError, match="cannot run no-such-program"):
        run_local(job, ElementDir(tmp_path), lambda _said: None)


_CHILD = """
import os, sys
from pathlib import Path
from slurmkit.launch.local import LocalJob, run_local
from slurmkit.rundir.layout import ElementDir
job = LocalJob(("bash", "-c", sys.argv[2]), workdir=Path("/"), ranks_per_node=2,
               env=dict(os.environ), grace_s=1.0)
def show(said):
    os.write(1, said)
print(run_local(job, ElementDir(Path(sys.argv[1])), show), flush=True)
"""


def _start(tmp_path: Path, script: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, tmp_path, script], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("ignores", ["", "trap '' TERM INT; "])
def test_ctrl_c_ends_all(tmp_path: Path, ignores: str) -> None:
    marker = f"local-{os.getpid()}-{time.time_ns()}"
    script = f"{ignores}bash -c 'exec -a {marker} sleep 60' & echo up; wait; sleep 60"
    with _start(tmp_path, script) as process:
        assert process.stdout
        assert "up" in process.stdout.readline()
        assert "up" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert "exit_code=130" in said
    assert "cancelled" in said
    assert _alive(marker) == []
    assert read_ledger(tmp_path / "ledger.jsonl")[-1].fields["state"] == "cancelled"


def test_no_rank_outlives_a_killed_parent(tmp_path: Path) -> None:
    marker = f"local-{os.getpid()}-{time.time_ns()}"
    with _start(tmp_path, f"echo up; exec -a {marker} sleep 60") as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.readline()
        deadline = time.monotonic() + 10
        while len(_alive(marker)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
        process.wait()
    while _alive(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _alive(marker) == []


def test_the_rank_environment_is_that_of_exec() -> None:
    job = LocalJob(("x",), workdir=Path("/"), num_nodes=2, ranks_per_node=3, env={"A": "b"})
    env = rank_environment(job, 4, 17000)
    assert env["A"] == "b"
    assert [env[name] for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")] == list("4116")
    assert env["OMPI_COMM_WORLD_LOCAL_RANK"] == "1"


@pytest.mark.parametrize(
    ("argv", "start", "end"),
    [
        (
            ("python3", "train.py", "-x"),
            ["python3", "-m", "torch.distributed.run"],
            ["train.py", "-x"],
        ),
        (("python", "-m", "pkg"), ["torchrun", "--no-python"], ["python", "-m", "pkg"]),
        (("./prog",), ["torchrun", "--no-python"], ["./prog"]),
    ],
)
def test_torchrun_command(argv: tuple[str, ...], start: list[str], end: list[str]) -> None:
    command = list(torchrun_command(argv, 4, Path("/logs")))
    assert command[: len(start)] == start
    assert command[-len(end) :] == end
    assert "--nproc-per-node=4" in command


def test_torchrun_for_real(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    program = tmp_path / "train.py"
    program.write_text(
        "import os, sys\n"
        "print('rank', os.environ['RANK'], 'of', os.environ['WORLD_SIZE'], flush=True)\n"
        "if os.environ['RANK'] == '1': raise ValueError('boom')\n"
        "import time; time.sleep(60)\n"
    )
    job = LocalJob(
        (sys.executable, str(program)),
        workdir=tmp_path,
        ranks_per_node=2,
        env=dict(os.environ),
        launcher="torchrun",
    )
    result = run_local(job, ElementDir(tmp_path), lambda _said: None)
    assert result.state == "failed"
    assert result.root_cause
    assert result.root_cause.rank == 1
    assert result.root_cause.reason == f"ValueError: boom ({program}:3)"
    log = (tmp_path / "logs" / "attempt-1" / "rank-00000.log").read_bytes()
    assert log.startswith(b"rank 0 of 2\n")
    assert json.loads((tmp_path / "ledger.jsonl").read_text().splitlines()[-1])["state"] == "failed"


def test_mpirun_for_real(tmp_path: Path) -> None:
    if not shutil.which("mpirun"):
        pytest.skip("no mpirun on this machine")
    script = "printf '10%%\\r20%%\\n'; if [ $OMPI_COMM_WORLD_RANK = 1 ]; then exit 7; fi; sleep 60"
    job = LocalJob(
        ("sh", "-c", script),
        workdir=tmp_path,
        ranks_per_node=2,
        env=dict(os.environ),
        launcher="openmpi",
        mpirun=("mpirun", "--oversubscribe", "--tag-output"),
    )
    result = run_local(job, ElementDir(tmp_path), lambda _said: None)
    assert (result.exit_code, result.state) == (7, "failed")
    assert result.root_cause
    assert result.root_cause.rank in (1, None)  # Open MPI 4.1 does not always say which it was
    log = (tmp_path / "logs" / "attempt-1" / "rank-00001.log").read_bytes()
    assert log == b"10%\r20%\n"
