"""The layer table that people read is the one that import-linter enforces."""

import re
from pathlib import Path

import pytest

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")


def table_after(heading: str) -> list[list[str]]:
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def names(text: str) -> list[str]:
    return re.findall(r"[a-z_]+", text)


def layers() -> tuple[list[str], dict[str, set[str]]]:
    """Return the leaves, and what each room may import by its row."""
    leaves: list[str] = []
    allowed: dict[str, set[str]] = {}
    for room, may_import in table_after("Who may import whom"):
        if "leaves" in names(room):
            leaves = [name for name in names(room) if name != "leaves"]
        elif may_import != "anything":
            allowed[room] = set(names(may_import)) - {"leaves"}
    return leaves, allowed


def reachable(room: str, allowed: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [room]
    while waiting:
        for name in allowed[waiting.pop()] - found:
            found.add(name)
            waiting.append(name)
    return found


def contracts() -> dict[frozenset[str], set[str]]:
    """Return what the layer contracts forbid, by the rooms they are about."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    result = {}
    for contract in settings["tool"]["importlinter"]["contracts"]:
        if re.search(r"\b(may import|import only leaves)\b", contract["name"]):
            rooms = frozenset(name.removeprefix("slurmkit.") for name in contract["source_modules"])
            result[rooms] = {
                name.removeprefix("slurmkit.") for name in contract["forbidden_modules"]
            }
    return result


def test_contracts_equal_the_table() -> None:
    leaves, allowed = layers()
    rooms = set(allowed) | {"cli"}
    expected = {frozenset(leaves): rooms} | {
        frozenset({room}): rooms - reachable(room, allowed) - {room} for room in allowed
    }
    assert contracts() == expected


def test_every_room_is_in_both_tables() -> None:
    listed = {name for row in table_after("Who may import whom") for name in names(row[0])}
    described = {
        name for row in table_after("The rooms") for name in re.findall(r"`(\w+)`", row[0])
    }
    package = ROOT / "slurmkit"
    existing = {path.stem for path in package.glob("*.py") if not path.stem.startswith("__")}
    existing |= {path.parent.name for path in package.glob("*/__init__.py")}
    assert existing <= listed
    assert existing <= described
