"""exec and supervise under real Slurm: places, values, failures, secrets."""

import json
import os
import runpy
import time
from pathlib import Path

import pytest

from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.secretfile import read_secrets, write_secrets
from slurmkit.sandbox import Sandbox

_PARTS = runpy.run_path(str(Path(__file__).with_name("launch_place.py")))
Place, make_place = _PARTS["Place"], _PARTS["make_place"]
SLURMKIT, PYTHON = _PARTS["SLURMKIT"], _PARTS["PYTHON"]
pytestmark = pytest.mark.slurm


@pytest.fixture
def place(cluster: Sandbox, request: pytest.FixtureRequest) -> Place:
    return make_place(cluster, request)


@pytest.fixture
def any_place(any_cluster: Sandbox, request: pytest.FixtureRequest) -> Place:
    return make_place(any_cluster, request)


_STEP = "srun --nodes=2 --ntasks=4 --ntasks-per-node=2 --label --kill-on-bad-exit=1"
_SHOW = (
    "echo $RANK $WORLD_SIZE $LOCAL_RANK $LOCAL_WORLD_SIZE $GROUP_RANK $NODE_RANK"
    " $OMPI_COMM_WORLD_RANK $MPI_LOCALRANKID $MASTER_ADDR $MASTER_PORT"
)


def test_a_bare_srun_gives_every_task_its_place(any_place: Place) -> None:
    bare = ["srun", "--nodes=2", "--ntasks=5", "--distribution=block", "--ntasks-per-node=3"]
    done = any_place.run(
        *bare, SLURMKIT, "exec", "--", "sh", "-c", _SHOW, HOME=str(any_place.folder)
    )
    rows = sorted(line.split() for line in done.stdout.splitlines())
    counts = {row[4]: int(row[3]) for row in rows}
    assert sum(counts.values()) == 5
    for rank, row in enumerate(rows):
        node = 0 if rank < counts["0"] else 1
        local = str(rank - node * counts["0"])
        assert row[:8] == [
            str(rank),
            "5",
            local,
            str(counts[str(node)]),
            str(node),
            str(node),
            str(rank),
            local,
        ]
    assert {row[8] for row in rows} == {"node1"}
    assert len({row[9] for row in rows}) == 1


def test_steps_at_the_same_time_meet_at_different_ports(place: Place) -> None:
    step = (
        f"srun --overlap --nodes=2 --ntasks=2 {SLURMKIT} exec -- sh -c 'echo $MASTER_PORT; sleep 2'"
    )
    script = f"export HOME={place.folder}; for i in 1 2 3 4 5; do {step} & done; wait"
    done = place.run("salloc", "--nodes=2", "--ntasks=2", "bash", "-c", script)
    ports = done.stdout.split()
    assert len(ports) == 10, done.stderr
    assert len(set(ports)) == 5


def test_a_step_without_the_batch_host_meets_on_its_own_first_node(place: Place) -> None:
    step = f"srun --nodes=2 --ntasks=2 --nodelist=node[2-3] --label {SLURMKIT} exec"
    done = place.batch(f"-- {step} -- sh -c 'echo $MASTER_ADDR $MASTER_PORT'", "--nodes=3")
    lines = sorted(line.split(maxsplit=2)[2] for line in done.stdout.splitlines())
    assert len(lines) == 2, done.stdout
    assert lines[0] == lines[1]
    assert lines[0].startswith("node2 ")


_ODD = [
    "two words",
    " lead and trail ",
    "a,b;c&d|e",
    'it\'s "quoted" `id`',
    "$HOME ${x} $(id) \\$",
    "line\nline\r\n",
    "grüße 🚀 \u2028",
    "back\\slash\\n\\",
    "",
    "--leading",
    "-x",
    "100%s %j %%",
    os.fsdecode(b"\xff\xfe"),
    "*?[a-z]{b,c}~!#",
    "=",
    "\t",
]
_DUMP = """\
import json, os, sys
env = {k: v for k, v in os.environ.items() if k.startswith("ODD_")}
with open(f"{sys.argv[1]}/seen-{os.environ['RANK']}", "w") as file:
    json.dump({"argv": sys.argv[2:], "env": env}, file)
"""


