"""Push a job aside, as a more important one does."""

import subprocess
import time

from slurmkit.errors import UsageError
from slurmkit.sandbox import console
from slurmkit.sandbox.layout import LOGIN, URGENT, Layout
from slurmkit.sandbox.record import SandboxError

_POLL_S = 0.1


def preempt(layout: Layout, job: str, hold_s: int, timeout_s: float) -> str:
    """Submit a job that takes a running job's nodes; return when it runs there.

    It is of the partition ``urgent``, or of QOS ``high`` where there are accounts.

    Args:
        layout: the sandbox.
        job: id of a running job.
        hold_s: seconds that the urgent job runs; then the nodes are free again.
        timeout_s: most seconds to wait until it runs.

    Returns:
        The id of the urgent job.

    Raises:
        UsageError: jobs of this sandbox do not push each other aside, or the job does not run.
        SandboxError: the urgent job does not start in time.
    """
    if layout.preempt_grace_s is None and not layout.accounting:
        raise UsageError(
            f"sandbox {layout.name} has no partition {URGENT}",
            hint="make one with: slurmkit sandbox up --preempt-grace 0, or with --accounting",
        )
    state, _, nodes = _squeue(layout, job, "%T %N").partition(" ")
    if state != "RUNNING" or not nodes:
        raise UsageError(f"job {job} does not run (it is {state.lower() or 'unknown'})")
    how = "--qos=high" if layout.accounting else f"--partition={URGENT}"
    words = ["sbatch", "--parsable", how, f"--nodelist={nodes}", "--exclusive"]
    words += ["--job-name=urgent", "--output=/dev/null", "--no-requeue"]
    urgent = _run(layout, [*words, "--wrap", f"sleep {hold_s}"]).partition(";")[0].strip()
    deadline = time.monotonic() + timeout_s
    # The jobs in its way are gone by then: it starts in their place.
    while _squeue(layout, urgent, "%T") in ("PENDING", "CONFIGURING"):
        if time.monotonic() > deadline:
            why = _squeue(layout, urgent, "%r")
            _run(layout, ["scancel", urgent])
            raise SandboxError(f"job {urgent} did not push job {job} aside: it waits for {why}")
        time.sleep(_POLL_S)
    return urgent


def _squeue(layout: Layout, job: str, form: str) -> str:
    words = ["squeue", "--noheader", "--states=all", f"--jobs={job}", f"--format={form}"]
    return _run(layout, words).strip()


def _run(layout: Layout, argv: list[str]) -> str:
    try:
        done = console.run(layout, LOGIN, argv, cwd="/")
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"{argv[0]} did not answer in 60 s") from error
    if done.returncode != 0:
        raise SandboxError(f"{' '.join(argv)} failed: {done.stderr.strip()}")
    return done.stdout
