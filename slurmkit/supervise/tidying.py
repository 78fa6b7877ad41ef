"""Leaves nothing of a job on its nodes, as far as its user may: the epilog does what root may.

What an attempt's ranks have left on this node is removed by this process, what is on others by a
step of a second, or by the agents that are there anyway. When Slurm itself ends the job no step can
be started any more: the other nodes are their agents' and the epilog's then.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from slurmkit.supervise.context import JobContext

# A node that does not answer must not hold a job that is over.
_STEP_TIMEOUT_S = 15.0
_GRACE_S = 2.0


def tidy_node(job_id: str, incarnation: str, age_s: float) -> str:
    """End what is left of an attempt on this node and remove what it left; return what was done.

    Args:
        job_id: the job.
        incarnation: of the supervisor that has started the ranks.
        age_s: how long ago the job began, seconds.
    """
    from slurmkit.launch import leftovers  # noqa: PLC0415 (once, when all is over)

    try:
        found = leftovers.sweep(
            [f"SLURMKIT_INCARNATION={incarnation}"],
            job_id=job_id,
            max_age_s=age_s,
            grace_s=_GRACE_S,
        )
    except OSError as error:  # a /proc that is closed to us must not change how the job ends
        return f"not looked for: {error}"
    return summary(found["ended"], found["removed"], found["left"])


def summary(ended: Sequence[str], removed: Sequence[str], left: Sequence[str]) -> str:
    """Return in a sentence what was done; empty when there was nothing to do."""
    parts = [f"{len(ended)} processes ended"] if ended else []
    parts += [f"{len(removed)} files and segments removed"] if removed else []
    parts += [f"left: {'; '.join(left[:3])}"] if left else []
    return ", ".join(parts)


def tidy_others(job_id: str, incarnation: str, nodes: Sequence[str], age_s: float) -> None:
    """Do the same on other nodes by a step of the job; whatever goes wrong is the epilog's to mend.

    Args:
        job_id: as of ``tidy_node``.
        incarnation: as of ``tidy_node``.
        nodes: the nodes.
        age_s: as of ``tidy_node``.
    """
    from slurmkit.launch import leftovers  # noqa: PLC0415
    from slurmkit.supervise.agent_step import step_environment, step_options  # noqa: PLC0415

    program = [sys.executable, "-I", "-S", str(Path(leftovers.__file__)), "--job-id", job_id]
    program += ["--mark", f"SLURMKIT_INCARNATION={incarnation}"]
    program += ["--max-age-s", f"{age_s:.1f}", "--grace-s", str(_GRACE_S)]
    command = ["srun", *step_options(nodes), "--job-name=slurmkit-tidy", *program]
    try:
        subprocess.run(
            command,
            env=step_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_STEP_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return


def age_s() -> float:
    """Return how long this process has run, seconds."""
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_s


def leave_nothing(job: JobContext, incarnation: str, nodes: Sequence[str]) -> str:
    """Tidy this node and, by a step, some others; return what was done on this one.

    Args:
        job: the job.
        incarnation: of this supervisor.
        nodes: the nodes of the step that has ended; empty to leave all but this one alone.
    """
    if not job.key:
        return ""
    others = [node for node in nodes if node != job.host]
    if others:
        tidy_others(job.job_id, incarnation, others, age_s())
    return tidy_node(job.job_id, incarnation, age_s())
