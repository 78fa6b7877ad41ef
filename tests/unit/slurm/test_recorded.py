"""Three releases' own words, recorded from real clusters, mean the same."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from slurmkit.limits import Limits
from slurmkit.slurm import records
from slurmkit.slurm.cluster import Answers, read_limits
from slurmkit.slurm.states import JobInfo, JobKey, JobState

RECORDED_DIR = Path(__file__).parents[2] / "fixtures" / "slurm-json"
RELEASES = sorted(path.name for path in RECORDED_DIR.iterdir() if path.is_dir())


def rows(release: str, name: str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = json.loads(
        (RECORDED_DIR / release / f"{name}.json").read_text()
    )["jobs"]
    return found


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def by_name(release: str) -> dict[str, list[JobInfo]]:
    jobs: dict[str, list[JobInfo]] = {}
    for row in rows(release, "squeue"):
        job = records.from_squeue(row)
        jobs.setdefault(job.name, []).append(job)
    return jobs


def test_three_releases_are_recorded() -> None:
    assert RELEASES == ["22.05", "24.11", "26.05"]


@pytest.mark.parametrize(
    ("name", "state", "exit_code", "signal"),
    [
        ("ok", "COMPLETED", 0, None),
        ("fails", "FAILED", 3, None),
        ("segv", "FAILED", 0, 11),
        ("timeout", "TIMEOUT", 0, 15),
        ("cancelled", "CANCELLED", 0, 15),
        ("nevercame", "CANCELLED", 0, None),
        ("later", "PENDING", None, None),
        ("held", "PENDING", None, None),
        ("depends", "PENDING", None, None),
        ("big", "PENDING", None, None),
        ("stopped", "SUSPENDED", None, None),
        ("requeued", "RUNNING", None, None),
    ],
)
def test_states_and_exit_codes(
    by_name: dict[str, list[JobInfo]],
    name: str,
    state: str,
    exit_code: int | None,
    signal: int | None,
) -> None:
    (job,) = by_name[name]
    assert job.state is JobState(state)
    assert (job.exit_code, job.signal) == (exit_code, signal)
    assert job.is_done == (state not in ("PENDING", "RUNNING", "SUSPENDED"))


def test_a_completing_job_is_not_done(by_name: dict[str, list[JobInfo]]) -> None:
    (job,) = by_name["completing"]
    assert job.state is JobState.COMPLETING
    assert not job.is_done


def test_reasons_times_places_and_comments(by_name: dict[str, list[JobInfo]]) -> None:
    (ok,), (later,), (requeued,) = by_name["ok"], by_name["later"], by_name["requeued"]
    assert ok.comment == "slurmkit:tok1 words of mine"
    assert (ok.user, ok.partition, ok.nodes, ok.num_nodes) == ("root", "main", "node0", 1)
    assert ok.reason == ""
    assert ok.time_limit_s == 1800
    assert ok.submit_time is not None
    assert ok.start_time is not None
    assert ok.end_time is not None
    assert ok.submit_time <= ok.start_time <= ok.end_time
    assert later.reason == "BeginTime"
    assert later.nodes == ""
    assert requeued.restart_count == 1


def test_array_tasks_are_listed_one_by_one(by_name: dict[str, list[JobInfo]]) -> None:
    (wide,) = records.listed(by_name["wide"])[:1]
    listed = records.listed(by_name["wide"])
    assert len(listed) == 667
    assert wide.key == JobKey(wide.job_id, 1)
    assert {job.state for job in listed} == {JobState.PENDING}
    assert [job.array_task for job in listed] == list(range(1, 2000, 3))
    tasks = {job.key: job.state for job in by_name["array"]}
    assert {key.task for key in tasks} >= {0}
    assert set(tasks.values()) == {JobState.COMPLETED, JobState.RUNNING}


def test_components_of_a_het_job_know_their_leader(by_name: dict[str, list[JobInfo]]) -> None:
    leaders = [job for job in by_name["het"] if job.het_offset == 0]
    others = [job for job in by_name["het"] if job.het_offset == 1]
    assert len(leaders) == len(others) == 2
    assert [job.het_job_id for job in leaders] == [job.job_id for job in leaders]
    assert [job.submission_id for job in others] == [job.job_id for job in leaders]
    found = records.select(by_name["het"], [JobKey(leaders[0].job_id)])
    assert sorted(found) == [JobKey(leaders[0].job_id), JobKey(others[0].job_id)]


def test_select_finds_jobs_by_every_name(by_name: dict[str, list[JobInfo]]) -> None:
    jobs = records.listed([job for named in by_name.values() for job in named])
    task = next(job for job in by_name["array"] if job.state is JobState.COMPLETED)
    assert task.array_job_id is not None
    never = by_name["nevercame"][0].job_id
    assert records.select(jobs, [task.key]) == {task.key: task}
    assert task.key in records.select(jobs, [JobKey(task.array_job_id)])
    by_own_id = records.select(jobs, [JobKey(task.job_id)])
    assert task in by_own_id.values()
    assert records.select(jobs, [JobKey(never, 3)])[JobKey(never, 3)].state is JobState.CANCELLED
    assert records.select(jobs, [JobKey(987654)]) == {}


def test_sacct_agrees_with_squeue_about_ended_jobs(release: str) -> None:
    from_slurmctld = {job.key: job for job in map(records.from_squeue, rows(release, "squeue"))}
    ended = [job for job in map(records.from_sacct, rows(release, "sacct")) if job.is_done]
    assert len(ended) >= 6
    for job in ended:
        other = from_slurmctld[job.key]
        assert (job.state, job.name, job.user, job.nodes) == (
            other.state,
            other.name,
            other.user,
            other.nodes,
        )
        assert (job.submit_time, job.end_time) == (other.submit_time, other.end_time)
        if job.name == "fails":
            # 22.05 writes 0 for every exit code, which must not pass for success.
            assert job.exit_code == (None if release == "22.05" else 3)


def test_sacct_alone_cannot_say_how_an_unfinished_job_ended(release: str) -> None:
    jobs = {job.name: job for job in map(records.from_sacct, rows(release, "sacct"))}
    assert jobs["stopped"].state is JobState.UNKNOWN
    assert jobs["stopped"].base_state is JobState.SUSPENDED
    assert not jobs["stopped"].is_done


SRUN_HELP = """\
Usage: srun [OPTIONS(0)... [executable(0) [args(0)...]]]

