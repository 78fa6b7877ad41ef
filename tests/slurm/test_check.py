"""`slurmkit check` against a real cluster: mistakes that sbatch refuses, and those that it takes.

All of the mistakes beside this file are checked in one go on the login host, and the script of each
is given to sbatch, too.
"""

import json
import runpy
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from slurmkit.sandbox import Sandbox

pytestmark = pytest.mark.slurm
BIN = Path(sys.executable).parent
_TABLE = runpy.run_path(str(Path(__file__).with_name("mistakes.py")))
MISTAKES, TAKES, DEPENDS = (_TABLE[name] for name in ("MISTAKES", "TAKES", "DEPENDS"))

# Checks every job.yaml in a folder with one look at the cluster, and gives its script to sbatch.
CHECK_ALL = """
import json, pathlib, subprocess, sys
from slurmkit.api.dependencies import find_dependencies
from slurmkit.api.preparing import load, prepare
from slurmkit.check import check_job, gather_facts
from slurmkit.site.defaults import found_on
from slurmkit.slurm import connect

folder = pathlib.Path(sys.argv[1])
client = connect()
limits = client.limits()
found = found_on(limits)
results = {}
for path in sorted(folder.glob("*.yaml")):
    job = load(path)
    depends = find_dependencies(job, folder / "runs", client)
    plan = prepare(job, site=found, limits=limits, dependencies=depends.still_open())
    facts = gather_facts(job, plan.plan, folder / "runs", known_jobs=depends.states)
    problems = check_job(job, plan.plan, found.site, limits, facts, plan.script)
    sbatch = subprocess.run(
        ["sbatch", "--parsable"], input=plan.script, text=True, capture_output=True,
    )
    if sbatch.returncode == 0:
        subprocess.run(["scancel", sbatch.stdout.strip().partition(";")[0]])
    results[path.stem] = {
        "problems": [
            {"code": p.code, "line": p.where.line if p.where else 0, "warning": p.warning,
             "text": str(p), "hint": p.hint}
            for p in problems
        ],
        "sbatch": sbatch.returncode,
        "said": sbatch.stderr.strip(),
    }
print(json.dumps(results))
"""

# The interpreter may be one that nobody but root can start: all that is imported is imported first.
CHECK_AS_NOBODY = """
import os, pathlib, pwd, sys
from slurmkit.api.preparing import load, prepare
from slurmkit.check import check_job, gather_facts
from slurmkit.slurm import connect

job, root = load(sys.argv[1]), pathlib.Path(sys.argv[2])

def look():
    limits = connect().limits()
    plan = prepare(job, limits=limits)
    facts = gather_facts(job, plan.plan, root)
    return check_job(job, plan.plan, plan.found.site, limits, facts, plan.script)

look()
nobody = pwd.getpwnam("nobody")
import encodings.unicode_escape
os.setgroups([])
os.setgid(nobody.pw_gid)
os.setuid(nobody.pw_uid)
print(*look(), sep="\\n")
"""


def scontrol(cluster: Sandbox, *words: str) -> None:
    cluster.exec("ctl", ["scontrol", *words], check=True)


@pytest.fixture(scope="module")
def furnished(any_cluster: Sandbox) -> Iterator[Sandbox]:
    """A cluster with what a site has besides: limits, doors, reservations."""
    partitions = {
        "drained": "Nodes=node[1-4] State=DRAIN",
        "small": "Nodes=node[1-2] MaxNodes=1 MaxMemPerNode=102400 MaxCPUsPerNode=32 MaxTime=60",
        "large": "Nodes=node[1-4] MinNodes=2",
        "paid": "Nodes=node[1-4] AllowAccounts=physics",
        "private": "Nodes=node[1-4] AllowGroups=staff",
    }
    cluster = any_cluster
    # Not before tomorrow: nodes of a reservation that has begun are lost to all other jobs.
    when = ("StartTime=now+1days", "Duration=120")
    reservations = {
        "theirs": ("Users=daemon", "Nodes=node4"),
        "ours": ("Users=root", "Nodes=node3"),
    }
    for name, settings in partitions.items():
        scontrol(cluster, "create", f"PartitionName={name}", *settings.split())
    for name, settings in reservations.items():
        scontrol(cluster, "create", "reservation", f"ReservationName={name}", *when, *settings)
    try:
        yield cluster
    finally:
        for name in reservations:
            scontrol(cluster, "delete", f"ReservationName={name}")
        for name in partitions:
            scontrol(cluster, "delete", f"PartitionName={name}")


