"""Look at this node: what ``slurmkit health check`` prints."""

import os
from dataclasses import dataclass
from pathlib import Path

from slurmkit.errors import EXIT_FAILED, EXIT_OK, UsageError
from slurmkit.health.check import FULL, QUICK, Check, Node
from slurmkit.health.registry import all_checks, checks_of
from slurmkit.health.run import run_checks
from slurmkit.health.verdict import FAIL, Verdict, worst

_WITHIN_S = {QUICK: 10.0, FULL: 300.0}


@dataclass(frozen=True)
class HealthReport:
    """What the checks say about one node.

    Attributes:
        host: the node.
        verdict: the worst of them: pass, warn or fail.
        checks: one verdict per check.
    """

    host: str
    verdict: str
    checks: tuple[Verdict, ...]

    @property
    def exit_code(self) -> int:
        """0 unless a check fails."""
        return EXIT_FAILED if self.verdict == FAIL else EXIT_OK

    def fields(self) -> dict[str, object]:
        """Return it as JSON values."""
        checks = [verdict.fields() for verdict in self.checks]
        return {"host": self.host, "verdict": self.verdict, "checks": checks}


def check_node(
    *,
    level: str = QUICK,
    shared_dir: Path | None = None,
    num_gpus: int | None = None,
    only: tuple[str, ...] = (),
) -> HealthReport:
    """Run the checks of this node.

    Args:
        level: quick or full.
        shared_dir: a folder on the shared file system to write to; None leaves that out.
        num_gpus: GPUs that the node should have; None when unknown.
        only: ids of checks; empty for all of the level.

    Raises:
        UsageError: no such level or check.
    """
    if level not in _WITHIN_S:
        raise UsageError(f"no level {level!r}", hint="choose quick or full")
    node = Node(
        shared_dir=shared_dir.absolute() if shared_dir else None,
        local_dir=Path(os.environ.get("SLURMKIT_LOCAL_DIR") or "/tmp"),  # noqa: S108
        num_gpus=num_gpus,
        job_id=os.environ.get("SLURM_JOB_ID", ""),
    )
    found = run_checks(_chosen(level, only), node, within_s=_WITHIN_S[level])
    host = os.environ.get("SLURMD_NODENAME") or os.uname().nodename
    return HealthReport(host, worst(found), tuple(found))


def _chosen(level: str, only: tuple[str, ...]) -> tuple[Check, ...]:
    if not only:
        return checks_of(level)
    known = {check.id: check for check in all_checks()}
    for name in only:
        if name not in known:
            raise UsageError(f"no check {name!r}", hint=f"choose from: {', '.join(known)}")
    return tuple(known[name] for name in only)
