"""The reference page holds what the code says about its checks."""

from pathlib import Path

from slurmkit.check import CHECKS
from slurmkit.check.reference import markdown

_PAGE = Path(__file__).parents[3] / "docs" / "reference" / "checks.md"


def test_the_page_is_what_the_code_says() -> None:
    assert markdown().strip() in _PAGE.read_text(encoding="utf-8")


def test_every_check_is_on_the_page_once() -> None:
    page = markdown()
    for check in CHECKS:
        assert page.count(f"| `{check.about.id}` |") == 1


def test_ids_are_unique_and_there_are_many() -> None:
    ids = [check.about.id for check in CHECKS]
    assert len(set(ids)) == len(ids) > 60


def test_sentences_are_sentences() -> None:
    for check in CHECKS:
        assert check.about.compares[0].isupper() or check.about.compares.startswith("bash")
        assert check.about.compares.endswith(".")
