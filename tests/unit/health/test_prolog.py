"""The prolog and the scripts around it: what starts, what is refused, and when in doubt."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from slurmkit.health import prolog
from slurmkit.health.published import publish, read_published
from slurmkit.health.refusals import Refusal, pause, paused, read_refusals, write_refusals
from slurmkit.health.registry import all_checks
from slurmkit.health.verdict import DRAIN, FAIL, NOTE, REFUSE, Verdict
from slurmkit.supervise.agent_health import NodeHealth

ROOT = Path(__file__).parents[3]
SLURMKIT = Path(sys.executable).with_name("slurmkit")
# What of a machine under test might fail by itself.
OFF = {check.id: {"off": True} for check in all_checks() if check.level == "quick"}


class Place:
    """Files of one node.

    Args:
        folder: where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "health.json"
        self.verdicts = folder / "verdicts.json"

    def configure(self, **common: Any) -> None:
        value = {
            "format": "slurmkit-health",
            "version": 1,
            "common": {"checks": OFF, **common},
            "state_dir": str(self.folder / "state"),
        }
        self.config.write_text(json.dumps(value))

    def environment(self) -> dict[str, str]:
        return {
            "SLURMKIT_HEALTH_CONF": str(self.config),
            "SLURMKIT_NODE_VERDICT": str(self.verdicts),
            "SLURMD_NODENAME": "node1",
            "SLURM_JOB_ID": "12",
        }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    found = Place(tmp_path)
    for name, value in found.environment().items():
        monkeypatch.setenv(name, value)
    found.configure()
    return found


def test_a_job_starts_where_nothing_is_wrong(place: Place) -> None:
    assert prolog.main([]) == 0
    assert read_refusals(place.folder / "state") == []


def test_a_job_is_refused_and_the_reason_written_down(place: Place) -> None:
    checks = {**OFF, "mounts": {}}
    place.configure(checks=checks, mounts=["/not/there"])
    assert prolog.main([]) == prolog.REFUSED
    (refusal,) = read_refusals(place.folder / "state")
    assert (refusal.words, refusal.job_id) == ("mounts: /not/there is not mounted", "12")
    # Not while too many nodes are drained.
    pause(place.folder / "state", time.time() + 60)
    assert prolog.main([]) == 0
    assert not paused(place.folder / "state", time.time() + 61)


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict("gpu-driver", FAIL, "hangs", DRAIN), prolog.REFUSED),
        (Verdict("gpu-driver", FAIL, "hangs", REFUSE), prolog.REFUSED),
        (Verdict("gpu-driver", FAIL, "hangs", NOTE), 0),
        # Quick checks are done anew, and one that the site has switched off says nothing.
        (Verdict("memory", FAIL, "little", REFUSE), 0),
    ],
)
def test_what_the_health_program_found_lately_counts(
    place: Place, verdict: Verdict, expected: int
) -> None:
    publish(place.verdicts, "node1", [verdict], "")
    assert prolog.main([]) == expected
    # A health program that has not run for long says nothing about now.
    said = json.loads(place.verdicts.read_text())
    place.verdicts.write_text(json.dumps({**said, "time": said["time"] - 1000}))
    assert prolog.main([]) == 0


def script(place: Place, program: str) -> "subprocess.CompletedProcess[str]":
    """Run the prolog's script with a program in the place of slurmkit."""
    path = place.folder / "program"
    path.write_text(f"#!/bin/bash\n{program}\n")
    path.chmod(0o755)
    (place.folder / "node.env").write_text(f"SLURMKIT_PROGRAM={path}\n")
    return subprocess.run(
        [ROOT / "plugins/prolog/slurmkit-prolog.sh"],
        env={"SLURMKIT_NODE_ENV": str(place.folder / "node.env")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("exit 0", 0),
        ("echo no; exit 3", 1),
        ("exit 1", 0),  # as Python does after a mistake of ours
        ("exit 127", 0),
        ("trap '' TERM; sleep 60", 0),
    ],
)
def test_only_a_refusal_keeps_a_job_from_starting(
    place: Place, program: str, expected: int
) -> None:
    started = time.monotonic()
    done = script(place, program)
    assert done.returncode == expected
    assert ("no" in done.stderr) == (expected == 1)
    assert time.monotonic() - started < 5.0


def test_the_script_and_the_program_together(place: Place) -> None:
    place.configure(checks={**OFF, "mounts": {}}, mounts=["/not/there"])
    exports = [f"export {name}={value}" for name, value in place.environment().items()]
    done = script(place, "\n".join([*exports, f'exec {SLURMKIT} "$@"']))
    assert done.returncode == 1, done.stderr
    assert "node1: no job starts here: mounts: /not/there" in done.stderr


def test_a_file_of_the_site_that_is_broken_keeps_nobody_from_starting(place: Place) -> None:
    place.config.write_text("{")
    exports = [f"export {name}={value}" for name, value in place.environment().items()]
    assert script(place, "\n".join([*exports, f'exec {SLURMKIT} "$@"'])).returncode == 0


def test_a_prolog_imports_little() -> None:
    code = (
        "import sys; from slurmkit.health import prolog, registry; registry.all_checks(); "
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"typer", "pydantic", "rich", "yaml", "asyncio", "subprocess", "dataclasses", "xml"}
    assert not heavy & set(done.stdout.split())
    assert not [name for name in done.stdout.split() if name.startswith("slurmkit.slurm")]


def test_refusals_travel(tmp_path: Path) -> None:
    assert read_refusals(tmp_path) == []
    refusals = [Refusal(1.0, "a: b", "7"), Refusal(2.0, "c: d", "")]
    write_refusals(tmp_path, refusals)
    assert read_refusals(tmp_path) == refusals
    (tmp_path / "refused.json").write_text("[1]")
    assert read_refusals(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only what root wrote counts")
def test_an_agent_hears_once_that_jobs_have_to_leave(tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    health = NodeHealth(path)
    assert health.news() == ""
    publish(path, "node1", [], "")
    assert health.news() == ""
    publish(path, "node1", [Verdict("gpu-xid", FAIL)], "gpu-xid: Xid 79")
    assert [health.news(), health.news()] == ["gpu-xid: Xid 79", ""]
    publish(path, "node1", [], "gpu-xid: Xid 79")
    assert health.news() == ""
    publish(path, "node1", [], "")
    assert health.news() == ""
    publish(path, "node1", [], "mounts: /home")
    assert health.news() == "mounts: /home"
    os.chown(path, 65534, 65534)
    publish(path, "node1", [], "")
    os.chown(path, 65534, 65534)
    assert health.news() == ""
    path.write_text("{")
    assert read_published(path) is None
