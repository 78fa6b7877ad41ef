"""The portable backend: Slurm's own programs, asked for JSON where the release has it."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from slurmkit.errors import RefusedError, SlurmError, SlurmUnreachableError
from slurmkit.limits import Limits
from slurmkit.slurm import normalise, records
from slurmkit.slurm.client import TOKEN_PREFIX, SubmitOutcome, SubmitRequest, SubmitResult
from slurmkit.slurm.environ import query_environment, scrubbed_environment
from slurmkit.slurm.queries import query_limits
from slurmkit.slurm.runner import Output, Runner, SlurmTimeoutError, no_slurm_here
from slurmkit.slurm.states import JobId, JobInfo, JobKey, job_key
from slurmkit.slurm.submitting import AnswerLostError, Door, submit_all, submit_once

_VERSION = re.compile(r"(\d+)\.(\d+)")
_PARSABLE = re.compile(r"^(\d+)(?:;(.*))?$", re.MULTILINE)
_PING_TIMEOUT_S = 10.0
#: More ids than this make the command line long and the controller's answer no shorter.
_MAX_LISTED_IDS = 1000
_CANCEL_CHUNK = 500
_ALREADY_ENDED = ("Invalid job id", "already completing or completed", "No job identification")


class CliClient:
    """A cluster spoken to through sbatch, squeue, scancel, scontrol, sinfo, sacct and sacctmgr.

    Args:
        environ: the environment of the caller; None for this process's.
        prefix: words before each program's name, such as ``("ssh", "login")``.
        timeout_s: how long one query may take.
        submit_timeout_s: how long one sbatch may take.
    """

    name = "cli"

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        prefix: Sequence[str] = (),
        timeout_s: float = 30.0,
        submit_timeout_s: float = 60.0,
    ) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self._runner = Runner(query_environment(self._environ), tuple(prefix), timeout_s)
        self._submit_timeout_s = submit_timeout_s
        self._accounting: bool | None = None
        self._door = Door(self._send, self._jobs_with_token, self._withdraw)
        if not self._runner.has("sbatch"):
            raise no_slurm_here("sbatch")

    def ping(self) -> None:
        """Return when a controller answers.

        Raises:
            SlurmUnreachableError: none does, or there is no configuration.
        """
        config = self._environ.get("SLURM_CONF", "")
        if config and not self._runner.prefix and not Path(config).is_file():
            # Slurm's programs would look for it for a minute.
            raise SlurmUnreachableError(
                f"SLURM_CONF names {config}, which is no file", hint="correct or unset SLURM_CONF"
            )
        output = self._runner.run(["scontrol", "ping"], timeout_s=_PING_TIMEOUT_S)
        if " is UP" not in output.stdout:
            said = " ".join(output.stdout.split()) or output.complaint or "nothing"
            raise SlurmUnreachableError(
                f"the Slurm controller does not answer; scontrol ping says: {said}",
                hint="use another login node, or ask the site; `slurmkit run` needs no Slurm",
            )

    def version(self) -> tuple[int, int]:
        """Return the release of Slurm's programs here as (major, minor)."""
        return self._version

    @cached_property
    def _version(self) -> tuple[int, int]:
        printed = self._runner.check(["scontrol", "--version"])
        match = _VERSION.search(printed)
        if not match:
            raise SlurmError(f"scontrol --version printed {printed!r}, which names no release")
        return int(match[1]), int(match[2])

    def limits(self) -> Limits:
        """Return what the cluster offers and allows, by one round of concurrent queries."""
        return query_limits(self._runner, self._version)

    def submit(self, request: SubmitRequest) -> SubmitResult:
        """Submit one job exactly once, also when sbatch's answer is lost."""
        return submit_once(self._door, request, self.name)

    def submit_many(self, requests: Sequence[SubmitRequest]) -> list[SubmitOutcome]:
        """Submit several jobs at once; a refused one is an error in its place in the list."""
        return submit_all(self.submit, requests)

    def _send(self, request: SubmitRequest) -> SubmitResult:
        argv = ["sbatch", "--parsable", *request.args, f"--comment={request.job_comment}"]
        script = request.script
        if isinstance(script, Path):
            argv.append(str(script.absolute()))
        try:
            output = self._runner.run(
                argv,
                stdin=script if isinstance(script, str) else None,
                environ=scrubbed_environment(
                    self._environ, overrides=request.env, secret_names=request.secret_names
                ),
                cwd=str(request.cwd) if request.cwd else None,
                timeout_s=self._submit_timeout_s,
            )
        except SlurmTimeoutError as timeout:
            raise AnswerLostError(timeout.message, hint=timeout.hint) from None
        return self._submitted(output, request.token)

    def _submitted(self, output: Output, token: str) -> SubmitResult:
        match = _PARSABLE.search(output.stdout)
        if output.returncode == 0 and match:
            return SubmitResult(int(match[1]), match[2] or "", token, self.name)
        error = output.error()
        if "connect failure" in output.stderr:  # nobody listened: nothing was sent
            raise error
        if output.returncode <= 0 or isinstance(error, SlurmUnreachableError):
            raise AnswerLostError(error.message, hint=error.hint)
        if "Batch job submission failed" in output.stderr:
            raise RefusedError(f"Slurm refuses the job: {output.complaint}")
        raise error

    def _withdraw(self, job_id: int) -> None:
        self.cancel([job_id])

    def jobs(
        self, ids: Iterable[JobId] | None = None, *, user: str | None = None
    ) -> dict[JobKey, JobInfo]:
        """Return jobs by id, of one user, or all: by one squeue and, for the rest, one sacct."""
        if ids is None:
            known = records.listed(self._squeue([f"--user={user}"] if user else []))
            return {job.key: job for job in known if user is None or job.user == user}
        keys = list(dict.fromkeys(job_key(job) for job in ids))
        if not keys:
            return {}
        numbers = sorted({key.job_id for key in keys})
        listed_ids = ",".join(map(str, numbers))
        few = len(numbers) <= _MAX_LISTED_IDS
        known = records.listed(self._squeue([f"--jobs={listed_ids}"] if few else []))
        found = records.select(known, keys)
        # slurmctld forgets each task of an array MinJobAge after that task's end.
        arrays = {JobKey(job.array_job_id) for job in found.values() if job.array_job_id}
        answered = _answered(found) - arrays
        if to_ask := [key for key in keys if key not in answered]:
            found = records.select(self._sacct(to_ask), to_ask) | found
            answered = _answered(found)
        return found | {key: records.unknown(key) for key in keys if key not in answered}

    def _squeue(self, arguments: list[str]) -> list[JobInfo]:
        output = self._runner.run(["squeue", "--json", "--all", "--states=all", *arguments])
        if "Invalid job id" in output.stderr:  # the only id asked for is gone; rc is 0 or 1
            return []
        if output.returncode != 0 or not output.stdout.strip():
            raise output.error()
        rows = normalise.read_rows(output.stdout, "jobs", "squeue --json")
        return [records.from_squeue(row) for row in rows]

    def _sacct(self, keys: Sequence[JobKey]) -> list[JobInfo]:
        """Return what the accounting database says, or nothing when there is none."""
        ids = ",".join(str(number) for number in sorted({key.job_id for key in keys}))
        return self._accounted([f"--jobs={ids}"])

    def _accounted(self, arguments: list[str]) -> list[JobInfo]:
        if self._accounting is False:
            return []
        try:
            output = self._runner.run(["sacct", "--json", "--allocations", *arguments])
            if "accounting storage is disabled" in output.stderr:
                self._accounting = False
            if output.returncode != 0 or not output.stdout.strip():
                return []
            rows = normalise.read_rows(output.stdout, "jobs", "sacct --json")
        except SlurmUnreachableError:  # slurmdbd does not answer, or sacct is not installed
            return []
        return records.listed(records.from_sacct(row) for row in rows)

    def job(self, job: JobId) -> JobInfo:
        """Return one job; of a whole array or het job its first task or leader."""
        key = job_key(job)
        found = self.jobs([key])
        return found[key] if key in found else found[min(found, key=_first)]

    def job_exists(self, job: JobId) -> bool:
        """Whether Slurm has a record of the job, running or ended."""
        return self.job(job).source != "none"

    def find_by_token(self, token: str) -> JobInfo | None:
        """Return the job that was submitted with this token, or None."""
        jobs = self._jobs_with_token(token)
        return jobs[0] if jobs else None

    def _jobs_with_token(self, token: str) -> list[JobInfo]:
        """Return the jobs with this token, oldest first."""
        comment = f"{TOKEN_PREFIX}{token}"
        jobs = [job for job in self._squeue([]) if job.comment.split(" ")[0] == comment]
        if not jobs:
            accounted = self._accounted(["--starttime=now-1days"])
            jobs = [job for job in accounted if job.comment.split(" ")[0] == comment]
        return sorted(jobs, key=lambda job: (job.submission_id, job.job_id))

    def cancel(self, ids: Iterable[JobId], signal: str | None = None) -> None:
        """Cancel jobs, or signal their steps; ended jobs are left in peace."""
        names = [str(job_key(job)) for job in ids]
        options = ["--quiet"] if signal is None else ["--quiet", f"--signal={signal}"]
        for start in range(0, len(names), _CANCEL_CHUNK):
            chunk = names[start : start + _CANCEL_CHUNK]
            output = self._runner.run(["scancel", *options, *chunk])
            problems = [line for line in output.stderr.splitlines() if not _is_harmless(line)]
            if problems and output.unreachable:
                raise output.error()
            if problems:
                raise RefusedError(f"Slurm does not cancel: {'; '.join(problems)}")


def _answered(found: Mapping[JobKey, JobInfo]) -> set[JobKey]:
    """Return the keys that need not be asked for again: whole arrays and het jobs, too."""
    return set(found) | {JobKey(job.submission_id) for job in found.values()}


def _first(key: JobKey) -> tuple[int, int]:
    return key.job_id, -1 if key.task is None else key.task


def _is_harmless(line: str) -> bool:
    return not line.strip() or any(words in line for words in _ALREADY_ENDED)
