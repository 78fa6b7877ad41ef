"""Releases of Slurm: read from what programs print, and compared."""

import pytest

from slurmkit.errors import UsageError
from slurmkit.site.generate import SUPPORTED, Release


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("22.05", Release(22, 5)),
        ("22.05.8", Release(22, 5, 8)),
        ("slurm-wlm 22.05.8", Release(22, 5, 8)),
        ("slurm 26.05.5\n", Release(26, 5, 5)),
        ("24.11.0-0rc1", Release(24, 11)),
    ],
)
def test_reads_a_release(text: str, expected: Release) -> None:
    assert Release.parse(text) == expected


@pytest.mark.parametrize("text", ["", "new", "24", "24.13", "124.11", "24.111"])
def test_says_what_a_release_looks_like(text: str) -> None:
    with pytest.raises(UsageError, match="is no release of Slurm") as caught:
        Release.parse(text)
    assert "24.11" in caught.value.hint


def test_orders_by_age() -> None:
    assert list(SUPPORTED) == sorted(SUPPORTED)
    assert Release.parse("22.05.8") < Release.parse("23.11") < Release.parse("23.11.1")


@pytest.mark.parametrize(
    ("release", "bound", "expected"),
    [("24.11.5", "24.11", True), ("24.11", "24.11.1", False), ("22.05.8", "23.02", False)],
)
def test_at_least(release: str, bound: str, expected: bool) -> None:
    assert Release.parse(release).at_least(bound) is expected
    assert Release.parse(release).at_least(Release.parse(bound)) is expected


@pytest.mark.parametrize("text", ["22.05", "24.11.5"])
def test_prints_as_it_is_read(text: str) -> None:
    assert str(Release.parse(text)) == text
    assert str(Release.parse(text).major) == text[:5]
