from typing import Any

import pytest

from slurmkit.errors import SlurmError, SlurmUnreachableError
from slurmkit.slurm import normalise
from slurmkit.slurm.states import JobState


def numbered(value: int, *, is_set: bool = True, infinite: bool = False) -> dict[str, Any]:
    return {"set": is_set, "infinite": infinite, "number": value}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5),
        (0, 0),
        ("5", 5),
        (None, None),
        ("", None),
        ("N/A", None),
        (True, None),
        (4294967294, None),
        (4294967295, None),
        (-2, None),
        (65534, 65534),
        (numbered(5), 5),
        (numbered(0), 0),
        (numbered(0, is_set=False), None),
        (numbered(0, is_set=False, infinite=True), None),
    ],
)
def test_numbers(value: object, expected: int | None) -> None:
    assert normalise.number(value) == expected


@pytest.mark.parametrize("value", [0, None, numbered(0), numbered(0, is_set=False)])
def test_no_time_is_none(value: object) -> None:
    assert normalise.timestamp(value) is None


@pytest.mark.parametrize(
    ("value", "shown", "base"),
    [
        ("RUNNING", "RUNNING", "RUNNING"),
        (["RUNNING"], "RUNNING", "RUNNING"),
        ("COMPLETING", "COMPLETING", "COMPLETING"),
        (["FAILED", "COMPLETING"], "COMPLETING", "FAILED"),
        (["RUNNING", "CONFIGURING"], "CONFIGURING", "RUNNING"),
        (["PENDING", "REQUEUED"], "REQUEUED", "PENDING"),
        (["PENDING", "REQUEUE_HOLD"], "REQUEUE_HOLD", "PENDING"),
        (["PENDING", "REQUEUED", "COMPLETING"], "REQUEUED", "PENDING"),
        (["COMPLETED", "UPDATE_DB"], "COMPLETED", "COMPLETED"),
        (["PENDING", "LAUNCH_FAILED"], "PENDING", "PENDING"),
        ("CANCELLED by 1000", "CANCELLED", "CANCELLED"),
        ("out_of_memory", "OUT_OF_MEMORY", "OUT_OF_MEMORY"),
        (["A_STATE_OF_THE_FUTURE"], "UNKNOWN", "UNKNOWN"),
        ([], "UNKNOWN", "UNKNOWN"),
        (None, "UNKNOWN", "UNKNOWN"),
    ],
)
def test_states(value: object, shown: str, base: str) -> None:
    assert normalise.job_state(value) == (JobState(shown), JobState(base))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, (0, None)),
        (768, (3, None)),
        (11, (0, 11)),
        (137, (0, 9)),  # core dump bit and all
        (None, (None, None)),
        (4294967294, (None, None)),
        ({"status": "SUCCESS", "return_code": 0}, (0, None)),
        ({"status": ["ERROR"], "return_code": numbered(3), "signal": {}}, (3, None)),
        (
            {"status": "SIGNALED", "return_code": None, "signal": {"signal_id": 15, "name": "x"}},
            (0, 15),
        ),
        (
            {
                "status": ["SIGNALED"],
                "return_code": numbered(0, is_set=False),
                "signal": {"id": numbered(9), "name": "KILL"},
            },
            (0, 9),
        ),
        ({"status": "PENDING", "return_code": None}, (None, None)),
    ],
)
def test_exit_codes(value: object, expected: tuple[int | None, int | None]) -> None:
    assert normalise.exit_status(value) == expected


@pytest.mark.parametrize(
    ("expression", "tasks"),
    [
        ("7", [7]),
        ("1-3", [1, 2, 3]),
        ("[1-3]", [1, 2, 3]),
        ("1-9:2%4", [1, 3, 5, 7, 9]),
        ("3,5,9-11%2", [3, 5, 9, 10, 11]),
        ("1-3,...", None),
        ("", None),
    ],
)
def test_array_tasks(expression: str, tasks: list[int] | None) -> None:
    assert normalise.array_tasks(expression) == tasks


def test_text_records_keep_values_with_spaces() -> None:
    line = "NodeName=n1 OS=Linux 6.1 #1 SMP  Reason=Not responding [root@2026] Partitions=a,b"
    assert normalise.fields(line) == {
        "NodeName": "n1",
        "OS": "Linux 6.1 #1 SMP",
        "Reason": "Not responding [root@2026]",
        "Partitions": "a,b",
    }


def test_an_empty_list_with_errors_is_no_answer() -> None:
    # What 22.05's squeue --json prints, with exit code 0, when the controller hangs.
    printed = (
        '{"errors": [{"description": "Failed while looking for jobs", "error_number": -1, '
        '"error": "Unspecified error", "source": "slurm_load_jobs"}], "jobs": []}'
    )
    with pytest.raises(SlurmUnreachableError, match="Failed while looking for jobs"):
        normalise.read_rows(printed, "jobs", "squeue --json")


@pytest.mark.parametrize("printed", ["", "slurm_load_jobs error", "[]", "{}", '{"jobs": 1}'])
def test_what_is_no_answer_is_a_slurm_error(printed: str) -> None:
    with pytest.raises(SlurmError, match="squeue --json"):
        normalise.read_rows(printed, "jobs", "squeue --json")
