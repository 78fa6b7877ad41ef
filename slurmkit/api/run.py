"""One submitted run: its status, its end, its logs, and how to cancel it."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence

from slurmkit.api.history import ElementHistory, read_history
from slurmkit.api.logs import LogSelection, follow_logs, read_logs
from slurmkit.api.status import ElementStatus, RunStatus, overall_state
from slurmkit.errors import SlurmkitError
from slurmkit.rundir.jobs import mark_cancelled, successors, unmark_cancelled
from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.secretfile import remove_secrets
from slurmkit.rundir.submission import Submission
from slurmkit.slurm import Client, JobInfo
from slurmkit.slurm.states import DONE_STATES

# Polling starts quick, for short jobs, and slows down, for the controller's sake.
_CANCEL_S = 30.0
_FIRST_POLL_S, _LAST_POLL_S, _POLL_GROWTH = 0.5, 10.0, 1.3
# A job that Slurm knows nothing of at first may only just have been submitted.
_UNKNOWN_PATIENCE_S = 20.0
_DONE = frozenset(state.value for state in DONE_STATES) | {"UNKNOWN"}


class Run:
    """A run that was submitted.

    Attributes:
        name: the run's name.
        run_id: its id, unique under the run root.
        job_id: Slurm's id of its first job; of an array the array's.
        dir: the run directory.
    """

    def __init__(self, run_dir: RunDir, submission: Submission, client: Client | None) -> None:
        self._run_dir = run_dir
        self._submission = submission
        self._client = client
        self.name = run_dir.name
        self.run_id = run_dir.run_id
        self.job_id = submission.job_id
        self.dir = run_dir.path

    def __repr__(self) -> str:
        return f"Run({self.name!r}, {self.run_id!r}, job_id={self.job_id!r})"

    def describe(self) -> dict[str, object]:
        """Return what identifies the run, as ``submit --json`` prints it."""
        return {
            "name": self.name,
            "run_id": self.run_id,
            "job_id": self.job_id,
            "cluster": self._submission.cluster,
            "backend": self._submission.backend,
            "run_dir": str(self.dir),
        }

    def status(self) -> RunStatus:
        """Return what the run is doing now, by one question to Slurm and a look at its ledger.

        Raises:
            SlurmUnreachableError: Slurm does not answer.
        """
        ids = self.job_ids()
        jobs = self._client.jobs(ids) if self._client and ids else {}
        return self.status_from(list(jobs.values()))

    def job_ids(self) -> list[str]:
        """Return the ids of all its jobs so far: the first, and those that went on after it."""
        later = [
            id_ for element in self._run_dir.elements().values() for id_ in successors(element)
        ]
        return list(dict.fromkeys(id_ for id_ in (self.job_id, *later) if id_))

    def status_from(self, jobs: Sequence[JobInfo]) -> RunStatus:
        """Return the status by what Slurm already said; for many runs asked about at once.

        Args:
            jobs: any jobs; those of this run are picked out.
        """
        history = read_history(self._run_dir)
        known = {(str(job.key.job_id), job.key.task): job for job in jobs}
        first = {task for job_id, task in known if job_id == self.job_id}
        elements = []
        for task in _tasks(first, history, is_array=self._submission.array):
            of_element = history.get(task) or ElementHistory()
            ids = [id_ for id_ in (self.job_id, *of_element.successors) if id_]
            job = known.get((ids[-1], task)) if ids else None
            elements.append(_element(task, job, of_element, ids))
        state = overall_state([element.state for element in elements])
        done = all(element.state in _DONE for element in elements)
        if done and state != "UNKNOWN":
            remove_secrets(self.dir)  # whatever kept the job from doing so itself
        return RunStatus(
            name=self.name,
            run_id=self.run_id,
            job_id=self._newest(elements),
            state=state,
            ok=done and state == "COMPLETED",
            done=done,
            run_dir=str(self.dir),
            submit_time=self._submission.time,
            elements=elements,
        )

    def _newest(self, elements: Sequence[ElementStatus]) -> str:
        if self._submission.array or not elements[0].jobs:
            return self.job_id
        return elements[0].jobs[-1]

    def wait(
        self,
        timeout_s: float | None = None,
        on_change: Callable[[RunStatus], None] | None = None,
    ) -> RunStatus:
        """Wait until every element has ended and return the last status.

        Args:
            timeout_s: seconds to wait at most; None for ever.
            on_change: told whenever the state of any element changes.

        Raises:
            TimeoutError: it has not ended in time; it goes on.
            SlurmUnreachableError: Slurm does not answer.
        """
        start, pause, last = time.monotonic(), _FIRST_POLL_S, None
        while True:
            status = self.status()
            summary = [(element.state, element.reason) for element in status.elements]
            if on_change is not None and summary != last:
                on_change(status)
            last = summary
            waited = time.monotonic() - start
            if status.done and not (status.state == "UNKNOWN" and waited < _UNKNOWN_PATIENCE_S):
                return status
            if timeout_s is not None and waited >= timeout_s:
                raise TimeoutError(f"{self.name} is still {status.state} after {timeout_s:g} s")
            left = _LAST_POLL_S if timeout_s is None else timeout_s - waited
            time.sleep(max(0.0, min(pause, left)))
            pause = min(pause * _POLL_GROWTH, _LAST_POLL_S)

    def logs(
        self,
        *,
        follow: bool = False,
        rank: int | None = None,
        task: int | None = None,
        attempt: int | None = None,
        lines: int | None = None,
        on_change: Callable[[RunStatus], None] | None = None,
    ) -> Iterator[bytes]:
        """Yield what the run wrote, whole lines in blocks of bytes.

        Args:
            follow: go on until the run ends.
            rank: only this rank's lines, from its own file.
            task: only this element of the array.
            attempt: this attempt's; None for the newest.
            lines: start at the last so many lines.
            on_change: told of changes of state while following.

        Raises:
            SlurmkitError: there is no such rank, element or attempt.
        """
        selection = LogSelection(self.job_id, rank, task, attempt, lines)
        if not follow:
            return read_logs(self._run_dir, selection)
        return follow_logs(self._run_dir, selection, self.status, on_change)

    def resume(self) -> str:
        """Start the run again where it stopped, in its own folder, and return the new job's id.

        It goes on from its newest checkpoint; of an array only the elements that did not complete.

        Raises:
            UsageError: it is still running, complete, or was not submitted by slurmkit.
            SlurmError: Slurm refuses.
        """
        from slurmkit.api.resuming import resume_run  # noqa: PLC0415 - few runs are resumed

        return resume_run(self, self._run_dir, self._client)

    def cancel(self, signal: str | None = None) -> RunStatus:
        """End the run, pending or running, or only send its processes a signal.

        Args:
            signal: such as ``USR2``; None ends the run.

        Raises:
            SlurmError: Slurm refuses.
        """
        if self._client is None or not self.job_id:
            raise SlurmkitError(f"{self.name} has no job that could be cancelled")
        if signal is not None:
            self._client.cancel(self.job_ids(), signal)
            return self.status()
        mark_cancelled(self._run_dir)  # first: whatever starts it again must find this
        ids = self.job_ids()
        try:
            self._client.cancel(ids)
        except SlurmkitError:
            unmark_cancelled(self._run_dir)  # nothing was cancelled, so it may go on by itself
            raise
        return self._wait_for_cancelled(self._client, set(ids))

    def _wait_for_cancelled(self, client: Client, cancelled: set[str]) -> RunStatus:
        deadline = time.monotonic() + _CANCEL_S
        while True:
            # A successor may have been on its way.
            if new := [job_id for job_id in self.job_ids() if job_id not in cancelled]:
                client.cancel(new)
                cancelled.update(new)
            status = self.status()
            # Later its processes are still being ended.
            if status.done or time.monotonic() > deadline:
                return status
            time.sleep(_FIRST_POLL_S)


def _tasks(
    asked: Collection[int | None],
    history: dict[int | None, ElementHistory],
    *,
    is_array: bool,
) -> list[int | None]:
    if not is_array:
        return [None]
    known = sorted({task for task in (*asked, *history) if task is not None})
    return [*known] or [None]


def _element(
    task: int | None, job: JobInfo | None, history: ElementHistory, ids: list[str]
) -> ElementStatus:
    state = job.state.value if job is not None else "UNKNOWN"
    exit_code = job.exit_code if job is not None else None
    if state == "UNKNOWN" and history.exit_code is not None:  # Slurm forgets; the ledger does not
        state = "COMPLETED" if history.exit_code == 0 else "FAILED"
        exit_code = history.exit_code
    return ElementStatus(
        task=task,
        values=history.values,
        state=state,
        reason=job.reason if job is not None else "",
        exit_code=exit_code,
        nodes=(job.nodes if job is not None else "") or history.nodes,
        attempts=history.attempts,
        start_time=(job.start_time if job is not None else None) or history.start_time,
        end_time=(job.end_time if job is not None else None) or history.end_time,
        failure=history.failure if state != "COMPLETED" else None,
        jobs=ids,
        restarts=max(0, history.attempts - 1),
        step=history.step,
        committed_step=history.committed_step,
        spares=history.spares,
        excluded=history.excluded,
    )
