"""Examine this host, the nodes of a job, or hosts by SSH: what ``slurmkit doctor`` does."""

import os
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slurmkit.api.preparing import run_root_of
from slurmkit.doctor.checks import clock
from slurmkit.doctor.checks.shared import PREFIX
from slurmkit.doctor.link import Fabric, Link
from slurmkit.doctor.node import HostReport, Request, examine, from_lines, last_of
from slurmkit.doctor.registry import GROUPS, all_links, links_of
from slurmkit.doctor.report import DoctorReport, make_report
from slurmkit.errors import SlurmError, UsageError
from slurmkit.hostlist import expand
from slurmkit.site.fabric import expectation
from slurmkit.site.lookup import FoundSite, find_site

# A message that was long on its way looks like a clock that is behind, and never like one that is
# ahead: seconds that are forgiven, (ahead, behind).
_SRUN_DELAY_S = (0.3, 3.0)
# Of SSH nobody knows when the last line came, but only how long all of it took.
_SSH_DELAY_S = (1.0, 3.0)
_FILE_SERVER_S = 3.0
# Of the deadline: until srun or SSH have started the hosts' own part, and it has ended.
_START_S = 10.0


@dataclass(frozen=True)
class Where:
    """Which hosts to examine; with nothing set, the job that we are in, else this host.

    Attributes:
        here: this host alone.
        nodes: so many nodes, in a short job of their own.
        partition: where that job runs; empty for the default.
        account: who pays for it; empty for the default.
        hosts_file: hosts.yaml, whose hosts are reached by SSH.
        wait_s: how long to wait for free nodes.
    """

    here: bool = False
    nodes: int | None = None
    partition: str = ""
    account: str = ""
    hosts_file: Path | None = None
    wait_s: int = 60


@dataclass(frozen=True)
class What:
    """What to examine on them.

    Attributes:
        only: ids of links, or of parts of the chain; empty for all.
        shared_dir: folder on the shared file system; None for where runs are kept, "" for none.
        site: site.yaml or its folder, whose fabric the hosts are held against.
        ssh: whether SSH between nodes is tried where srun would not need it.
        deadline_s: how long all of it may take, seconds.
        root: where ``sys``, ``proc`` and ``dev`` are, with ``%h`` for the host's name.
    """

    only: tuple[str, ...] = ()
    shared_dir: str | None = None
    site: str | None = None
    ssh: bool = False
    deadline_s: float = 120.0
    root: str = "/"


def doctor(where: Where | None = None, what: What | None = None) -> DoctorReport:
    """Look at every link of the chain, on each host, and compare the hosts.

    Args:
        where: which hosts.
        what: which links, and what they are held against.

    Raises:
        UsageError: there is no such link, or the hosts make no sense.
        SlurmError: srun fails, and no node answers.
    """
    where, what = where or Where(), what or What()
    links = _links(what.only)
    found = find_site(what.site)
    within_s = max(5.0, what.deadline_s - _START_S)
    request = Request(
        token=secrets.token_hex(6),
        only=what.only,
        fabric=_fabric(found),
        shared_dir=_shared(found, what.shared_dir),
        ssh=("ssh", "-oBatchMode=yes", "-oConnectTimeout=5") if what.ssh else (),
        root=what.root,
        wait_s=min(15.0, within_s / 2),
        within_s=within_s,
    )
    try:
        reports, silent = _ask(where, request, os.environ, what.deadline_s)
    finally:
        _clean(request)
    return make_report(links, reports, silent)


def _ask(
    where: Where, request: Request, env: Mapping[str, str], deadline_s: float
) -> tuple[list[HostReport], dict[str, str]]:
    chosen = [where.here, where.nodes is not None, where.hosts_file is not None]
    if sum(chosen) > 1:
        raise UsageError("--here, --nodes and --hosts exclude each other")
    if where.hosts_file is not None:
        return _by_ssh(where.hosts_file, request, deadline_s)
    if where.nodes is not None:
        return _by_srun(where, request, env, deadline_s, ())
    if not where.here and "SLURM_JOB_ID" in env and env.get("SLURM_JOB_NODELIST"):
        nodes = tuple(expand(env["SLURM_JOB_NODELIST"]))
        return _by_srun(where, request, env, deadline_s, nodes)
    return [examine(request.replace(name=os.uname().nodename), env)], {}


