"""The protocol that every backend speaks, what goes in and out of it, and the choice of backend."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from slurmkit.errors import SlurmkitError, UsageError
from slurmkit.limits import Limits
from slurmkit.slurm.states import JobId, JobInfo, JobKey

Backend = Literal["auto", "cli", "pyslurm"]

#: How a job's comment says which submission made it; find_by_token looks for it.
TOKEN_PREFIX = "slurmkit:"  # noqa: S105 (no password)


def new_token() -> str:
    """Return a token that no other submission has."""
    return os.urandom(16).hex()


@dataclass(frozen=True)
class SubmitRequest:
    """One job to submit.

    Attributes:
        script: the batch script: a Path is a file, a str is the text itself.
        args: further sbatch options, such as ``("--hold",)``; they win over its directives.
        token: what makes the submission idempotent; two requests with one token are one job.
        comment: the user's own comment, kept behind the token; a ``--comment`` among the script's
            directives is lost.
        cwd: the folder the job starts in; None for the present one.
        env: variables to set for the job over the scrubbed environment.
        secret_names: variables that must not reach the job through Slurm.
        again: an earlier attempt with this token may have been taken: look for it first.
    """

    script: Path | str
    args: Sequence[str] = ()
    token: str = field(default_factory=new_token)
    comment: str = ""
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    secret_names: frozenset[str] = frozenset()
    again: bool = False

    @property
    def job_comment(self) -> str:
        """The comment the job gets: the token, then the user's own words."""
        return f"{TOKEN_PREFIX}{self.token} {self.comment}".rstrip()


@dataclass(frozen=True)
class SubmitResult:
    """A job that Slurm took.

    Attributes:
        job_id: Slurm's id; of a heterogeneous job the leader's, of an array the array's.
        cluster: the cluster's name; empty when Slurm did not say.
        token: the request's token.
        backend: ``cli`` or ``pyslurm``.
        recovered: True when Slurm's answer was lost and the job was found by its token.
    """

    job_id: int
    cluster: str
    token: str
    backend: str
    recovered: bool = False


SubmitOutcome = SubmitResult | SlurmkitError


class Client(Protocol):
    """One Slurm cluster. Every method raises SlurmUnreachableError when nobody answers."""

    name: str

    def version(self) -> tuple[int, int]:
        """Return the release as (major, minor), such as (22, 5) or (26, 5)."""

    def limits(self) -> Limits:
        """Return what the cluster offers and allows, by one round of concurrent queries."""

    def submit(self, request: SubmitRequest) -> SubmitResult:
        """Submit one job exactly once, also when Slurm's answer is lost.

        Raises:
            RefusedError: Slurm refuses it; the message is Slurm's.
            SlurmError: anything else that Slurm says.
        """

    def submit_many(self, requests: Sequence[SubmitRequest]) -> list[SubmitOutcome]:
        """Submit several jobs at once; a refused one is an error in its place in the list."""

    def jobs(
        self, ids: Iterable[JobId] | None = None, *, user: str | None = None
    ) -> dict[JobKey, JobInfo]:
        """Return the jobs asked for by id, of one user, or (neither given) all.

        The number of programs started does not depend on the number of jobs. ``12`` yields each
        task of array 12 and each component of a heterogeneous job 12. An id that Slurm does not
        know (any more) yields a JobInfo whose state is UNKNOWN.
        """

    def job(self, job: JobId) -> JobInfo:
        """Return one job; of a whole array or het job its first task or leader."""

    def job_exists(self, job: JobId) -> bool:
        """Whether Slurm has a record of the job, running or ended."""

    def find_by_token(self, token: str) -> JobInfo | None:
        """Return the job that was submitted with this token, or None."""

    def cancel(self, ids: Iterable[JobId], signal: str | None = None) -> None:
        """Cancel jobs, or send them a signal such as ``USR2``; ended jobs are left in peace."""


def connect(backend: Backend | str = "auto") -> Client:
    """Return a client for the cluster that this machine belongs to.

    ``auto`` takes pyslurm when it is installed and matches the cluster's release, else the
    programs sbatch, squeue and so on.

    Raises:
        SlurmUnreachableError: no Slurm here, or the asked backend is not usable.
    """
    if backend not in ("auto", "cli", "pyslurm"):
        raise UsageError(f"no backend {backend!r}", hint="choose auto, cli or pyslurm")
    # Callers that need only states and requests pay for no backend.
    from slurmkit.slurm.cli import CliClient  # noqa: PLC0415

    client = CliClient()
    client.ping()
    if backend == "cli":
        return client
    from slurmkit.slurm import pyslurm_backend  # noqa: PLC0415

    if backend == "auto" and pyslurm_backend.why_not_usable():
        return client
    return pyslurm_backend.PyslurmClient()
