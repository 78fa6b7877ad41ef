"""The reference pages that are written from code say what the code says now."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

DOCS = Path(__file__).parents[3] / "docs"
generate = SimpleNamespace(**runpy.run_path(str(DOCS / "generate.py")))


@pytest.mark.parametrize("name", generate.PAGES)
def test_page_is_up_to_date(name: str) -> None:
    committed = (DOCS / name).read_text(encoding="utf-8")
    assert committed == generate.page_text(name), "run docs/generate.py and commit what it wrote"


@pytest.mark.parametrize("name", generate.PARTS)
def test_part_is_up_to_date(name: str) -> None:
    page, _, part = name.partition("#")
    text = (DOCS / page).read_text(encoding="utf-8")
    assert text == generate.with_part(text, part, generate.PARTS[name]()), "run docs/generate.py"
