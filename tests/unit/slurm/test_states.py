import pytest

from slurmkit.errors import UsageError
from slurmkit.slurm.states import JobInfo, JobKey, JobState, job_key


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (12, JobKey(12)),
        ("12", JobKey(12)),
        ("12_3", JobKey(12, 3)),
        (JobKey(12, 0), JobKey(12, 0)),
    ],
)
def test_job_ids_in_every_form(given: int | str | JobKey, key: JobKey) -> None:
    assert job_key(given) == key
    assert job_key(str(key)) == key


@pytest.mark.parametrize("text", ["", "x", "12_", "_3", "12.0", "12+1", "-1", "1 2", "12_[1-3]"])
def test_other_words_are_no_job_ids(text: str) -> None:
    with pytest.raises(UsageError, match="is not a job id"):
        job_key(text)


def test_a_job_is_known_by_its_array_and_task() -> None:
    assert JobInfo(20).key == JobKey(20)
    assert JobInfo(20, array_job_id=12, array_task=0).key == JobKey(12, 0)
    assert JobInfo(20, array_job_id=12, array_task=0).submission_id == 12
    assert JobInfo(21, het_job_id=20, het_offset=1).submission_id == 20
    assert JobInfo(21, het_job_id=20, het_offset=1).key == JobKey(21)


@pytest.mark.parametrize("state", list(JobState))
def test_only_final_states_are_done(state: JobState) -> None:
    final = {
        "COMPLETED",
        "FAILED",
        "CANCELLED",
        "TIMEOUT",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "DEADLINE",
        "BOOT_FAIL",
        "REVOKED",
    }
    assert JobInfo(1, state=state).is_done == (state.value in final)
    assert JobInfo(1, state=state).succeeded == (state.value == "COMPLETED")
    assert str(state) == state.value


def test_a_job_without_a_record_is_unknown_and_not_done() -> None:
    assert JobInfo(1).is_unknown
    assert not JobInfo(1).is_done
