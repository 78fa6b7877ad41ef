"""The client against real clusters: what it says, and that it submits once whatever breaks."""

import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from slurmkit.errors import RefusedError, SlurmkitError, SlurmUnreachableError
from slurmkit.sandbox import Sandbox
from slurmkit.slurm import JobInfo, JobKey, JobState, SubmitRequest, SubmitResult, connect
from slurmkit.slurm.cli import CliClient
from slurmkit.slurm.client import new_token

pytestmark = pytest.mark.slurm
QUIET = ("--output=/dev/null", "--ntasks=1", "--mem=10")


@dataclass(frozen=True)
class Lab:
    """A cluster and clients of it that live in this process but whose programs run on ``login``."""

    cluster: Sandbox

    @property
    def prefix(self) -> tuple[str, ...]:
        pid = (self.cluster.layout.host_dir("login") / "pid").read_text().strip()
        return ("nsenter", f"--target={pid}", "--net", "--uts", "--ipc", "--mount")

    def client(
        self, *wrapper: str, timeout_s: float = 30.0, submit_timeout_s: float = 60.0
    ) -> CliClient:
        conf = str(self.cluster.layout.slurm_conf_path)
        return CliClient(
            {**os.environ, "SLURM_CONF": conf},
            prefix=(*wrapper, *self.prefix),
            timeout_s=timeout_s,
            submit_timeout_s=submit_timeout_s,
        )


@pytest.fixture
def lab(any_cluster: Sandbox) -> Lab:
    return Lab(any_cluster)


def script(*lines: str) -> str:
    return "\n".join(["#!/bin/bash", *lines, ""])


def until(client: CliClient, job: int | JobKey, is_so: Callable[[JobInfo], bool]) -> JobInfo:
    deadline = time.monotonic() + 60
    while True:
        info = client.job(job)
        if is_so(info):
            return info
        assert time.monotonic() < deadline, info
        time.sleep(0.2)


def done(info: JobInfo) -> bool:
    return info.is_done


def test_limits_describe_the_cluster(lab: Lab) -> None:
    limits = lab.client().limits()
    partition = limits.default_partition()
    assert partition is not None
    assert sorted(sum((shape.hosts for shape in partition.nodes), ())) == sorted(lab.cluster.nodes)
    gpu_type = lab.cluster.layout.size.gpu_type
    for shape in partition.nodes:
        assert (shape.cpus, shape.gpus, shape.gpu_type) == (64, 8, gpu_type)
        assert shape.usable
    assert limits.version == lab.client().version()
    assert lab.cluster.slurm_version.startswith(f"{limits.version[0]}.{limits.version[1]:02d}")
    assert not limits.accounting
    assert limits.qos is None
    assert "pmi2" in limits.mpi_plugins


def test_a_job_that_succeeds_fails_or_dies_is_told_so(lab: Lab) -> None:
    client = lab.client()
    endings = {
        "exit 0": (JobState.COMPLETED, 0, None),
        "exit 3": (JobState.FAILED, 3, None),
        "kill -SEGV $$": (JobState.FAILED, 0, signal.SIGSEGV),
    }
    for line, expected in endings.items():
        result = client.submit(
            SubmitRequest(script(line), args=(*QUIET, "--job-name=a b"), comment="mine, all mine")
        )
        info = until(client, result.job_id, done)
        assert (info.state, info.exit_code, info.signal) == expected
        assert info.name == "a b"
        assert info.comment == f"slurmkit:{result.token} mine, all mine"
        assert info.source == "slurmctld"
        assert info.nodes in lab.cluster.nodes


def test_a_script_file_and_a_folder(lab: Lab) -> None:
    client = lab.client()
    folder = lab.cluster.shared_dir / f"folder with spaces {new_token()}"
    folder.mkdir()
    path = folder / "job.sbatch"
    path.write_text(script("#SBATCH --output=out.txt", 'echo "$PWD" "$GREETING" "${HUSH:-none}"'))
    request = SubmitRequest(
        path,
        args=(f"--chdir={folder}",),
        env={"GREETING": "a, 'b' $c", "HUSH": "secret"},
        secret_names=frozenset({"HUSH"}),
    )
    until(client, client.submit(request).job_id, done)
    assert (folder / "out.txt").read_text() == f"{folder} a, 'b' $c none\n"


