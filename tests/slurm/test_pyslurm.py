"""The pyslurm backend on the cluster that SLURM_CONF names, where pyslurm and Slurm match."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slurmkit.errors import RefusedError, SlurmUnreachableError
from slurmkit.slurm import Client, JobInfo, JobState, SubmitRequest, SubmitResult, connect
from slurmkit.slurm.cli import CliClient
from slurmkit.slurm.client import new_token
from slurmkit.slurm.pyslurm_backend import PyslurmClient, why_not_usable

pytestmark = pytest.mark.slurm
QUIET = ("--output=/dev/null", "--ntasks=1", "--mem=10")


@pytest.fixture
def client() -> Client:
    if reason := why_not_usable():
        pytest.skip(f"the pyslurm backend is not usable here: {reason}")
    return connect("pyslurm")


def until_done(client: Client, job: int) -> JobInfo:
    deadline = time.monotonic() + 60
    while not (info := client.job(job)).is_done:
        assert time.monotonic() < deadline, info
        time.sleep(0.2)
    return info


def test_auto_picks_pyslurm_where_it_is_usable(client: Client) -> None:
    assert client.name == "pyslurm"
    assert connect("auto").name == "pyslurm"
    assert connect("cli").name == "cli"


def test_pyslurm_says_why_it_is_not_usable() -> None:
    if not (reason := why_not_usable()):
        pytest.skip("the pyslurm backend is usable here")
    with pytest.raises(SlurmUnreachableError) as caught:
        PyslurmClient()
    assert reason in str(caught.value)
    assert "--backend cli" in str(caught.value)


def test_a_job_ends_as_its_script_says(client: Client) -> None:
    for line, state, code in (("exit 0", "COMPLETED", 0), ("exit 131", "FAILED", 131)):
        result = client.submit(SubmitRequest(f"#!/bin/bash\n{line}\n", args=QUIET))
        assert result.backend == "pyslurm"
        info = until_done(client, result.job_id)
        assert (info.state, info.exit_code) == (JobState(state), code)


DIRECTIVES = """#!/bin/bash
#SBATCH --job-name=same
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=3
#SBATCH --mem=1G
#SBATCH --time=00:10:00
#SBATCH --gres=gpu:2
#SBATCH --requeue
#SBATCH --signal=USR2@60
#SBATCH --open-mode=append
"""
UNLIKE = {
    "JobId", "SubmitTime", "EligibleTime", "AccrueTime", "StartTime", "EndTime", "LastSchedEval",
    "SuspendTime", "RunTime", "Comment", "Command", "SubmitLine", "AllocNode:Sid", "StdOut",
    "StdErr", "Priority", "TresPerNode",
}  # fmt: skip


def test_the_job_is_the_one_that_sbatch_would_have_made(client: Client, tmp_path: Path) -> None:
    envs, jobs = [], []
    for one in (client, CliClient()):
        out = tmp_path / f"{one.name}.env"
        request = SubmitRequest(
            f"{DIRECTIVES}env -0 > {out}\n",
            args=("--output=/dev/null",),
            cwd=tmp_path,
            env={"GREETING": "a, 'b' $c\nsecond line"},
        )
        job = one.submit(request).job_id
        shown = subprocess.run(
            ["scontrol", "--oneliner", "show", "job", str(job)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        jobs.append(dict(word.partition("=")[::2] for word in shown.split() if "=" in word))
        until_done(client, job)
        pairs = (entry.partition("=") for entry in out.read_text().split("\0") if entry)
        envs.append({name: value for name, _, value in pairs})
    ours, theirs = jobs
    pending = {"JobState", "Reason", "NodeList", "BatchHost", "NumNodes", "Scheduler"}
    same = ours.keys() & theirs.keys() - UNLIKE - pending
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
    assert envs[0]["GREETING"] == envs[1]["GREETING"] == "a, 'b' $c\nsecond line"
    changing = {"SLURM_JOB_ID", "SLURM_JOBID", "SLURM_TASK_PID", "SLURM_JOB_START_TIME",
                "SLURM_JOB_END_TIME", "PYTEST_CURRENT_TEST", "_"}  # fmt: skip
    for env in envs:
        for name in changing:
            env.pop(name, None)
    assert envs[0] == envs[1]


def test_nothing_of_a_surrounding_job_travels(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SLURM_STEP_ID", "7")
    monkeypatch.setenv("SLURM_CPU_BIND", "quiet,mask_cpu:0x1")
    inner = connect("pyslurm")
    out = tmp_path / "env"
    text = f"#!/bin/bash\nenv > {out}\n"
    request = SubmitRequest(
        text, args=QUIET, env={"HUSH": "hush-hush"}, secret_names=frozenset({"HUSH"})
    )
    until_done(inner, inner.submit(request).job_id)
    names = {line.partition("=")[0] for line in out.read_text().splitlines()}
    assert not names & {"SLURM_STEP_ID", "SLURM_CPU_BIND", "HUSH"}
    assert os.environ["SLURM_STEP_ID"] == "7"


def test_arrays_tokens_and_refusals(client: Client) -> None:
    token = new_token()
    request = SubmitRequest(
        "#!/bin/bash\nsleep 60\n",
        args=(*QUIET, "--array=0-3", "--hold"),
        token=token,
        comment="mine, too",
        again=True,
    )
    first = client.submit(request)
    again = client.submit(request)
    assert (again.job_id, again.recovered) == (first.job_id, True)
    assert [key.task for key in client.jobs([first.job_id])] == [0, 1, 2, 3]
    assert client.job(first.job_id).comment == f"slurmkit:{token} mine, too"
    client.cancel([first.job_id])
    with pytest.raises(RefusedError, match=r"(?i)partition"):
        client.submit(SubmitRequest("#!/bin/bash\n", args=("--partition=nope",)))


def test_what_pyslurm_cannot_say_goes_through_sbatch(client: Client) -> None:
    text = "#!/bin/bash\n#SBATCH --mem=10\n#SBATCH hetjob\n#SBATCH --mem=10\nsleep 60\n"
    result = client.submit(SubmitRequest(text, args=("--output=/dev/null",)))
    assert len(client.jobs([result.job_id])) == 2
    client.cancel([result.job_id])


def test_many_jobs_at_once(client: Client) -> None:
    requests = [
        SubmitRequest("#!/bin/bash\nsleep 60\n", args=(*QUIET, "--hold")) for _ in range(200)
    ]
    started = time.monotonic()
    outcomes = client.submit_many(requests)
    took_s = time.monotonic() - started
    ids = [outcome.job_id for outcome in outcomes if isinstance(outcome, SubmitResult)]
    assert len(set(ids)) == 200
    client.cancel(ids)
    print(f"200 jobs in {took_s:.3f} s, {200 / took_s:.0f} jobs/s", file=sys.stderr)
