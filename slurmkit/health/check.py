"""What a check is: one function, what it reads, its thresholds, and what should follow."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from slurmkit.health.counters import Counters
from slurmkit.health.verdict import FAIL, PASSED, SKIPPED, WARN, Verdict
from slurmkit.record import Record

QUICK, FULL = "quick", "full"


class Node(Record):
    """The node to look at, and what is known about it.

    Attributes:
        root: where ``proc``, ``sys`` and ``dev`` are; tests give a prepared tree.
        shared_dir: a folder on the shared file system; None when there is none.
        local_dir: the node-local folder that jobs use.
        num_gpus: GPUs that the node should have; None when unknown.
        job_id: the Slurm job that asks; empty for none.
        num_cpus: logical CPUs that the node should have; None when unknown.
        memory_mib: memory that the node should have, MiB; None when unknown.
        mounts: paths where something must be mounted.
        munge_socket: where munged listens; empty for the usual place.
        nvidia_smi: the program that is asked where NVML cannot be.
        driver_s: how long the driver may take to answer, seconds.
        counters: what counters said before; None where nobody keeps them.
        thresholds: of the check that looks now, by name.
    """

    root: Path = Path("/")
    shared_dir: Path | None = None
    local_dir: Path = Path("/tmp")  # noqa: S108 (what site.yaml has by default)
    num_gpus: int | None = None
    job_id: str = ""
    num_cpus: int | None = None
    memory_mib: int | None = None
    mounts: tuple[str, ...] = ()
    munge_socket: str = ""
    nvidia_smi: str = "nvidia-smi"
    driver_s: float = 15.0
    counters: Counters | None = None
    thresholds: Mapping[str, float] = {}

    def read(self, path: str) -> str:
        """Return a file of the node, stripped; empty when it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def number(self, path: str) -> int | None:
        """Return the whole number in a file of the node; None where there is none."""
        text = self.read(path)
        return int(text) if text.removeprefix("-").isdigit() else None

    def names(self, path: str) -> list[str]:
        """Return the names in a folder of the node, sorted."""
        try:
            return sorted(os.listdir(self.root / path))  # noqa: PTH208 (names are all that is asked)
        except OSError:
            return []


Found = tuple[str, str]


def passed(detail: str = "") -> Found:
    """All is well."""
    return PASSED, detail


def warn(detail: str) -> Found:
    """Ranks can run, but somebody should look."""
    return WARN, detail


def fail(detail: str) -> Found:
    """Something is wrong."""
    return FAIL, detail


def skipped(why: str) -> Found:
    """It was not looked at."""
    return SKIPPED, why


class Threshold(Record):
    """A number that decides, and that a site may set.

    Attributes:
        name: how site.yaml names it; the end says the unit, such as ``warn_c``.
        value: what it is where a site does not say.
        meaning: what happens from there on.
    """

    name: str
    value: float
    meaning: str


class Check(Record):
    """One check.

    Attributes:
        id: its stable name.
        reads: what it looks at.
        limits: when it warns and when it fails, in words.
        action: what should follow when it fails: note, refuse, drain or evict.
        level: quick (at most two seconds, in every preflight and prolog) or full.
        blocking: True when what it reads may hang; it then runs in a process of its own.
        function: looks at a node.
        timeout_s: how long it may take, seconds.
        thresholds: the numbers that decide.
        group: checks of one group share a process, as they share what they ask; empty for none.
        advice: what to do about a failure, in a sentence or two.
    """

    id: str
    reads: str
    limits: str
    action: str
    function: Callable[[Node], Found]
    level: str = QUICK
    blocking: bool = False
    timeout_s: float = 2.0
    thresholds: tuple[Threshold, ...] = ()
    group: str = ""
    advice: str = ""

    def run(self, node: Node) -> Verdict:
        """Look, here and now."""
        known = {threshold.name: threshold.value for threshold in self.thresholds}
        try:
            verdict, detail = self.function(node.replace(thresholds=known))
        except (OSError, ValueError) as error:
            verdict, detail = skipped(f"could not look: {error}")
        return self.verdict(verdict, detail)

    def verdict(self, verdict: str, detail: str) -> Verdict:
        """Return a verdict of this check."""
        return Verdict(self.id, verdict, detail, self.action)
