"""What a check is: one function, what it reads, its limits, and what should follow."""

import os
from collections.abc import Callable
from pathlib import Path

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
    """

    root: Path = Path("/")
    shared_dir: Path | None = None
    local_dir: Path = Path("/tmp")  # noqa: S108 (what site.yaml has by default)
    num_gpus: int | None = None
    job_id: str = ""

    def read(self, path: str) -> str:
        """Return a file of the node, stripped; empty when it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

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


class Check(Record):
    """One check.

    Attributes:
        id: its stable name.
        reads: what it looks at.
        limits: when it warns and when it fails, in words.
        action: what should follow when it fails: note, drain or refuse.
        level: quick (at most two seconds, in every preflight) or full.
        blocking: True when what it reads may hang; it then runs in a process of its own.
        function: looks at a node.
        timeout_s: how long it may take, seconds.
    """

    id: str
    reads: str
    limits: str
    action: str
    function: Callable[[Node], Found]
    level: str = QUICK
    blocking: bool = False
    timeout_s: float = 2.0

    def run(self, node: Node) -> Verdict:
        """Look, here and now."""
        try:
            verdict, detail = self.function(node)
        except (OSError, ValueError) as error:
            verdict, detail = skipped(f"could not look: {error}")
        return self.verdict(verdict, detail)

    def verdict(self, verdict: str, detail: str) -> Verdict:
        """Return a verdict of this check."""
        return Verdict(self.id, verdict, detail, self.action)
