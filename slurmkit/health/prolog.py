"""``slurmkit health prolog``: may a job start on this node? Slurm is not asked anything.

Exit code 0 lets it start and 3 refuses it; every other one is our own fault, and the script around
this lets the job start then.
"""

import contextlib
import os
import sys
import time
from collections.abc import Mapping

from slurmkit.health.check import QUICK
from slurmkit.health.config import HealthConfig, configured, node_of, own_name, read_own
from slurmkit.health.published import published_path, read_published
from slurmkit.health.refusals import Refusal, paused, read_refusals, write_refusals
from slurmkit.health.registry import checks_of
from slurmkit.health.run import run_checks
from slurmkit.health.verdict import Verdict

REFUSED = 3
# Older verdicts of the health program say nothing about now.
_FRESH_S = 900.0
_HELP = """\
usage: slurmkit health prolog

Run by Slurm's Prolog as root: exits 3 when no job may start on this node.
"""


def main(arguments: list[str]) -> int:
    """Look, and return the exit code."""
    if arguments:
        sys.stdout.write(_HELP)
        return 0 if arguments[0] in ("-h", "--help") else 2
    environ = os.environ
    config, host = read_own(environ), own_name(environ)
    bad = [verdict for verdict in look(config, host, environ) if verdict.refuses]
    if not bad:
        return 0
    words = "; ".join(f"{verdict.check}: {verdict.detail}" for verdict in bad)
    now = time.time()
    if paused(config.state_dir, now):
        sys.stderr.write(f"slurmkit: {host}: too many nodes are drained; started anyway: {words}\n")
        return 0
    refusals = [r for r in read_refusals(config.state_dir) if now - r.at < _FRESH_S]
    refusal = Refusal(now, words, environ.get("SLURM_JOB_ID", ""))
    with contextlib.suppress(OSError):  # a disk that is full or read-only may be the very reason
        write_refusals(config.state_dir, [*refusals, refusal])
    sys.stderr.write(f"slurmkit: {host}: no job starts here: {words}\n")
    return REFUSED


def look(config: HealthConfig, host: str, environ: Mapping[str, str]) -> list[Verdict]:
    """Return what quick checks find now, and what the health program found in the others lately."""
    node = node_of(config, host).replace(job_id=environ.get("SLURM_JOB_ID", ""))
    checks = configured(config, host)
    quick = checks_of(QUICK, checks)
    found = run_checks(quick, node, within_s=config.prolog_within_s)
    known = read_published(published_path())
    if known is not None and 0 <= time.time() - known.at < _FRESH_S:
        others = {check.id for check in checks} - {check.id for check in quick}
        found += [verdict for verdict in known.verdicts if verdict.check in others]
    return found
