"""What the fault tests share: submit a run, watch it, break it, and check what it has written."""

import dataclasses
import hashlib
import itertools
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from slurmkit.rundir.ledger import Record, read_ledger
from slurmkit.sandbox import Sandbox

BIN = Path(sys.executable).parent
PROGRAMS = Path(__file__).parent / "programs"
RECOVERY = "on_node_failure: spare, then: [successor, requeue], heartbeat_s: 1, max_restarts: 5"


class Lab:
    """One test's folder on the login host, with a run root of its own."""

    def __init__(self, cluster: Sandbox, folder: Path, seed: int) -> None:
        self.cluster = cluster
        self.folder = folder
        self.seed = seed
        self.random = random.Random(seed)
        self.runs: list[Run] = []

    def slurmkit(self, *argv: str, code: int | None = 0) -> "subprocess.CompletedProcess[str]":
        """Run slurmkit on the login host."""
        done = self.cluster.exec(
            "login",
            [BIN / "slurmkit", *argv],
            cwd=self.folder,
            env={"SLURMKIT_RUN_ROOT": str(self.folder / "runs"), "PATH": f"{BIN}:/usr/bin:/bin"},
            timeout=60,
        )
        assert code is None or done.returncode == code, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def slurm(self, *argv: str) -> str:
        """Run one of Slurm's programs on the login host."""
        return self.cluster.exec("login", argv, cwd=self.folder, check=True).stdout.strip()

    def submit(
        self, name: str, command: Iterable[object], *, kind: str = "torch", **sections: str
    ) -> "Run":
        """Submit a run; ``sections`` are the bodies of sections of job.yaml, in flow style."""
        parts = {
            "resources": "nodes: 2, spares: 1, tasks_per_node: 1, cpus_per_task: 1, time: 10m",
            "checkpoint": "dir: ckpt, every: 5 steps, keep: 1000",
            "resilience": RECOVERY,
            "env": 'OMP_NUM_THREADS: "1"',
            **sections,
        }
        words = json.dumps([str(word) for word in command])
        text = f"name: {name}\n" + "".join(
            f"{key}: {{{body}}}\n" for key, body in parts.items() if body
        )
        return self.submit_text(name, f"{text}launch: {{kind: {kind}, command: {words}}}\n")

    def submit_text(self, name: str, text: str) -> "Run":
        """Submit a run whose job.yaml is given as text."""
        path = self.folder / f"{name}.yaml"
        path.write_text(text)
        # Its order of the nodes is left to Slurm, as in a job of a person.
        (submitted,) = json.loads(self.slurmkit("submit", path.name, "--json").stdout)
        run = Run(self, Path(submitted["run_dir"]), str(submitted["job_id"]))
        self.runs.append(run)
        return run

    def plain(self, name: str = "plain", *options: object, **sections: str) -> "Run":
        """Submit the program that knows nothing of slurmkit."""
        command = ["python", PROGRAMS / "plain.py", "--folder", self.folder, *options]
        return self.submit(name, command, **sections)

    def train(self, name: str = "train", *options: object, **sections: str) -> "Run":
        """Submit the small training program on slurmkit.train.Session."""
        command = ["python", PROGRAMS / "trainer.py", "--folder", self.folder, *options]
        return self.submit(name, command, **sections)

    def clean_up(self) -> None:
        """End all jobs, and mend every host, for the next test."""
        self.cluster.exec("login", ["scancel", "--user=root"], timeout=30)
        self.mend()
        shown = ["squeue", "-h", "-o", "%i %T %N %R"]
        until(lambda: not self.slurm(*shown), 90, "the queue is empty", lambda: self.slurm(*shown))

    def mend(self) -> None:
        """Heal what is broken."""
        for host in self.cluster.status():
            if host.condition != "up" or host.slurm_state.startswith(("down", "drain")):
                self.cluster.heal(host.name)


