"""One MPI_Allreduce over the nodes that doctor examines: the chain's last link, on request."""

from collections.abc import Mapping, Sequence

from slurmkit.api.mpi import describe_mpi
from slurmkit.doctor import allreduce
from slurmkit.doctor.checks.allreduce import LINK, judge
from slurmkit.doctor.link import Answer, fail, skipped
from slurmkit.doctor.node import HostReport
from slurmkit.doctor.programs import find, run
from slurmkit.slurm.everywhere import hear

# Ranks that cannot reach each other wait for ever.
_WITHIN_S = 45.0


def with_allreduce(
    reports: list[HostReport],
    srun: Sequence[str],
    env: Mapping[str, str],
    deadline_s: float,
    *,
    inside_job: bool,
) -> list[HostReport]:
    """Return the reports with what the ranks of one MPI_Allreduce say.

    Args:
        reports: of the hosts that take part, one rank each.
        srun: the words of srun that start a task on each of them.
        env: the environment of the ranks.
        deadline_s: seconds for all of it.
        inside_job: whether srun has to find the job that we are in.
    """
    answers = _answers([r.host for r in reports], srun, env, deadline_s, inside_job)
    return [
        report.replace(answers={**report.answers, LINK.id: answers[report.host]})
        for report in reports
    ]


def _answers(
    hosts: list[str],
    srun: Sequence[str],
    env: Mapping[str, str],
    deadline_s: float,
    inside_job: bool,
) -> dict[str, Answer]:
    def all_alike(answer: Answer) -> dict[str, Answer]:
        return dict.fromkeys(hosts, answer)

    if len(hosts) < 2:
        return all_alike(skipped("one node alone has nobody to talk to"))
    python = find("python3")
    ran = run([python, "-c", "import mpi4py"]) if python else None
    if ran is None or ran.code != 0:
        return all_alike(skipped(f"{python or 'no python3'} on PATH has no mpi4py"))
    program = [python, str(allreduce.__file__)]
    report = describe_mpi(program, num_ranks=len(hosts))
    if report.refusal is not None:
        return all_alike(fail(report.refusal.reason, todo=report.refusal.hint))
    plugin = [f"--mpi={report.choice.plugin}"] if report.choice else []
    own = dict(report.choice.env) if report.choice else {}
    step = [*srun, *plugin, "--kill-on-bad-exit=1"]
    within_s = min(_WITHIN_S, deadline_s)
    heard = hear(step, program, {**env, **own}, deadline_s=within_s, inside_job=inside_job)
    if heard.code is None:
        return all_alike(
            fail(
                f"it did not end within {within_s:g} s",
                todo="ranks that wait for each other: name the interface that leads to the other "
                "nodes (fabric.socket_interface), and see --only fabric",
            )
        )
    return judge((line for _, line in heard.lines), heard.complaints, hosts)
