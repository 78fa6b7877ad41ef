"""Look at this node, and at who is drained: what ``slurmkit health`` prints."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slurmkit.errors import EXIT_FAILED, EXIT_OK, UsageError
from slurmkit.health.check import FULL, QUICK, Check
from slurmkit.health.config import (
    HealthConfig,
    configured,
    node_of,
    own_name,
    read_config,
    read_own,
)
from slurmkit.health.counters import Counters
from slurmkit.health.registry import checks_of
from slurmkit.health.run import run_checks
from slurmkit.health.verdict import FAIL, Verdict, worst

if TYPE_CHECKING:  # only `health drains` asks Slurm
    from slurmkit.slurm.nodes import NodeRecord

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
    config_path: Path | None = None,
) -> HealthReport:
    """Run the checks of this node.

    Args:
        level: quick or full.
        shared_dir: a folder on the shared file system to write to; None leaves that out.
        num_gpus: GPUs that the node should have; None for what the site says.
        only: ids of checks; empty for all of the level.
        config_path: what the site says; None for the file that the node has, if any.

    Raises:
        UsageError: no such level or check.
        HealthConfigError: the site's file makes no sense.
    """
    if level not in _WITHIN_S:
        raise UsageError(f"no level {level!r}", hint="choose quick or full")
    config = read_own(os.environ) if config_path is None else read_config(config_path)
    host = own_name(os.environ)
    node = node_of(config, host)
    node = node.replace(
        shared_dir=shared_dir.absolute() if shared_dir else node.shared_dir,
        local_dir=Path(os.environ.get("SLURMKIT_LOCAL_DIR") or node.local_dir),
        num_gpus=node.num_gpus if num_gpus is None else num_gpus,
        job_id=os.environ.get("SLURM_JOB_ID", ""),
        counters=_counters(config),
    )
    found = run_checks(_chosen(config, host, level, only), node, within_s=_WITHIN_S[level])
    return HealthReport(host, worst(found), tuple(found))


def _counters(config: HealthConfig) -> Counters | None:
    """Return what the health program has counted, where there is one; nothing is written."""
    path = config.state_dir / "counters.json"
    return Counters(path) if os.access(path, os.R_OK) else None


def _chosen(
    config: HealthConfig, host: str, level: str, only: tuple[str, ...]
) -> tuple[Check, ...]:
    checks = configured(config, host)
    if not only:
        return checks_of(level, checks)
    known = {check.id: check for check in checks}
    for name in only:
        if name not in known:
            raise UsageError(f"no check {name!r}", hint=f"choose from: {', '.join(known)}")
    return tuple(known[name] for name in only)


@dataclass(frozen=True)
class DrainedNode:
    """A node that takes no new jobs, by somebody's decision.

    Attributes:
        node: its name.
        state: as Slurm says it, such as drained or draining.
        by_slurmkit: whether slurmkit has drained it, and nobody has changed that since.
        reason: why.
        by: who said so.
        at: when, Unix seconds; None when unknown.
    """

    node: str
    state: str
    by_slurmkit: bool
    reason: str
    by: str
    at: float | None


def drained_nodes() -> list[DrainedNode]:
    """Return the nodes that are drained, ours first.

    Raises:
        SlurmError: Slurm does not answer.
    """
    from slurmkit.slurm.nodes import NodeControl  # noqa: PLC0415 (a check needs no Slurm)

    found = [_drained(record) for record in NodeControl().nodes() if "DRAIN" in record.flags]
    return sorted(found, key=lambda item: (not item.by_slurmkit, item.node))


def _drained(record: "NodeRecord") -> DrainedNode:
    from slurmkit.health.reason import is_ours  # noqa: PLC0415

    busy = record.flags & {"MIXED", "ALLOCATED"}
    return DrainedNode(
        node=record.name,
        state="draining" if busy else "drained",
        by_slurmkit=is_ours(record.name, record.reason),
        reason=record.reason,
        by=record.reason_by,
        at=record.reason_at or None,
    )