@dataclasses.dataclass
class Run:
    """One submitted run."""

    lab: Lab
    path: Path
    job_id: str
    task: int | None = None
    disk: Path | None = None

    def of_element(self, task: int, folder: Path) -> "Run":
        """Return one element of this array, whose ranks write to a folder of their own."""
        lab = Lab(self.lab.cluster, folder, self.lab.seed)
        return Run(lab, self.path, self.job_id, task)

    @property
    def element(self) -> Path:
        return self.path if self.task is None else self.path / "array" / str(self.task)

    # -- what it has written ------------------------------------------------------------------

    def ledger(self) -> list[Record]:
        return read_ledger(self.element / "ledger.jsonl")

    def events(self, *names: str) -> list[Record]:
        return [record for record in self.ledger() if record.event in names]

    def decisions(self) -> list[str]:
        return [record.fields["action"] for record in self.events("decision")]

    def committed(self) -> list[dict[str, Any]]:
        """The manifests that are there, in the order of their steps."""
        folder = self.disk or self.element / "ckpt"
        found = sorted(folder.glob("step-*/manifest.json"))
        return [json.loads(path.read_text()) for path in found]

    def steps(self, rank: int = 0) -> list[tuple[float, int, str, str]]:
        """What a rank wrote down: (time, step, token, host) of each step, in order."""
        path = self.lab.folder / f"steps-{rank}.log"
        rows = path.read_text().splitlines() if path.exists() else []
        fields = (row.split() for row in rows)
        return [(float(row[0]), int(row[1]), row[3], row[4]) for row in fields]

    def said(self) -> str:
        """All that a person could read about it; for messages of failed tests."""
        text = ""
        for record in self.ledger():
            shown = {k: v for k, v in record.fields.items() if k != "command"}
            text += f"{record.time:.2f} {record.attempt} {record.event} {shown}\n"
        for path in sorted(self.path.rglob("*.log")) + sorted(self.path.rglob("slurm-*.out")):
            tail = path.read_text(errors="replace").splitlines()[-25:]
            text += "\n".join([f"--- {path.relative_to(self.path)}", *tail, ""])
        return text + self.lab.slurm("squeue", "-a") + "\n" + self.lab.slurm("sinfo", "-N", "-l")

    def texts(self, paths: Iterable[str]) -> list[str]:
        """Return what is in these files, or in the files of these folders."""
        files: list[Path] = []
        for path in (self.element / path for path in paths):
            files += [file for file in path.rglob("*") if file.is_file()] or [path]
        return [file.read_text() for file in files]

    # -- waiting ------------------------------------------------------------------------------

    def until(self, condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
        """Wait until the condition returns something true; no longer than there are jobs."""
        looked = [time.monotonic(), 0.0]

        def holds() -> Any:
            if value := condition():
                return value
            if time.monotonic() - looked[0] > 2:
                looked[0] = time.monotonic()
                jobs = self.lab.slurm("squeue", "-h")
                assert jobs or not looked[1], f"no job is left, and no {what}\n{self.said()}"
                looked[1] = 0.0 if jobs else 1.0
            return None

        return until(holds, timeout_s, what, self.said)

    def until_step(self, step: int, rank: int = 0, timeout_s: float = 60) -> None:
        """Wait until a rank has done a step."""
        self.until(
            lambda: any(row[1] >= step for row in self.steps(rank)), timeout_s, f"step {step}"
        )

    def until_event(self, name: str, timeout_s: float = 60, **fields: object) -> Record:
        """Wait for a record with these fields, and return it."""

        def found() -> Record | None:
            for record in self.events(name):
                if fields.items() <= record.fields.items():
                    return record
            return None

        record: Record = self.until(found, timeout_s, f"{name} {fields}")
        return record

    def until_done(self, timeout_s: float = 90) -> None:
        """Wait until the run has completed, in whatever job."""
        self.until_event("run_completed", timeout_s)

    def until_stopped(self, timeout_s: float = 90) -> Record:
        """Wait until the run has ended without having completed; return the last decision."""
        return self.until_event("decision", timeout_s, action="stop")

    def until_gone(self, timeout_s: float = 60) -> str:
        """Wait until no job of it is left; return the state of the job that was submitted.

        Dead nodes are mended first: Slurm holds a job back until it has heard of all its nodes.
        """
        self.lab.mend()
        until(lambda: not self.lab.slurm("squeue", "-h"), timeout_s, "no job is left", self.said)
        shown = self.lab.slurm("scontrol", "show", "job", self.job_id)
        match = re.search(r"JobState=(\w+).*?ExitCode=(\S+)", shown, re.DOTALL)
        assert match, shown
        return f"{match[1]} {match[2]}"

    def waits(self) -> bool:
        """Whether the job is in the queue and does not run."""
        return self.lab.slurm("squeue", "-h", "-j", self.job_id, "-o", "%T") == "PENDING"

    # -- where it is ---------------------------------------------------------------------------

    def nodes(self) -> list[str]:
        """The nodes of the present attempt's step, in order of the ranks."""
        return [self.steps(rank)[-1][3] for rank in range(2)]

    def batch_host(self) -> str:
        """The host of the supervisor of the present incarnation."""
        host: str = self.events("attempt_started")[-1].fields["host"]
        return host

    def hurry(self, job_id: str | None = None) -> None:
        """Let a requeued job start soon; Slurm would have it wait for two minutes.

        Not in the second in which its last life ended: slurmd takes the new credential, whose time
        is in whole seconds, for the old one that was revoked, and the job fails with code 1.
        """
        self.lab.slurm("scontrol", "update", f"JobId={job_id or self.job_id}", "StartTime=now+2")

    # -- what must be true after any fault -----------------------------------------------------

    def check_commits(self) -> None:
        """No two attempts ever committed the same step, or steps in between each other's."""
        manifests = self.committed()
        times = [manifest["time"] for manifest in manifests]
        assert times == sorted(times), self.said()
        attempts = [manifest["attempt"] for manifest in manifests]
        assert attempts == sorted(attempts), self.said()
        by_attempt: dict[int, str] = {}
        for manifest in manifests:
            known = by_attempt.setdefault(manifest["attempt"], manifest["incarnation"])
            assert known == manifest["incarnation"], self.said()
        quarantined = {r.fields["step"] for r in self.events("checkpoint_quarantined")}
        told = [
            (record.attempt, record.fields["step"])
            for record in self.events("checkpoint_committed")
            if record.fields["step"] not in quarantined
        ]
        assert told == sorted(set(told)), self.said()
        steps = [step for _, step in told]
        assert steps == sorted(set(steps)), self.said()
        self.check_ledger()

    def check_ledger(self) -> None:
        """One writer at a time: records are numbered, and incarnations follow each other."""
        records = self.ledger()
        assert [record.seq for record in records] == list(range(1, len(records) + 1)), self.said()
        lives = [record.incarnation for record in records]
        changes = [b for a, b in itertools.pairwise(lives) if a != b]
        assert len(changes) == len(set(changes)), self.said()
        assert [r.attempt for r in records if r.event == "attempt_started"] == list(
            range(1, len([r for r in records if r.event == "attempt_started"]) + 1)
        ), self.said()

    def check_trained(self, undisturbed: "Run", num_ranks: int = 2) -> None:
        """Weights, optimizer and order of samples are those of a run that nothing has disturbed."""
        assert self.result() == undisturbed.result(), self.said()
        for rank in range(num_ranks):
            assert self.samples(rank) == undisturbed.samples(rank), self.said()
        self.check_commits()

    def result(self) -> dict[str, Any]:
        """Digest of weights and optimizer, and the last step."""
        path = self.lab.folder / "result.json"
        assert path.exists(), self.said()
        result: dict[str, Any] = json.loads(path.read_text())
        return result

    def samples(self, rank: int) -> dict[int, str]:
        """The samples that a rank saw in each step: a step done again saw the same ones."""
        found: dict[int, str] = {}
        for line in (self.lab.folder / f"steps-{rank}.log").read_text().splitlines():
            _, step, seen, *_ = line.split()
            assert found.setdefault(int(step), seen) == seen, f"step {step} of rank {rank}"
        return dict(sorted(found.items()))

    def samples_kept(
        self, ranks: Iterable[int], kept: dict[int, tuple[int, int]]
    ) -> dict[int, int]:
        """Return how often each sample was seen in steps whose result was kept.

        Args:
            ranks: whose steps.
            kept: by attempt, the step before the first and the last that count.
        """
        counts: dict[int, int] = {}
        for rank in ranks:
            for line in (self.lab.folder / f"steps-{rank}.log").read_text().splitlines():
                _, step, seen, token, _ = line.split()
                after, last = kept[int(token.rpartition("/")[2])]
                if after < int(step) <= last:
                    for number in seen.split(","):
                        counts[int(number)] = counts.get(int(number), 0) + 1
        return dict(sorted(counts.items()))

    def check_plain(self, num_ranks: int = 2, steps: int = 60) -> None:
        """The plain program's result is that of an undisturbed run, and it never ran twice."""
        for rank in range(num_ranks):
            result = self.lab.folder / f"result-{rank}"
            assert result.exists(), self.said()
            assert result.read_text() == plain_result(rank, steps), self.said()
            tokens = [token for _, _, token, _ in self.steps(rank)]
            changes = [b for a, b in itertools.pairwise(tokens) if a != b]
            assert len(changes) == len(set(changes)), f"interleaved: {changes}\n{self.said()}"
        self.check_ledger()


def plain_result(rank: int, steps: int) -> str:
    chain = hashlib.sha256(b"%d" % rank).hexdigest()
    for step in range(1, steps + 1):
        chain = hashlib.sha256(f"{chain} {step}".encode()).hexdigest()
    return chain


def until(
    condition: Callable[[], Any],
    timeout_s: float,
    what: str,
    said: Callable[[], str] = lambda: "",
) -> Any:
    """Wait until the condition returns something true, and return that."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s in vain: {what}\n{said()}"
        time.sleep(0.05)
    return value