def test_array_tasks_are_known_one_by_one(lab: Lab) -> None:
    client = lab.client()
    array = client.submit(
        SubmitRequest(script("sleep 600"), args=(*QUIET, "--array=1-999:2%2"))
    ).job_id
    tasks = client.jobs([array])
    assert list(tasks) == [JobKey(array, task) for task in range(1, 1000, 2)]
    until(client, JobKey(array, 1), lambda info: info.state is JobState.RUNNING)
    assert client.job(JobKey(array, 999)).state is JobState.PENDING
    running = client.job(JobKey(array, 1))
    assert client.jobs([running.job_id]) in (
        {JobKey(running.job_id): running},
        tasks | client.jobs([array]),  # one task has the array's own number
    )
    client.cancel([JobKey(array, 1)])
    until(client, JobKey(array, 1), done)
    assert client.job(JobKey(array, 999)).state is JobState.PENDING
    client.cancel([array])
    until(client, JobKey(array, 999), done)


def test_a_het_job_is_found_by_its_leader(lab: Lab) -> None:
    client = lab.client()
    lines = ["#SBATCH --mem=10", "#SBATCH hetjob", "#SBATCH --mem=10", "sleep 600"]
    result = client.submit(SubmitRequest(script(*lines), args=("--output=/dev/null",)))
    parts = client.jobs([result.job_id])
    assert [info.het_offset for info in parts.values()] == [0, 1]
    assert {info.submission_id for info in parts.values()} == {result.job_id}
    found = client.find_by_token(result.token)
    assert found is not None
    assert found.submission_id == result.job_id
    client.cancel([result.job_id])
    for key in parts:
        until(client, key, done)


def test_a_requeued_job_keeps_its_number(lab: Lab) -> None:
    client = lab.client()
    args = (*QUIET, "--requeue")
    job = client.submit(SubmitRequest(script("sleep 600"), args=args)).job_id
    until(client, job, lambda info: info.state is JobState.RUNNING)
    lab.cluster.exec("login", ["scontrol", "requeue", str(job)], check=True)
    info = until(client, job, lambda info: info.restart_count == 1)
    assert not info.is_done
    client.cancel([job])
    until(client, job, done)


def test_jobs_that_slurm_does_not_know_are_unknown(lab: Lab) -> None:
    client = lab.client()
    known = client.submit(SubmitRequest(script("true"), args=QUIET)).job_id
    found = client.jobs([known, 987654, "987655_3"])
    assert list(found) == [JobKey(known), JobKey(987654), JobKey(987655, 3)]
    assert found[JobKey(987654)].is_unknown
    assert found[JobKey(987655, 3)].key == JobKey(987655, 3)
    assert client.job_exists(known)
    assert not client.job_exists(987654)
    assert client.jobs([]) == {}
    assert client.find_by_token("never used") is None
    client.cancel([987654])


def test_jobs_of_a_user(lab: Lab) -> None:
    client = lab.client()
    job = client.submit(SubmitRequest(script("true"), args=QUIET)).job_id
    assert JobKey(job) in client.jobs()
    assert JobKey(job) in client.jobs(user="root")
    assert client.jobs(user="daemon") == {}


