"""How the program ends: exit codes, closed pipes, full disks."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from slurmkit.api.schemas import schema_of

SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))


def _run(*argv: str, **kwargs: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [SLURMKIT, *argv], text=True, stderr=subprocess.PIPE, check=False, timeout=60, **kwargs
    )


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["--version"], 0, ""),
        (["no-such-command"], 2, "No such command"),
        (["render", "no-such-file.yaml"], 2, "there is no file no-such-file.yaml"),
        (
            ["init", "no-such-starter"],
            2,
            "heat-mpi, hello-mpi, hello-ranks, llama-finetune, mpi4py-sgd",
        ),
        (["schema", "nothing"], 2, "job, site, hosts, check"),
        (["logs", "no-such-run"], 2, "no-such-run"),
    ],
)
def test_exit_codes(
    argv: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURMKIT_RUN_ROOT", str(tmp_path))
    done = _run(*argv, stdout=subprocess.PIPE)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_ends_the_program_without_a_word() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = _run("schema", "job", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")  # as programs that SIGPIPE ends


def test_a_full_disk_is_an_error_and_not_silence() -> None:
    with Path("/dev/full").open("w") as full:
        done = _run("schema", "job", stdout=full)
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_program_that_asked_for_json_gets_errors_as_json(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: bad\nlaunch: {command: [a]}\nnodes: 2\n")
    done = _run("check", "--json", "--offline", str(tmp_path / "bad.yaml"), stdout=subprocess.PIPE)
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (2, False)
    assert [(item["key"], item["line"]) for item in report["problems"]] == [("nodes", 3)]
    jsonschema.validate(report, schema_of("check"))
    done = _run("status", "no-such-run", "--json", stdout=subprocess.PIPE)
    report = json.loads(done.stdout)
    assert "no-such-run" in report["problems"][0]["message"]
    jsonschema.validate(report, schema_of("check"))