Parallel run options:
  -A, --account=name          charge job to specified account

      Options provided by plugins:
      --container-image=[USER@][REGISTRY#]IMAGE[:TAG]|PATH
                              the image to use for the container filesystem
      --container-mounts=SRC:DST[:FLAGS][,SRC:DST...]
                              bind mounts inside the container
"""


def answers(release: str) -> Answers:
    def recorded(name: str) -> str:
        path = RECORDED_DIR / release / f"{name}.json"
        return (path if path.exists() else path.with_suffix(".txt")).read_text()

    return Answers(
        config=recorded("config"),
        partitions=recorded("partitions"),
        nodes=recorded("nodes"),
        reservations=recorded("reservations"),
        licenses=recorded("licenses"),
        mpi=recorded("mpi"),
        qos="normal|||||00:00:00\n"
        "fast|01:00:00|gres/gpu=4,node=2|3|DenyOnLimit,PartitionTimeLimit|00:02:00\n",
        srun_help=SRUN_HELP,
        accounts="root|phys|chem|fast,normal\nroot|phys|phys|normal\nmary|phys|phys|slow\n",
    )


@pytest.fixture
def limits(release: str) -> Limits:
    return read_limits(answers(release), "root", frozenset({"root"}))


def test_limits_of_partitions(limits: Limits) -> None:
    main, long, shut = (limits.partitions[name] for name in ("main", "long", "shut"))
    assert limits.default_partition() == main
    assert (main.max_time_s, main.default_time_s, main.max_nodes) == (86400, 1800, None)
    assert (long.max_time_s, long.max_nodes, long.max_cpus_per_node) == (None, 1, 32)
    assert (long.max_mem_per_node_mib, main.max_mem_per_node_mib) == (32000, None)
    assert long.allow_groups == {"root", "users"}
    assert long.deny_accounts == {"phys"}
    assert (long.exclusive, main.exclusive) == (True, False)
    assert (main.state, shut.state) == ("UP", "DOWN")
    assert (main.allow_qos, shut.allow_qos) == (None, {"normal"})


def test_limits_of_nodes(limits: Limits) -> None:
    shapes = {shape.hosts: shape for shape in limits.partitions["main"].nodes}
    node = shapes[("node0",)]
    assert (node.cpus, node.memory_mib, node.gpus, node.gpu_type) == (64, 64000, 8, "h100")
    assert node.features == {"ib", "h100"}
    assert node.usable
    absent = shapes[("ghost1", "ghost2", "ghost3")]
    assert not absent.usable
    assert absent.reason == "never there"


def test_limits_of_everything_else(limits: Limits, release: str) -> None:
    assert f"{limits.version[0]}.{limits.version[1]:02d}" == release
    assert limits.max_array_size == 2001
    assert limits.accounting
    assert limits.accounting_enforced == {"associations", "limits", "qos"}
    assert limits.accounts == {"chem", "phys"}
    assert limits.default_account == "phys"
    assert {info.name: info.total for info in limits.licenses.values()} == {
        "matlab": 10,
        "ansys": 2,
    }
    maintenance = limits.reservations["maint"]
    assert maintenance.end - maintenance.start == 3600
    assert (maintenance.users, maintenance.accounts) == ({"root"}, {"chem"})
    assert limits.qos is not None
    fast = limits.qos["fast"]
    assert (fast.max_time_s, fast.max_nodes_per_job, fast.max_gpus_per_job) == (3600, 2, 4)
    assert limits.srun_plugin_options == {"--container-image", "--container-mounts"}
    assert fast.flags == {"DenyOnLimit", "PartitionTimeLimit"}
    assert limits.user_qos == {"fast", "normal"}
    assert limits.mpi_plugins >= {"none", "pmi2"}
    assert ("pmix" in limits.mpi_plugins) == (release != "26.05")
