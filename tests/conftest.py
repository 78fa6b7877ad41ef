"""Options of this test suite, and second tries."""

import time
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write golden files anew instead of comparing with them; review the difference",
    )


@pytest.fixture(autouse=True)
def _second_try(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put folders of the first try aside: clusters, and what tests made there, outlive a test."""
    if getattr(request.node, "execution_count", 1) < 2:
        return
    make = Path.mkdir

    def mkdir(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if not exist_ok and self.is_dir():
            self.rename(self.with_name(f"{self.name}.{time.time_ns()}"))
        make(self, mode, parents, exist_ok)

    monkeypatch.setattr(Path, "mkdir", mkdir)