def _by_srun(
    where: Where,
    request: Request,
    env: Mapping[str, str],
    deadline_s: float,
    nodes: tuple[str, ...],
) -> tuple[list[HostReport], dict[str, str]]:
    from slurmkit.slurm.everywhere import hear, own_job, step_of_job  # noqa: PLC0415

    if nodes:
        srun = step_of_job(nodes)
    else:
        if "SLURM_JOB_ID" in env:
            raise UsageError(
                f"--nodes inside job {env['SLURM_JOB_ID']}",
                hint="leave it out: the nodes of the job are examined",
            )
        srun = own_job(
            where.nodes or 1,
            partition=where.partition,
            account=where.account,
            wait_s=where.wait_s,
        )
        deadline_s += where.wait_s
    command = _command(request)
    heard = hear(srun, command, env, deadline_s=deadline_s, inside_job=bool(nodes))
    arrived = {host: at for at, line in heard.lines if (host := last_of(line))}
    reports = from_lines(line for _, line in heard.lines)
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


def _by_ssh(
    path: Path, request: Request, deadline_s: float
) -> tuple[list[HostReport], dict[str, str]]:
    from slurmkit.hosts.lookup import read_hosts  # noqa: PLC0415 (few come this way)
    from slurmkit.hosts.ssh import run_all, ssh_command  # noqa: PLC0415

    hosts = read_hosts(path)
    names = tuple(host.name for host in hosts.hosts)
    words = ssh_command(hosts, hosts.hosts[0], "")
    request = request.replace(
        hosts=names,
        addresses=tuple(host.address or host.name for host in hosts.hosts),
        ssh=tuple(words[:-2]),
        shared_dir=hosts.shared_dir or request.shared_dir,
    )
    started = time.time()
    reports: list[HostReport] = []
    silent: dict[str, str] = {}
    skews: dict[str, float] = {}
    outcomes = run_all(hosts, _ssh_line(request), deadline_s)
    for name, outcome in outcomes.items():
        found = from_lines(outcome.stdout.splitlines())
        if found:
            reports.append(found[0].replace(host=name))
            skews[name] = found[0].time - (started + outcome.seconds)
        elif outcome.fault is not None:
            silent[name] = f"{outcome.fault.message} ({outcome.fault.hint})"
        else:
            said = outcome.stderr.strip().splitlines()
            last = said[-1] if said else "it said nothing"
            silent[name] = f"exit code {outcome.exit_code}: {last}"
    return _in_order(_with_clocks(reports, skews, _SSH_DELAY_S), names), silent


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


def _links(only: tuple[str, ...]) -> tuple[Link, ...]:
    try:
        return links_of(only)
    except KeyError as unknown:
        names = ", ".join([*(link.id for link in all_links()), *GROUPS])
        raise UsageError(f"no link {unknown.args[0]!r}", hint=f"choose from: {names}") from None


def _fabric(found: FoundSite) -> Fabric:
    if found.site.fabric is None:
        return Fabric()
    return Fabric(**expectation(found.site.fabric)._asdict())


def _shared(found: FoundSite, given: str | None) -> str:
    """Return the folder to try: the one that was named, else where runs are kept."""
    if given is not None:
        return str(Path(given).expanduser().absolute()) if given else ""
    folder = run_root_of(found)
    # None: it hangs, and the link that tries it will say so.
    while _ends_in_time(["test", "-d", str(folder)]) not in (0, None) and folder != folder.parent:
        folder = folder.parent
    return str(folder)


def _clean(request: Request) -> None:
    """Remove what the hosts wrote, without waiting for a file server that hangs."""
    if not request.shared_dir:
        return
    _ends_in_time(["rm", "-rf", str(Path(request.shared_dir, f"{PREFIX}{request.token}"))])


def _ends_in_time(command: list[str]) -> int | None:
    """Run a program that may hang on a dead file server; return its exit code, or None for late.

    It is not waited for then: it cannot be ended before the server answers.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(_FILE_SERVER_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.returncode = 0  # left behind on purpose; Popen shall not warn about it
        return None
