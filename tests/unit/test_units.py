"""Durations and sizes as people and Slurm write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.units import format_size_mib, format_slurm_time, parse_duration_s, parse_size_mib


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (90, 5400),
        ("90", 5400),
        ("2:30", 150),
        ("1:30:00", 5400),
        ("1-12", 129_600),
        ("1-12:30", 131_400),
        ("1-12:30:15", 131_415),
        ("4h", 14_400),
        ("1d 12h", 129_600),
        ("1d12h", 129_600),
        ("90s", 90),
        ("0.5h", 1800),
        ("UNLIMITED", None),
    ],
)
def test_durations(text: str | int, seconds: int | None) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "4 hours", "1:2:3:4", "-5", "0", 0, "1-", "h"])
def test_what_is_no_duration(text: str | int) -> None:
    with pytest.raises(ValueError, match=r"duration|no time"):
        parse_duration_s(text)


@given(st.integers(1, 10**8))
def test_slurms_form_reads_back(seconds: int) -> None:
    assert parse_duration_s(format_slurm_time(seconds)) == seconds


@given(st.integers(0, 10**9))
def test_sizes_read_back(mib: int) -> None:
    assert parse_size_mib(format_size_mib(mib)) == mib


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("64G", 65_536),
        ("100K", 1),
        ("0", 0),
        ("1.5G", 1536),
        ("2T", 2_097_152),
        (7, 7),
        ("8GiB", 8192),
    ],
)
def test_sizes(text: str | int, mib: int) -> None:
    assert parse_size_mib(text) == mib


@pytest.mark.parametrize("text", ["", "lots", "-1G", "1 G B", "G"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size_mib(text)