def test_any_value_arrives_unchanged_in_every_task(any_place: Place) -> None:
    def quote(text: str) -> str:
        # sbatch refuses a script with a carriage return before a newline.
        return "'" + text.replace("'", "'\\''").replace("\r", "'$'\\r''") + "'"

    dump = any_place.write("dump.py", _DUMP)
    exported = {f"ODD_{n}": value for n, value in enumerate(_ODD)}
    secrets = {f"ODD_SECRET_{n}": value for n, value in enumerate(_ODD)}
    any_place.run_dir.mkdir()
    write_secrets(any_place.run_dir, secrets)
    done = any_place.batch(
        f"-- {_STEP} {SLURMKIT} exec -- {PYTHON} {dump} {any_place.folder} "
        + " ".join(quote(value) for value in _ODD),
        before="\n".join(f"export {name}={quote(value)}" for name, value in exported.items()),
    )
    assert done.returncode == 0, done.stdout
    for rank in range(4):
        seen = json.loads((any_place.folder / f"seen-{rank}").read_text())
        assert seen["argv"] == _ODD
        assert seen["env"] == exported | secrets


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        ("env -u SLURM_LOCALID", "SLURM_LOCALID is not set"),
        ("env -u SLURM_NODEID", "SLURM_NODEID is not set"),
        ("env SLURM_STEP_TASKS_PER_NODE=lots", "is no list of tasks per node"),
    ],
)
def test_a_wrong_variable_is_said_once(place: Place, break_it: str, words: str) -> None:
    bare = ["srun", "--nodes=2", "--ntasks=4", "--ntasks-per-node=2", *break_it.split()]
    done = place.run(*bare, SLURMKIT, "exec", "--", "true")
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if "slurmkit: error:" in line]
    assert len(said) == 1, done.stderr
    assert words in said[0]


def test_a_missing_program_is_said_once_per_node(place: Place) -> None:
    bare = ["srun", "--nodes=2", "--ntasks=4", "--ntasks-per-node=2"]
    done = place.run(*bare, SLURMKIT, "exec", "--", "no-such-program", HOME=str(place.folder))
    assert done.returncode == 127
    said = sorted(line for line in done.stderr.splitlines() if "slurmkit: error:" in line)
    assert [line.split(":")[2].strip() for line in said] == ["node1", "node2"]


def test_exec_in_the_batch_script_itself_says_that_srun_is_missing(place: Place) -> None:
    done = place.batch(f"--labels none -- {SLURMKIT} exec -- true")
    assert done.returncode == 2
    assert "this is the batch script of a job, not a task" in done.stdout


def test_a_failing_rank_ends_all_and_is_named(any_place: Place) -> None:
    program = any_place.write(
        "fails.py",
        "import os, time\n"
        "print('working', flush=True)\n"
        "if os.environ['RANK'] == '3':\n"
        "    time.sleep(0.5)\n"
        "    raise ValueError('bad batch 17')\n"
        "time.sleep(600)\n",
    )
    started = time.monotonic()
    done = any_place.batch(f"-- {_STEP} {SLURMKIT} exec -- {PYTHON} {program}")
    assert time.monotonic() - started < 30
    assert done.returncode != 0
    why = f"rank 3 on node2 exited with code 1: ValueError: bad batch 17 ({program}:5)"
    assert done.stdout.count(f"slurmkit: {why}\n") == 1
    ended = any_place.last("attempt_ended")
    assert (ended["state"], ended["reason"]) == ("failed", why)
    exits = [record.fields for record in any_place.records() if record.event == "task_exited"]
    assert [(e["rank"], e["host"], e["exit_code"]) for e in exits if not e["consequence"]] == [
        (3, "node2", 1)
    ]
    assert {(e["rank"], e["host"]) for e in exits if e["consequence"]} == {
        (0, "node1"),
        (1, "node1"),
        (2, "node2"),
    }
    for node in any_place.cluster.nodes:
        assert program not in any_place.cluster.exec(node, ["ps", "-eo", "args"]).stdout


@pytest.mark.parametrize(
    ("how", "signal_name", "code"), [("SEGV", "SIGSEGV", 139), ("KILL", "SIGKILL", 137)]
)
def test_a_rank_that_a_signal_ends_is_named(
    place: Place, how: str, signal_name: str, code: int
) -> None:
    script = f'"if [ \\$RANK = 1 ]; then echo dying; sleep 0.3; kill -{how} \\$\\$; fi; sleep 600"'
    done = place.batch(f"-- {_STEP} {SLURMKIT} exec -- sh -c {script}")
    assert done.returncode != 0
    cause = place.last("attempt_ended")["root_cause"]
    assert (cause["rank"], cause["host"], cause["signal"]) == (1, "node1", signal_name)
    assert cause["reason"] == "dying"


