"""What Slurm called a run's job, written once by the submitter."""

import getpass
import json
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from slurmkit.errors import SlurmkitError
from slurmkit.rundir.atomic import atomic_write
from slurmkit.rundir.layout import RunDir

INDEX_NAME = ".index"


@dataclass(frozen=True)
class Submission:
    """One submission.

    Attributes:
        job_id: Slurm's id; of an array the array's; empty for a run without Slurm.
        cluster: the cluster's name; empty when Slurm did not say.
        backend: how it was submitted, ``cli`` or ``pyslurm``; ``local`` for a run without Slurm.
        token: what makes submitting idempotent.
        time: Unix seconds.
        user: who submitted it.
        host: from where.
        array: whether the job is an array.
    """

    job_id: str
    cluster: str
    backend: str
    token: str
    time: float
    user: str
    host: str
    array: bool = False


def new_submission(
    job_id: str, cluster: str, backend: str, token: str, *, is_array: bool
) -> Submission:
    """Return a submission made here and now by the present user."""
    user, host = getpass.getuser(), socket.gethostname()
    return Submission(job_id, cluster, backend, token, time.time(), user, host, is_array)


def write_submission(run: RunDir, submission: Submission) -> None:
    """Write it durably, and note the job id in the run root's index.

    Raises:
        OSError: the run directory cannot be written.
    """
    atomic_write(run.submission_path, json.dumps(asdict(submission), indent=2) + "\n")
    if not submission.job_id:
        return
    index_dir = run.run_root / INDEX_NAME
    try:
        index_dir.mkdir(exist_ok=True)
        # Not durable: whoever reads it looks whether that run has the job, and searches otherwise.
        index_path(run.run_root, submission.job_id).write_text(f"{run.path}\n", encoding="utf-8")
    except OSError:
        pass  # the index only saves a search; the run directory holds the truth


def read_submission(run: RunDir) -> Submission | None:
    """Return what the submitter wrote; None when the job was not submitted through slurmkit.

    Raises:
        SlurmkitError: the file is damaged.
    """
    try:
        values = json.loads(run.submission_path.read_bytes())
        return Submission(**values)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise SlurmkitError(f"{run.submission_path}: not a submission record ({error})") from error


def index_path(run_root: Path, job_id: str) -> Path:
    """Return where the index notes the run of a job."""
    return run_root / INDEX_NAME / f"job-{job_id}"