def test_a_signal_reaches_the_steps(lab: Lab) -> None:
    client = lab.client()
    mark = lab.cluster.shared_dir / new_token()
    step = (
        f"trap 'echo usr1 > {mark}; exit 0' USR1; touch {mark}.ready; while :; do sleep 0.1; done"
    )
    lines = script(f"srun --ntasks=1 bash -c {shlex.quote(step)}")
    job = client.submit(SubmitRequest(lines, args=QUIET)).job_id
    deadline = time.monotonic() + 30
    while not Path(f"{mark}.ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    client.cancel([job], signal="USR1")
    assert until(client, job, done).state is JobState.COMPLETED
    assert mark.read_text() == "usr1\n"


def test_what_slurm_refuses_is_said_in_its_words(lab: Lab) -> None:
    env = {"HUSH": "hush-hush"}
    with pytest.raises(RefusedError, match=r"(?i)invalid partition") as caught:
        lab.client().submit(SubmitRequest(script("true"), args=("--partition=nope",), env=env))
    assert "hush-hush" not in str(caught.value)


def test_one_bad_job_among_many_spoils_none(lab: Lab) -> None:
    client = lab.client()
    good = [SubmitRequest(script("sleep 600"), args=(*QUIET, "--hold")) for _ in range(199)]
    bad = SubmitRequest(script("true"), args=("--partition=nope",))
    outcomes = client.submit_many([*good[:100], bad, *good[100:]])
    assert isinstance(outcomes.pop(100), RefusedError)
    ids = [outcome.job_id for outcome in outcomes if isinstance(outcome, SubmitResult)]
    assert len(set(ids)) == 199
    assert client.submit_many([]) == []
    client.cancel(ids)
    assert all(info.is_done for info in client.jobs(ids).values())


def counting(log: Path) -> tuple[str, ...]:
    """Wrap each program so that its start is counted in a file."""
    return ("sh", "-c", f'echo started >> {shlex.quote(str(log))}; exec "$@"', "sh")


def test_polling_a_thousand_jobs_is_one_call(lab: Lab, tmp_path: Path) -> None:
    client = lab.client()
    array = SubmitRequest(script("true"), args=(*QUIET, "--hold", "--array=0-899"))
    singles = [SubmitRequest(script("true"), args=(*QUIET, "--hold")) for _ in range(100)]
    outcomes = client.submit_many([array, *singles])
    ids = [outcome.job_id for outcome in outcomes if isinstance(outcome, SubmitResult)]
    log = tmp_path / "starts"
    found = lab.client(*counting(log)).jobs(
        [JobKey(ids[0], task) for task in range(900)] + [JobKey(job) for job in ids[1:]]
    )
    assert len(found) == 1000
    assert {info.state for info in found.values()} == {JobState.PENDING}
    assert log.read_text().count("started") == 1
    client.cancel(ids)


def breaking(program: str, how: str) -> tuple[str, ...]:
    """Wrap one program so that the real one runs to its end, and its answer is lost."""
    return (
        "sh",
        "-c",
        f'for word; do [ "$word" = {program} ] && {{ "$@" >/dev/null 2>&1; {how}; }}; done\n'
        'exec "$@"',
        "sh",
    )


def jobs_with(client: CliClient, token: str) -> list[JobInfo]:
    return [job for job in client.jobs().values() if token in job.comment]


@pytest.mark.parametrize("how", ["kill -9 $$", "exec sleep 600", "exit 0"])
def test_a_lost_answer_is_found_again(lab: Lab, how: str) -> None:
    request = SubmitRequest(script("sleep 600"), args=(*QUIET, "--hold"))
    client = lab.client(*breaking("sbatch", how), submit_timeout_s=3)
    result = client.submit(request)
    assert result.recovered
    assert [job.job_id for job in jobs_with(client, request.token)] == [result.job_id]
    client.cancel([result.job_id])


def test_the_same_request_again_is_the_same_job(lab: Lab) -> None:
    client = lab.client()
    request = SubmitRequest(script("true"), args=(*QUIET, "--array=0-3"), again=True)
    first = client.submit(request)
    assert not first.recovered
    second = client.submit(request)
    assert (second.job_id, second.recovered) == (first.job_id, True)


def test_a_job_that_ended_meanwhile_is_found_again(lab: Lab) -> None:
    client = lab.client(*breaking("sbatch", "sleep 4; kill -9 $$"))
    result = client.submit(SubmitRequest(script("exit 5"), args=QUIET))
    assert result.recovered
    assert client.job(result.job_id).exit_code == 5


@pytest.mark.parametrize("frozen_s", [4, 9])
def test_a_frozen_controller_takes_a_job_once(lab: Lab, frozen_s: int) -> None:
    """The request waits unread in the controller's socket while its sender is long gone."""
    client = lab.client(timeout_s=3, submit_timeout_s=2)
    request = SubmitRequest(script("sleep 600"), args=(*QUIET, "--hold"))
    results: list[SubmitResult | SlurmkitError] = []
    lab.cluster.freeze("ctl")
    thread = threading.Thread(target=lambda: results.extend(client.submit_many([request])))
    try:
        thread.start()
        time.sleep(frozen_s)
    finally:
        lab.cluster.heal("ctl")
    thread.join(60)
    (result,) = results
    assert isinstance(result, SubmitResult), result
    time.sleep(3)
    assert [job.job_id for job in jobs_with(client, request.token)] == [result.job_id]
    client.cancel([result.job_id])


def test_a_controller_that_stays_away_is_said_to(lab: Lab) -> None:
    client = lab.client(timeout_s=2, submit_timeout_s=2)
    lab.cluster.freeze("ctl")
    try:
        started = time.monotonic()
        with pytest.raises(SlurmUnreachableError, match="did not answer within 2 s"):
            client.jobs()
        with pytest.raises(SlurmUnreachableError, match="did not answer within 2 s"):
            client.limits()
        assert time.monotonic() - started < 10
    finally:
        lab.cluster.heal("ctl")


INNER = """
import subprocess, sys
from slurmkit.slurm import SubmitRequest, connect
out = sys.argv[1]
args = ["--output=/dev/null", "--ntasks=2", "--mem=10"]
text = "#!/bin/bash\\nenv > {}\\n"
result = connect().submit(SubmitRequest(text.format(out), args=args))
plain = subprocess.run(["sbatch", "--parsable", *args], input=text.format(out + ".plain"),
                       capture_output=True, text=True, check=True)
print(result.job_id, plain.stdout)
"""


def job_variables(path: Path) -> dict[str, str]:
    env = dict(line.partition("=")[::2] for line in path.read_text().splitlines() if "=" in line)
    return {name: value for name, value in env.items() if re.match("SLURM|SRUN|PMI|RANK", name)}


def test_a_job_submitted_inside_a_job_inherits_nothing_of_it(lab: Lab) -> None:
    """The outer step's binding, rank and step variables stay out of the inner job."""
    out = lab.cluster.shared_dir / new_token()
    program = lab.cluster.shared_dir / f"{out.name}.py"
    program.write_text(INNER)
    argv = ["srun", "--ntasks=1", "--cpus-per-task=3", "--mem=10", "--cpu-bind=cores"]
    launched = lab.cluster.exec(
        "login", [*argv, sys.executable, str(program), str(out)], env={"RANK": "7"}, timeout=60
    )
    assert launched.returncode == 0, launched.stderr
    client = lab.client()
    inner, plain = (int(word) for word in launched.stdout.split())
    text = script(f"env > {out}.outside")
    args = ("--output=/dev/null", "--ntasks=2", "--mem=10")
    outside = client.submit(SubmitRequest(text, args=args)).job_id
    for job in (inner, plain, outside):
        assert until(client, job, done).state is JobState.COMPLETED
    env = job_variables(out)
    assert env["SLURM_JOB_ID"] == str(inner)
    assert env["SLURM_NTASKS"] == "2"
    expected = job_variables(Path(f"{out}.outside"))
    assert env.keys() == expected.keys()
    assert env.get("SLURM_CPUS_PER_TASK") == expected.get("SLURM_CPUS_PER_TASK")
    # The same without the scrub, so that this test is known to look at the right thing.
    leftovers = job_variables(Path(f"{out}.plain")).keys() - expected.keys()
    assert leftovers >= {"SLURM_CPU_BIND", "RANK"}, leftovers


def test_connect_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "absent.conf"))
    started = time.monotonic()
    with pytest.raises(SlurmUnreachableError, match=r"absent\.conf, which is no file"):
        connect("cli")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        SlurmUnreachableError, match="no Slurm here: sbatch is not on PATH"
    ) as caught:
        connect("cli")
    assert "slurmkit sandbox up" in str(caught.value)
    assert time.monotonic() - started < 20  # not the minute that Slurm would take
