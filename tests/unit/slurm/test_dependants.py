"""Dependencies as squeue shows them, with one job in the place of another."""

import pytest

from slurmkit.slurm.dependants import redirected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("afterok:12(unfulfilled)", "afterok:19"),
        ("afterok:12(unfulfilled),afterany:13(unfulfilled)", "afterok:19,afterany:13"),
        ("afterok:11(unfulfilled):12(unfulfilled)", "afterok:11:19"),
        ("afterok:12(unfulfilled)?afterok:13(unfulfilled)", "afterok:19?afterok:13"),
        ("after:12+5(unfulfilled)", "after:19+5"),
        ("afterok:112(unfulfilled),afterok:120(unfulfilled)", "afterok:112,afterok:120"),
        ("afterok:12_3(unfulfilled)", "afterok:12_3"),
        ("singleton(unfulfilled)", "singleton"),
        ("(null)", ""),
    ],
)
def test_only_the_job_that_hands_over_is_replaced(shown: str, expected: str) -> None:
    assert redirected(shown, "12", "19") == expected