def test_lines_of_any_length_come_out_exactly(any_place: Place) -> None:
    """srun cuts lines at 1,024 bytes; the logs of the ranks have them whole.

    But for what srun has not read yet when a task ends: that it cuts anywhere, hence the pause.
    """
    program = any_place.write(
        "lines.py",
        "import os, random, sys, time\n"
        "rank = os.environ['RANK']\n"
        "chosen = random.Random(int(rank))\n"
        "sizes = [0, 1, 80, 1000, 1023, 1024, 1025, 2047, 2048, 2049, 5000, 70000]\n"
        "lines = [bytes([97 + n % 26]) * chosen.choice(sizes) + b'\\n' for n in range(300)]\n"
        "data = b''.join(lines) + b'\\xff\\r 50%\\n'\n"
        "open(f'{sys.argv[1]}/written-{rank}', 'wb').write(data)\n"
        "while data:\n"
        "    data = data[os.write(1, data[:chosen.choice([1, 700, 1024, 50000])]):]\n"
        "time.sleep(1)\n",
    )
    done = any_place.batch(f"-- {_STEP} {SLURMKIT} exec -- {PYTHON} {program} {any_place.folder}")
    assert done.returncode == 0
    for rank in range(4):
        log = RunDir(any_place.run_dir).element().rank_log_path(1, rank).read_bytes()
        assert log == (any_place.folder / f"written-{rank}").read_bytes()


@pytest.mark.parametrize(("code", "events"), [(0, "completed"), (9, "failed")])
def test_secrets_are_gone_at_the_end(place: Place, code: int, events: str) -> None:
    place.run_dir.mkdir()
    write_secrets(place.run_dir, {"TOKEN": "s3cret-value"})
    script = f"'test \"$TOKEN\" = s3cret-$(echo value) || exit 1; echo ok; exit {code}'"
    done = place.batch(f"-- {_STEP} {SLURMKIT} exec -- sh -c {script}")
    assert "[rank 3] ok" in done.stdout
    assert read_secrets(place.run_dir) is None
    assert place.last("attempt_ended")["state"] == events
    assert place.records()[-1].event == "secrets_removed"
    for path in place.run_dir.rglob("*"):
        if path.is_file():
            assert b"s3cret-value" not in path.read_bytes()


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_cancelled_job_is_concluded_and_its_secrets_go(any_place: Place, stubborn: bool) -> None:
    """Also when the ranks do not heed TERM, so that Slurm kills everything, the supervisor too."""
    any_place.run_dir.mkdir()
    write_secrets(any_place.run_dir, {"TOKEN": "s3cret"})
    trap = "trap : TERM;" if stubborn else ""
    script = f"'{trap} echo up; for i in $(seq 600); do sleep 0.5; done'"
    job_id = any_place.submit(f"-- {_STEP} {SLURMKIT} exec -- sh -c {script}")
    any_place.until_said("[rank 0] up")
    any_place.run("scancel", job_id)
    any_place.until_gone(job_id)
    assert any_place.last("attempt_ended")["state"] == "cancelled"
    assert read_secrets(any_place.run_dir) is None


def test_a_requeued_job_keeps_its_secrets_and_counts_its_attempts(any_place: Place) -> None:
    any_place.run_dir.mkdir()
    write_secrets(any_place.run_dir, {"TOKEN": "s3cret"})
    script = "'trap : TERM; echo up; for i in $(seq 600); do sleep 0.5; done'"
    command = f"-- {_STEP} {SLURMKIT} exec -- sh -c {script}"
    job_id = any_place.submit(command, "--requeue")
    any_place.until_said("[rank 0] up")
    any_place.run("scontrol", "requeue", job_id)
    deadline = time.monotonic() + 30
    while "PENDING" not in any_place.run("squeue", "-h", "-o", "%T", "-j", job_id).stdout:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    any_place.run("scancel", job_id)
    assert any_place.last("attempt_ended")["state"] == "requeued"
    assert read_secrets(any_place.run_dir) == {"TOKEN": "s3cret"}


@pytest.mark.long
def test_a_job_over_its_time_limit_says_so(place: Place) -> None:
    # Slurm looks at time limits once a minute at worst; the shortest limit is a minute.
    place.run_dir.mkdir()
    job_id = place.submit(f"-- {_STEP} {SLURMKIT} exec -- sleep 600", "--time=1")
    place.until_gone(job_id, timeout_s=180)
    assert place.last("attempt_ended")["state"] == "timeout"


def test_usr1_to_the_batch_script_reaches_every_rank(place: Place) -> None:
    program = place.write(
        "waits.py",
        "import os, signal, sys, time\n"
        "def warned(*_):\n"
        "    print('warned', flush=True)\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGUSR1, warned)\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n",
    )
    job_id = place.submit(f"-- {_STEP} {SLURMKIT} exec -- {PYTHON} {program}")
    for rank in range(4):
        place.until_said(f"[rank {rank}] up")
    place.run("scancel", "--batch", "--signal=USR1", job_id)
    place.until_gone(job_id)
    said = (place.folder / "out").read_text()
    assert all(f"[rank {rank}] warned" in said for rank in range(4))
    assert place.last("attempt_ended")["state"] == "completed"
