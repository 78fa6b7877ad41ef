"""Running checks so that none holds up the others, and the command that does."""

import contextlib
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from slurmkit.api.health import check_node
from slurmkit.api.schemas import schema_of
from slurmkit.cli.app import app
from slurmkit.errors import UsageError
from slurmkit.health.check import Check, Found, Node, passed
from slurmkit.health.config import (
    HealthConfigError,
)
from slurmkit.health.reference import markdown
from slurmkit.health.registry import all_checks, checks_of
from slurmkit.health.run import preflight, run_checks
from slurmkit.health.verdict import Verdict, from_fields, worst

ROOT = Path(__file__).parents[3]
CHECKS = {check.id: check for check in all_checks()}
Look = Callable[[str, float], Verdict]


def _sleeps(_node: Node) -> Found:
    time.sleep(60)
    return passed()


def _dies(_node: Node) -> Found:
    os._exit(3)


def test_a_check_that_hangs_fails_and_holds_up_nobody() -> None:
    def check(name: str, function: object, timeout_s: float) -> Check:
        return Check(
            id=name,
            reads="",
            limits="",
            action="refuse",
            function=function,  # type: ignore[arg-type]
            blocking=True,
            timeout_s=timeout_s,
        )

    checks = [check("hangs", _sleeps, 0.4), check("dies", _dies, 5.0), CHECKS["memory"]]
    started = time.monotonic()
    found = {item.check: item for item in run_checks(checks, Node(), within_s=10.0)}
    assert time.monotonic() - started < 3.0
    assert found["hangs"].verdict == "fail"
    assert "within 0.4 s" in found["hangs"].detail
    assert found["dies"].verdict == "fail"
    assert found["memory"].verdict in ("pass", "warn")


def test_a_check_that_hangs_for_ever_holds_nothing_open(tmp_path: Path, look: Look) -> None:
    """Neither the output of a prolog, which is waited for, nor the health program's lock."""

    def look(_node: Node) -> tuple[str, str]:
        links = []
        for path in sorted(Path("/proc/self/fd").iterdir(), key=lambda path: int(path.name)):
            with contextlib.suppress(OSError):  # the listing itself
                links.append(str(path.readlink()))
        return "pass", " ".join(links)

    check = Check("a", "", "", "drain", look, blocking=True)
    with (tmp_path / "lock").open("w"):
        (found,) = run_checks([check], Node(root=tmp_path), within_s=9.0)
    *first, pipe = found.detail.split()
    assert first == ["/dev/null"] * 3
    assert pipe.startswith("pipe:")


def test_a_mistake_in_a_check_warns_and_does_not_fail(tmp_path: Path) -> None:
    def wrong(_node: Node) -> tuple[str, str]:
        raise KeyError("x")

    checks = [
        Check("a", "", "", "drain", wrong, blocking=True),
        Check("b", "", "", "drain", wrong),
    ]
    for item in run_checks(checks, Node(root=tmp_path), within_s=9.0):
        assert (item.verdict, item.drains) == ("warn", False)
        assert "KeyError" in item.detail


def test_a_quick_preflight_is_quick(tmp_path: Path) -> None:
    started = time.monotonic()
    found = preflight("quick", folder=tmp_path, num_gpus=None, within_s=9.0)
    assert time.monotonic() - started < 2.0
    assert [item.check for item in found] == [c.id for c in checks_of("quick", all_checks())]
    assert "gpu-memory" not in {item.check for item in found}


def test_verdicts_travel() -> None:
    verdict = Verdict("a", "fail", "b", "drain")
    assert from_fields({**verdict.fields(), "new": 1}) == verdict
    assert worst([verdict, Verdict("c", "pass")]) == "fail"
    assert worst([Verdict("c", "skipped")]) == "pass"
    assert worst([]) == "pass"


def test_the_command(tmp_path: Path) -> None:
    run = CliRunner().invoke
    done = run(app, ["health", "check", "--json", "--shared", str(tmp_path), "--only", "memory"])
    said = json.loads(done.stdout)
    assert done.exit_code == 0
    assert [item["check"] for item in said["checks"]] == ["memory"]
    jsonschema.validate(said, schema_of("health-check"))
    bad = run(app, ["health", "check", "--only", "gpu-count", "--gpus", "1000"])
    assert bad.exit_code == 1
    assert "fail" in bad.stdout
    done = run(app, ["health", "check", "--config", str(tmp_path / "gone.json")])
    assert isinstance(done.exception, HealthConfigError)
    assert (done.exception.exit_code, "gone.json: No such file" in str(done.exception)) == (2, True)
    with pytest.raises(UsageError, match="no check 'colour'"):
        check_node(only=("colour",))


def test_every_check_is_complete_and_on_the_page() -> None:
    assert len(CHECKS) == len(all_checks())
    modules = {path.stem for path in (ROOT / "slurmkit/health/checks").glob("[a-z]*.py")}
    assert {name.replace("-", "_") for name in CHECKS} == modules
    page = (ROOT / "docs/reference/health-checks.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- begin checks -->\n(.*?)<!-- end checks -->", page, re.DOTALL)
    assert found
    assert found[1].strip() == markdown()
