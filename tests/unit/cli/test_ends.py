"""How the program ends: exit codes, closed pipes, full disks."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
        (["init", "no-such-starter"], 2, "hello-mpi, hello-ranks, llama-finetune"),
        (["schema", "nothing"], 2, "job, site, status"),
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
