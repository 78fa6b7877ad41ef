"""How doctor asks other hosts: by a step of srun, or by SSH."""

import os
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from slurmkit.doctor.checks import clock, ssh
from slurmkit.doctor.link import passed
from slurmkit.doctor.node import HostReport, Request, from_lines, last_of
from slurmkit.errors import SlurmError
from slurmkit.slurm.everywhere import hear

if TYPE_CHECKING:
    from slurmkit.hosts.model import Hosts
    from slurmkit.hosts.outcome import Outcome

#: What the hosts found, and why those that said nothing did not.
Answers = tuple[list[HostReport], dict[str, str]]

# A message that was long on its way looks like a clock that is behind, and never like one that is
# ahead: seconds that are forgiven, (ahead, behind).
_SRUN_DELAY_S = (0.3, 5.0)
# Of SSH nobody knows when the last line came, but only how long all of it took.
_SSH_DELAY_S = (1.0, 5.0)

# What srun says when it gets no job, before it says why.
_NO_JOB = "Unable to allocate resources"


def ask_by_srun(
    srun: Sequence[str],
    request: Request,
    env: Mapping[str, str],
    deadline_s: float,
    nodes: tuple[str, ...] = (),
) -> Answers:
    """Ask every node of a step.

    Args:
        srun: the words of srun, without the command.
        request: what to look at.
        env: the environment.
        deadline_s: seconds for all of it.
        nodes: the nodes of the job that we are in; empty for nodes that srun gets itself.

    Raises:
        SlurmError: Slurm gives no nodes, or srun fails and no node answers.
    """
    heard = hear(srun, _command(request), env, deadline_s=deadline_s, inside_job=bool(nodes))
    arrived = {host: at for at, line in heard.lines if (host := last_of(line))}
    reports = from_lines(line for _, line in heard.lines)
    if not reports and (refused := [line for line in heard.complaints if _NO_JOB in line]):
        why = refused[-1].rpartition(_NO_JOB)[2].strip(": ")
        raise SlurmError(
            f"Slurm gives doctor no nodes: {why}",
            hint="see sinfo; ask for fewer nodes, another --partition or --account, or --wait",
        )
    if not reports:
        said = "; ".join(heard.complaints[-4:]) or "nothing on stderr"
        raise SlurmError(
            f"no node answered; srun: {said}",
            hint="see whether srun itself works: srun -N1 hostname; slurmkit has to be at the same "
            "path on the nodes",
        )
    expected = nodes or reports[0].hosts
    silent = {
        host: _why(host, heard.complaints, heard.code, deadline_s)
        for host in expected
        if host not in {report.host for report in reports}
    }
    skews = {r.host: r.time - arrived[r.host] for r in reports if r.host in arrived}
    return _in_order(_with_clocks(reports, skews, _SRUN_DELAY_S), expected), silent


def _why(host: str, complaints: Iterable[str], code: int | None, deadline_s: float) -> str:
    """Return what srun said of a host that did not answer."""
    lines = [line.removeprefix("srun: ").removeprefix("error: ") for line in complaints]
    named = [line for line in lines if host in line]
    if named:
        return named[-1]
    if code is None:
        return f"nothing within {deadline_s:g} s"
    return lines[-1] if lines else "srun said nothing of it"


def ask_by_ssh(hosts: "Hosts", request: Request, deadline_s: float) -> Answers:
    """Ask every host of hosts.yaml.

    mpirun starts its daemons from here, so that the hosts need no keys for each other; whether they
    have is tried where the request names SSH.
    """
    from slurmkit.hosts.ssh import run_all, ssh_command  # noqa: PLC0415 (few come this way)

    names = tuple(host.name for host in hosts.hosts)
    request = request.replace(
        hosts=names,
        addresses=tuple(host.address or host.name for host in hosts.hosts),
        ssh=tuple(ssh_command(hosts, hosts.hosts[0], "")[:-2]) if request.ssh else (),
    )
    started = time.time()
    reports: list[HostReport] = []
    silent: dict[str, str] = {}
    skews: dict[str, float] = {}
    for name, outcome in run_all(hosts, _ssh_line(request), deadline_s).items():
        found = from_lines(outcome.stdout.splitlines())
        if not found:
            silent[name] = _silence(outcome)
            continue
        report = found[0].replace(host=name)
        skews[name] = report.time - (started + outcome.seconds)
        if ssh.LINK.id in report.answers and not request.ssh:
            reached = passed("reached from here without a password")
            report = report.replace(answers={**report.answers, ssh.LINK.id: reached})
        reports.append(report)
    return _in_order(_with_clocks(reports, skews, _SSH_DELAY_S), names), silent


def _silence(outcome: "Outcome") -> str:
    if outcome.fault is not None:
        return f"{outcome.fault.message} ({outcome.fault.hint})"
    said = outcome.stderr.strip().splitlines()
    return f"exit code {outcome.exit_code}: {said[-1] if said else 'it said nothing'}"


def _ssh_line(request: Request) -> str:
    """Return the line for a login shell, which tells each host its name by what SSH was told."""
    path = shlex.quote(os.environ.get("PATH", os.defpath))
    return f"PATH={path}:$PATH exec {shlex.join(_command(request))}"


def _command(request: Request) -> list[str]:
    return [sys.executable, "-m", "slurmkit.doctor.node", request.to_json()]


def _with_clocks(
    reports: list[HostReport], skews: Mapping[str, float], delays_s: tuple[float, float]
) -> list[HostReport]:
    """Return the reports with an answer about each host's clock, where that was asked for."""
    found = []
    for report in reports:
        answers = dict(report.answers)
        if report.host in skews and clock.LINK.id in answers:
            skew_s = skews[report.host]
            answers[clock.LINK.id] = clock.judge(skew_s, delays_s[skew_s < 0])
        found.append(report.replace(answers=answers))
    return found


def _in_order(reports: list[HostReport], hosts: tuple[str, ...]) -> list[HostReport]:
    places = {host: place for place, host in enumerate(hosts)}
    return sorted(reports, key=lambda report: places.get(report.host, len(places)))
