"""Do the ranks of all nodes find each other, and add up right? Only on request: it starts MPI."""

import re
from collections.abc import Iterable, Sequence

from slurmkit.doctor.allreduce import MARK
from slurmkit.doctor.link import Answer, Link, Place, fail, passed, skipped

_SAID = re.compile(rf"{MARK} (\S+) (\d+) (\d+) (\d+) (.*)")
# Lines around what an MPI complains of.
_FRAME = re.compile(r"[-\s]*|.*(?:Job step aborted|STEP .* CANCELLED|Terminating).*")


def judge(
    lines: Iterable[str], complaints: Sequence[str], hosts: Sequence[str]
) -> dict[str, Answer]:
    """Return the answer for each host, from what one rank on each printed.

    Args:
        lines: standard output of the step.
        complaints: its standard error.
        hosts: the hosts, one rank each.
    """
    said = {found[1]: found for line in lines if (found := _SAID.fullmatch(line.strip()))}
    count = len(hosts)
    answers = {}
    for host in hosts:
        found = said.get(host)
        if found is None:
            answers[host] = fail(f"its rank did not finish: {_first(complaints)}")
            continue
        rank, size, total = (int(found[group]) for group in (2, 3, 4))
        facts = {"MPI of the ranks": found[5]}
        if size != count:
            text = f"its MPI_COMM_WORLD has {size} of {count} ranks"
            answers[host] = fail(text, facts)
        elif total != count * (count + 1) // 2:
            answers[host] = fail(f"MPI_Allreduce gave {total}", facts)
        else:
            answers[host] = passed(f"{count} ranks add up, by {found[5]}", facts)
        if sum(int(other[2]) == rank for other in said.values()) > 1 and size == count:
            answers[host] = fail(f"rank {rank} is there twice", facts)
    return answers


def _first(complaints: Sequence[str]) -> str:
    """Return the first line that says something."""
    return next((line.strip() for line in complaints if not _FRAME.fullmatch(line)), "no word")[
        :200
    ]


def _look(_place: Place) -> Answer:
    return skipped("it needs several nodes of Slurm: --nodes, or a job")


LINK = Link(
    id="allreduce",
    group="software",
    reads="one MPI_Allreduce over a rank on each node, by mpi4py of the python3 on PATH, with the "
    "variables of the site's fabric; only when it is named (`--only allreduce`)",
    limits="fails when nothing that Slurm has fits the MPI, a rank does not end, MPI_COMM_WORLD "
    "has not all ranks, or the sum is wrong",
    todo="see what `slurmkit mpi` says of plugin and MPI, and what the ranks print under "
    "`slurmkit submit` of the starter hello-mpi",
    look=_look,
    on_request=True,
)
