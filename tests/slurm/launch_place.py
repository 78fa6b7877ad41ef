"""A folder on a cluster, and the scripts that tests start there through exec and supervise."""

import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from slurmkit.rundir.ledger import Record, read_ledger
from slurmkit.sandbox import Sandbox

SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))
PYTHON = sys.executable


@dataclass(frozen=True)
class Place:
    """A folder on a cluster that all of its hosts see."""

    cluster: Sandbox
    folder: Path

    def run(self, *argv: str, **env: str) -> "CompletedProcess[str]":
        return self.cluster.exec("login", argv, cwd=self.folder, env=env, timeout=120)

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        return str(path)

    @property
    def run_dir(self) -> Path:
        return self.folder / "run"

    def batch(self, command: str, *options: str, before: str = "") -> "CompletedProcess[str]":
        """Submit a script that ends in ``supervise ... command``, as rendered ones do, and wait."""
        job_id = self.submit(command, *options, before=before)
        self.until_gone(job_id)
        state = self.run("scontrol", "show", "job", job_id).stdout
        code = re.search(r"ExitCode=(\d+):", state)
        assert code, state
        said = (self.folder / "out").read_text(errors="surrogateescape")
        return CompletedProcess(command, int(code[1]), said, "")

    def submit(self, command: str, *options: str, before: str = "") -> str:
        self.run_dir.mkdir(exist_ok=True)
        script = f"""#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=2 --output={self.folder}/out --open-mode=append --time=5
export PATH={Path(PYTHON).parent}:$PATH
{before}
exec {SLURMKIT} supervise {self.run_dir} {command}
"""
        done = self.run("sbatch", "--parsable", *options, self.write("job.sh", script))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def until_gone(self, job_id: str, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while self.run("squeue", "--noheader", "--jobs", job_id).stdout.strip():
            assert time.monotonic() < deadline, (self.folder / "out").read_text()
            time.sleep(0.2)

    def until_said(self, words: str, timeout_s: float = 30) -> None:
        deadline = time.monotonic() + timeout_s
        out = self.folder / "out"
        while not out.exists() or words not in out.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def records(self) -> list[Record]:
        return read_ledger(self.run_dir / "ledger.jsonl")

    def last(self, event: str) -> dict[str, Any]:
        return [record.fields for record in self.records() if record.event == event][-1]


def make_place(cluster: Sandbox, request: pytest.FixtureRequest) -> Place:
    folder = cluster.shared_dir / re.sub(r"\W+", "-", request.node.name)
    folder.mkdir()
    return Place(cluster, folder)
