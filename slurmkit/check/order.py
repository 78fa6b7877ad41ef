"""Checks of what must come first."""

from collections.abc import Iterator

from slurmkit.check.registry import About, Problems, local
from slurmkit.check.subject import Subject
from slurmkit.spec.models import After, is_job_id

_FAILURES = "FAILED CANCELLED TIMEOUT NODE_FAIL OUT_OF_MEMORY BOOT_FAIL DEADLINE LAUNCH_FAILED"
_NEVER_OK = frozenset(_FAILURES.split())
_NEVER = {"ok": _NEVER_OK, "notok": frozenset({"COMPLETED"})}


def _known(subject: Subject) -> Iterator[tuple[str, str, list[After], str | None]]:
    """Yield key, name, the wishes it may stand for, and state of every job that was asked for."""
    wishes = subject.spec.after
    by_text = {str(after.run): (f"after.{i}", after) for i, after in enumerate(wishes)}
    runs = [entry for text, entry in by_text.items() if text not in subject.facts.known_jobs]
    for name, state in subject.facts.known_jobs.items():
        if name in by_text:
            key, after = by_text[name]
            yield key, name, [after], state
        elif len(runs) == 1 and is_job_id(name):
            yield runs[0][0], name, [runs[0][1]], state
        else:
            # The job of one of several runs: which one, only whoever looked it up knows.
            yield "after", name, [after for _, after in runs], state


@local(
    About(
        "dependency-unknown",
        "Slurm has a record of the runs and jobs under after.",
        "Slurm knows no job '4711' to come first",
    )
)
def dependency_unknown(subject: Subject) -> Problems:
    """Find jobs that Slurm does not know: it drops such a dependency and starts at once."""
    for key, name, _, state in _known(subject):
        if state is None:
            yield subject.problem(
                key,
                f"Slurm knows no job {name!r} to come first",
                "Correct the id, or leave it out: Slurm forgets a job some time after its end.",
            )


@local(
    About(
        "dependency-never-met",
        "What comes first can still end as this job wants it to.",
        "job '4711' has ended as FAILED, and this job is to start after its success",
    )
)
def dependency_never_met(subject: Subject) -> Problems:
    """Find jobs whose dependency ended the wrong way; Slurm would kill them or let them pend."""
    for key, name, wishes, state in _known(subject):
        whens = {after.when for after in wishes}
        if len(whens) != 1 or state not in _NEVER.get(next(iter(whens)), frozenset()):
            continue
        wanted = "success" if "ok" in whens else "failure"
        yield subject.problem(
            key,
            f"job {name!r} has ended as {state}, and this job is to start after its {wanted}",
            "Submit that one again, or write when: any.",
        )
