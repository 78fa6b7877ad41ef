"""The supervisor's own records in the ledger: how a life of the job began, and what was decided."""

from slurmkit.checkpoint.layout import StepSummary
from slurmkit.supervise.boot import Inherited, Life
from slurmkit.supervise.journal import Journal
from slurmkit.supervise.policy_values import Decide, State


def note_start(journal: Journal, attempt: int, life: Life, state: State) -> None:
    """Write down that this life of the job has begun.

    Args:
        journal: the ledger.
        attempt: the number that its first attempt will have.
        life: what it starts from.
        state: what the policy starts from.
    """
    job = life.job
    if life.handed is not None:
        _note_handed_over(journal, max(1, attempt - 1), life.handed, job.job_id, state)
    journal.note(
        "incarnation_started",
        attempt,
        job_id=job.job_id,
        array_task=job.array_task,
        array_size=job.array_size,
        restart_count=job.restart_count,
        nodes=job.nodes,
        host=job.host,
        excluded=list(state.bad),
        remedies=list(state.rules.remedies),
    )


def note_decision(journal: Journal, attempt: int, decision: Decide) -> None:
    """Write down what was decided, and what is left of the budget after it."""
    state = decision.state
    journal.note(
        "decision",
        attempt,
        action=decision.choice,
        reason=decision.reason,
        nodes=list(state.nodes),
        excluded=list(state.bad),
        restarts_left=state.restarts_left,
        restarts=state.restarts,
        application_restarts=state.application_restarts,
    )


def _note_handed_over(
    journal: Journal, attempt: int, handed: Inherited, job_id: str, state: State
) -> None:
    """Write what the supervisor of the job before could not: it died with its node."""
    host, reason = handed.host, handed.reason
    why = "its supervisor died with it"
    journal.note("node_lost", attempt, host=host, silent_s=None, why=why)
    journal.note("node_excluded", attempt, host=host, reason=reason)
    journal.note("failure", attempt, kind="node", key="", host=host, reason=reason, step=None)
    done = "submitted this job" if handed.way == "successor" else "requeued it"
    words = f"{reason}: an agent of another node has {done}"
    note_decision(journal, attempt, Decide(handed.way, words, state))
    if handed.way == "requeue":
        journal.note("requeued", attempt)
        return
    journal.note(
        "successor_submitted", attempt, job_id=job_id, exclude=[host], former=handed.former
    )


def note_unheard_commit(journal: Journal, attempt: int, step: StepSummary) -> None:
    """Write down a checkpoint that is on disk and that no agent has told of."""
    fields: dict[str, object] = {
        "step": step.step,
        "size_bytes": step.size_bytes,
        "save_s": step.save_s,
        "stall_s": None,
    }
    journal.note_past("checkpoint_committed", attempt, step.time, fields)
