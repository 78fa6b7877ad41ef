"""What a run is doing, as values: built from Slurm's view and the run's own ledger."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RankFailure:
    """The rank that failed first.

    Attributes:
        rank: global rank; None when Slurm did not say.
        host: node name.
        exit_code: what the program returned; None when a signal ended it.
        signal: what ended it, such as ``SIGKILL``; empty for none.
        detail: Slurm's words on it, such as ``Out Of Memory``; empty for none.
        reason: the exception, or the last lines that the rank wrote.
        attempt: which attempt, from 1.
    """

    rank: int | None
    host: str
    exit_code: int | None
    signal: str
    reason: str
    detail: str = ""
    attempt: int = 1


@dataclass(frozen=True)
class ElementStatus:
    """One element of an array or sweep, or the only one of an ordinary run.

    Attributes:
        task: array index; None for an ordinary run.
        values: the swept values by name.
        state: Slurm's state, such as RUNNING; from the ledger when Slurm has forgotten the job.
        reason: why it is pending or failed, in Slurm's words.
        exit_code: exit code of the batch script; None until it ended.
        nodes: allocated hosts as a host list.
        attempts: how often it was started.
        failure: the rank that failed first; None when none did.
        jobs: Slurm's ids of its jobs, which went on one after another, the newest last.
        restarts: attempts after the first.
        step: the last step that the program has told of; None when it tells of none.
        committed_step: the newest checkpoint that counts; None without any.
        spares: nodes that are held ready, as a host list.
        excluded: nodes that are not used any more, as a host list.
    """

    task: int | None
    values: dict[str, str]
    state: str
    reason: str = ""
    exit_code: int | None = None
    nodes: str = ""
    attempts: int = 0
    start_time: float | None = None
    end_time: float | None = None
    failure: RankFailure | None = None
    jobs: list[str] = field(default_factory=list)
    restarts: int = 0
    step: int | None = None
    committed_step: int | None = None
    spares: str = ""
    excluded: str = ""


@dataclass(frozen=True)
class RunStatus:
    """A run and all its elements; times are Unix seconds.

    Attributes:
        job_id: of the job that has the run now; of an array that of the first job.
        state: of an ordinary run its job's; of an array RUNNING while any element is, PENDING
            while all wait, COMPLETED when all have, else the first bad end.
        ok: True when everything ended with success.
        done: True when everything ended.
    """

    name: str
    run_id: str
    job_id: str
    state: str
    ok: bool
    done: bool
    run_dir: str
    submit_time: float
    elements: list[ElementStatus] = field(default_factory=list)


_ACTIVE = ("RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING")
_WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")


def overall_state(states: list[str]) -> str:
    """Return one state for the elements of an array; see RunStatus.state."""
    for group in (_ACTIVE, _WAITING):
        if found := next((state for state in states if state in group), None):
            if group is _WAITING and any(state not in _WAITING for state in states):
                return "RUNNING"  # some are through, others wait
            return found
    return next((state for state in states if state != "COMPLETED"), "COMPLETED")