def python(cluster: Sandbox, folder: Path, code: str, *arguments: str) -> "CompletedProcess[str]":
    return cluster.exec(
        "login", [sys.executable, "-c", code, *arguments], cwd=folder, env=environ(), timeout=120
    )


def slurmkit(cluster: Sandbox, folder: Path, *arguments: str) -> "CompletedProcess[str]":
    env = {**environ(), "SLURMKIT_RUN_ROOT": str(folder / "runs")}
    argv = [str(BIN / "slurmkit"), *arguments]
    return cluster.exec("login", argv, cwd=folder, env=env, timeout=120)


def environ() -> dict[str, str]:
    return {"PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}


def complete(name: str, job: str) -> str:
    command = "" if "launch:" in job else "launch: {command: [hostname]}\n"
    return f"{job}name: {name}\n{command}"


@pytest.fixture(scope="module")
def failed_job(furnished: Sandbox) -> str:
    """The id of a job that has ended as FAILED."""
    argv = ["sbatch", "--parsable", "--wait", "--output=/dev/null", "--wrap=exit 3"]
    return furnished.exec("login", argv, cwd=furnished.shared_dir).stdout.strip()


@pytest.fixture(scope="module")
def verdicts(furnished: Sandbox, failed_job: str) -> Any:
    """What check and sbatch say about every mistake."""
    folder = furnished.shared_dir / "mistakes"
    folder.mkdir()
    (folder / "notes.txt").write_text("no program\n", encoding="utf-8")
    (folder / "notes.txt").chmod(0o644)
    (folder / "open-token").write_text("x\n", encoding="utf-8")
    (folder / "open-token").chmod(0o644)
    for name, mistake in MISTAKES.items():
        text = complete(name, mistake.job.replace("FAILED_JOB", failed_job))
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    done = python(furnished, folder, CHECK_ALL, str(folder))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_found_before_sbatch(verdicts: Any, name: str) -> None:
    mistake, verdict = MISTAKES[name], verdicts[name]
    lines = mistake.job.splitlines()
    line = next(number for number, text in enumerate(lines, 1) if text.endswith("#!"))
    mine = [problem for problem in verdict["problems"] if problem["code"] == mistake.code]
    assert len(mine) == 1, verdict["problems"]
    assert (mine[0]["line"], mine[0]["warning"]) == (line, mistake.warning)
    assert f"{name}.yaml:{line}:" in mine[0]["text"]
    assert mine[0]["hint"]
    others = [p for p in verdict["problems"] if p not in mine and not p["warning"]]
    assert others == [], "a mistake is named once"
    if mistake.sbatch != DEPENDS:
        assert (verdict["sbatch"] == 0) == (mistake.sbatch == TAKES), verdict["said"]


def test_there_are_many_kinds(verdicts: Any) -> None:
    assert len({mistake.code for mistake in MISTAKES.values()}) >= 35
    taken = {m.code for n, m in MISTAKES.items() if verdicts[n]["sbatch"] == 0}
    assert len(taken) >= 20, "mistakes that sbatch takes without a word"


def test_check_prints_place_limit_and_what_to_do(furnished: Sandbox) -> None:
    folder = furnished.shared_dir / "printed"
    folder.mkdir()
    (folder / "job.yaml").write_text(
        "name: train\n"
        "resources:\n"
        "  partition: debgu\n"
        "  nodes: 2\n"
        "launch:\n"
        "  command: [python3, trian.py]\n",
        encoding="utf-8",
    )
    (folder / "train.py").write_text("print('hello')\n", encoding="utf-8")
    done = slurmkit(furnished, folder, "check", "job.yaml")
    assert done.returncode == 2
    assert done.stderr == (
        "error: job.yaml:3:14: resources.partition: the cluster has no partition 'debgu'\n"
        "    Did you mean 'debug'? Partitions here: closed, debug, drained, large, long, paid, "
        "private, small.\n"
        f"error: job.yaml:6:22: launch.command.1: there is no file {folder}/trian.py for python3 "
        "to run\n"
        "    Did you mean 'train.py'?\n"
    )
    printed = json.loads(slurmkit(furnished, folder, "check", "job.yaml", "--json").stdout)
    assert printed["ok"] is False
    assert [problem["code"] for problem in printed["problems"]] == [
        "partition-unknown",
        "script-file-missing",
    ]
    offline = slurmkit(furnished, folder, "check", "--offline", "job.yaml")
    assert "debgu" not in offline.stderr
    assert "trian.py" in offline.stderr


def test_submit_submits_nothing_when_something_is_wrong(furnished: Sandbox) -> None:
    folder = furnished.shared_dir / "refused"
    folder.mkdir()
    for name, text in {
        "good.yaml": "name: good\nresources: {time: 5m}\nlaunch: {command: [hostname]}\n",
        "bad.yaml": "name: bad\nresources: {nodes: 5, time: 5m}\nlaunch: {command: [hostname]}\n",
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    done = slurmkit(furnished, folder, "submit", "good.yaml", "bad.yaml")
    assert done.returncode == 2
    assert "bad.yaml:2:20: resources.nodes: 5 nodes are wanted" in done.stderr
    queue = furnished.exec("login", ["squeue", "--noheader", "--format=%j", "--states=all"]).stdout
    assert not {"good", "bad"} & set(queue.split())
    assert not (folder / "runs").exists()


def test_a_template_of_ones_own_is_read_for_late_directives(furnished: Sandbox) -> None:
    folder = furnished.shared_dir / "template"
    (folder / "templates" / "sbatch").mkdir(parents=True)
    (folder / "job.yaml").write_text(
        "name: late\nresources: {time: 5m}\nlaunch: {command: [hostname]}\n", encoding="utf-8"
    )
    (folder / "templates" / "sbatch" / "command.sbatch.j2").write_text(
        '{% extends "shipped/sbatch/command.sbatch.j2" %}\n'
        "{% block prepare %}\n"
        "#SBATCH --mem={{ 64 }}G\n"
        "{% endblock %}\n",
        encoding="utf-8",
    )
    done = slurmkit(furnished, folder, "check", "job.yaml")
    assert done.returncode == 2
    assert f"{folder}/templates/sbatch/command.sbatch.j2:3:1: '#SBATCH --mem=64G' stands " in (
        done.stderr
    )


def test_what_another_user_may_not_do(furnished: Sandbox) -> None:
    closed = [path for path in Path(__file__).resolve().parents if not path.stat().st_mode & 0o001]
    if closed:
        pytest.skip(f"{closed[-1]} is closed to other users, so they cannot run this checkout")
    folder = furnished.shared_dir / "other-user"
    folder.mkdir(mode=0o755)
    (folder / "job.yaml").write_text(
        "name: theirs\n"
        "resources:\n"
        "  partition: private\n"
        "  reservation: theirs\n"
        "  time: 5m\n"
        "launch: {command: [hostname]}\n",
        encoding="utf-8",
    )
    done = python(furnished, folder, CHECK_AS_NOBODY, "job.yaml", str(folder / "runs"))
    assert done.returncode == 0, done.stderr
    assert "job.yaml:3:14: resources.partition: partition 'private' is for the groups staff; " in (
        done.stdout
    )
    assert (
        "job.yaml:4:16: resources.reservation: reservation 'theirs' is for the users daemon; "
        in (done.stdout)
    )
    assert f"the run root {folder}/runs cannot be written" in done.stdout


def test_a_drained_node_is_a_warning_and_the_job_waits_for_it(furnished: Sandbox) -> None:
    folder = furnished.shared_dir / "waits"
    folder.mkdir()
    (folder / "job.yaml").write_text(
        "name: waits\nresources: {nodes: 4, time: 5m}\nlaunch: {command: [hostname]}\n",
        encoding="utf-8",
    )
    scontrol(furnished, "update", "NodeName=node4", "State=DRAIN", "Reason=fan broken")
    try:
        done = slurmkit(furnished, folder, "check", "job.yaml")
    finally:
        scontrol(furnished, "update", "NodeName=node4", "State=UNDRAIN")
    assert done.returncode == 0
    assert "only 3 of the 4 nodes of partition 'debug' that fit are up" in done.stderr
    assert "waits for node4 (fan broken" in done.stderr
    deadline = time.monotonic() + 30  # Slurm asks the node for a sign of life first
    while slurmkit(furnished, folder, "check", "job.yaml").stderr:
        assert time.monotonic() < deadline, "the warning outlives its reason"


VALID = {
    "plain": "resources: {time: 5m}\n",
    "all-nodes": "resources: {nodes: 4, tasks_per_node: 2, time: 5m}\n",
    "whole-node": "resources: {tasks_per_node: 64, memory: 0, time: 5m}\n",
    "largest": "resources: {cpus_per_task: 64, memory: 512G, gpus_per_node: 8, time: 5m,"
    " tasks_per_node: 1}\n",
    "typed-gpus": "resources: {gpus_per_node: 'h100:2', nodes: 2, time: 5m}\n",
    "features": "resources: {constraint: 'gpu&rack2', nodes: 2, time: 5m}\n",
    "either": "resources: {constraint: 'rack1|rack2', time: 5m}\n",
    "one-rack": "resources: {constraint: '[rack1|rack2]', nodes: 2, time: 5m}\n",
    "counted": "resources: {constraint: '[rack1*2&rack2*1]', nodes: 3, time: 5m}\n",
    "hosts": "resources: {nodelist: [node2], exclude: 'node[3-4]', nodes: 2, time: 5m}\n",
    "licences": "resources: {licenses: 'matlab:2', time: 5m}\n",
    "several-partitions": "resources: {partition: 'small,debug', nodes: 3, time: 5m}\n",
    "longest": "resources: {partition: long, time: 7-00:00:00}\n",
    "per-cpu": "resources: {tasks_per_node: 8, cpus_per_task: 8, memory: 8G/cpu, time: 5m}\n",
    "array": "resources: {time: 5m}\narray: 998-1000\n",
    "sweep": "resources: {time: 5m}\nlaunch: {command: [echo, '{sweep.x}']}\nsweep: {x: [1, 2]}\n",
    "odd-values": "resources: {time: 5m}\nenv: {A: 'a,b c', B: '#x', C: 'é\"'}\n",
    "setup": "resources: {time: 5m}\nsoftware: {setup: ['for i in 1 2; do', '  :', 'done']}\n",
    "workdir": "resources: {time: 5m}\nlaunch: {command: [./run.sh], workdir: deep/er}\n",
    "script": "resources: {time: 5m}\nlaunch: {kind: torch, command: [python3, -u, hello.py]}\n",
}


def test_a_job_in_a_reservation_that_has_begun(furnished: Sandbox) -> None:
    folder = furnished.shared_dir / "reserved"
    folder.mkdir()
    job = complete("reserved", "resources: {reservation: begun, time: %s}\n")
    (folder / "job.yaml").write_text(job % "5m", encoding="utf-8")
    (folder / "long.yaml").write_text(job % "50m", encoding="utf-8")
    scontrol(
        furnished, "create", "reservation", "ReservationName=begun", "StartTime=now",
        "Duration=40", "Users=root", "Nodes=node2",
    )  # fmt: skip
    try:
        soon = slurmkit(furnished, folder, "check", "long.yaml")
        done = slurmkit(furnished, folder, "submit", "job.yaml", "--wait")
    finally:
        scontrol(furnished, "delete", "ReservationName=begun")
    assert soon.returncode == 2
    assert "the job asks for 50 minutes; reservation 'begun' lasts 40 minutes in all" in soon.stderr
    assert (done.returncode, "warning" in done.stderr) == (0, False), done.stderr


def test_jobs_that_run_raise_no_alarm(furnished: Sandbox) -> None:
    """Every valid job passes without a word, and then really runs to a good end."""
    folder = furnished.shared_dir / "valid"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "run.sh").write_text("#!/bin/sh\npwd\n", encoding="utf-8")
    (folder / "deep" / "er" / "run.sh").chmod(0o755)
    (folder / "hello.py").write_text("import os\nprint(os.environ['RANK'])\n", encoding="utf-8")
    for name, job in VALID.items():
        (folder / f"{name}.yaml").write_text(complete(f"ok-{name}", job), encoding="utf-8")
    files = [f"{name}.yaml" for name in VALID]
    done = slurmkit(furnished, folder, "submit", *files, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    wanted = {f"ok-{name}" for name in VALID}
    assert {run["name"] for run in json.loads(done.stdout)} == wanted
    deadline = time.monotonic() + 90
    while (jobs := states(furnished)) and time.monotonic() < deadline:
        if all(state == "COMPLETED" for name, state, _ in jobs if name in wanted):
            break
        time.sleep(0.5)
    mine = [job for job in jobs if job[0] in wanted]
    assert {name for name, _, _ in mine} == wanted
    assert {state for _, state, _ in mine} == {"COMPLETED"}, mine


def states(cluster: Sandbox) -> list[tuple[str, str, str]]:
    """Return name, state and reason of every job and array task that Slurm remembers."""
    argv = ["squeue", "--noheader", "--array", "--states=all", "--format=%j|%T|%r"]
    lines = cluster.exec("login", argv, check=True).stdout.splitlines()
    return [(name, state, reason) for name, state, reason in (line.split("|") for line in lines)]
