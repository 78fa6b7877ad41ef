"""Examine this host, the nodes of a job, or hosts by SSH: what ``slurmkit doctor`` does."""

import math
import os
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slurmkit.api.doctor_allreduce import with_allreduce
from slurmkit.api.doctor_hosts import Answers, ask_by_srun, ask_by_ssh
from slurmkit.api.preparing import run_root_of
from slurmkit.doctor.checks import allreduce
from slurmkit.doctor.checks.shared import PREFIX
from slurmkit.doctor.link import Link
from slurmkit.doctor.node import Request, examine
from slurmkit.doctor.registry import GROUPS, all_links, links_of
from slurmkit.doctor.report import DoctorReport, make_report
from slurmkit.errors import UsageError
from slurmkit.hostlist import expand
from slurmkit.site.fabric import Fabric, environment, expectation
from slurmkit.site.fabric_presets import Expectation
from slurmkit.site.lookup import FoundSite, find_site
from slurmkit.slurm.everywhere import own_job, step_of_job

if TYPE_CHECKING:
    from slurmkit.hosts.model import Hosts

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
    hosts = _hosts(where)
    found = find_site(what.site)
    fabric = _fabric(found, where, os.environ)
    within_s = max(5.0, what.deadline_s - _START_S)
    request = Request(
        token=secrets.token_hex(6),
        only=what.only,
        fabric=expectation(fabric) if fabric else Expectation(),
        shared_dir=_shared(found, hosts, what.shared_dir),
        ssh=("ssh", "-oBatchMode=yes", "-oConnectTimeout=5") if what.ssh else (),
        root=what.root,
        wait_s=min(15.0, within_s / 2),
        within_s=within_s,
    )
    try:
        if hosts is not None:
            reports, silent = ask_by_ssh(hosts, request, within_s + _START_S)
        else:
            variables = environment(fabric) if fabric else {}
            reports, silent = _ask(where, request, os.environ, {**variables, **os.environ})
    finally:
        _clean(request)
    return make_report(links, reports, silent)


def _ask(
    where: Where, request: Request, env: Mapping[str, str], ranks: Mapping[str, str]
) -> Answers:
    """Ask by srun, or look here; ``ranks`` is the environment of an MPI program."""
    deadline_s = request.within_s + _START_S
    wants_allreduce = allreduce.LINK.id in request.only
    if where.nodes is not None:
        if "SLURM_JOB_ID" in env:
            raise UsageError(
                f"--nodes inside job {env['SLURM_JOB_ID']}",
                hint="leave it out: the nodes of the job are examined",
            )
        srun = own_job(
            where.nodes,
            partition=where.partition,
            account=where.account,
            wait_s=where.wait_s,
            minutes=1 + math.ceil(deadline_s / 60),
        )
        reports, silent = ask_by_srun(srun, request, env, deadline_s + where.wait_s)
        if wants_allreduce and not silent:
            same = f"--nodelist={','.join(report.host for report in reports)}"
            reports = with_allreduce(reports, [*srun, same], ranks, deadline_s, inside_job=False)
        return reports, silent
    if not where.here and "SLURM_JOB_ID" in env and env.get("SLURM_JOB_NODELIST"):
        nodes = tuple(expand(env["SLURM_JOB_NODELIST"]))
        step = step_of_job(nodes)
        reports, silent = ask_by_srun(step, request, env, deadline_s, nodes)
        if wants_allreduce and not silent:
            reports = with_allreduce(reports, step, ranks, deadline_s, inside_job=True)
        return reports, silent
    return [examine(request.replace(name=os.uname().nodename), env)], {}


def _links(only: tuple[str, ...]) -> tuple[Link, ...]:
    try:
        return links_of(only)
    except KeyError as unknown:
        names = ", ".join([*(link.id for link in all_links()), *GROUPS])
        raise UsageError(f"no link {unknown.args[0]!r}", hint=f"choose from: {names}") from None


def _fabric(found: FoundSite, where: Where, env: Mapping[str, str]) -> Fabric | None:
    """Return the site's fabric; None where the partition that is looked at is not on it."""
    fabric = found.site.fabric
    partition = where.partition or env.get("SLURM_JOB_PARTITION", "")
    if fabric and fabric.partitions and partition and partition not in fabric.partitions:
        return None
    return fabric


def _hosts(where: Where) -> "Hosts | None":
    """Return the hosts of hosts.yaml; None where none was named."""
    if sum([where.here, where.nodes is not None, where.hosts_file is not None]) > 1:
        raise UsageError("--here, --nodes and --hosts exclude each other")
    if where.nodes is None and (where.partition or where.account):
        raise UsageError(
            "--partition and --account are those of a job of doctor's own",
            hint="name its size, too: --nodes 2",
        )
    if where.hosts_file is None:
        return None
    from slurmkit.hosts.lookup import read_hosts  # noqa: PLC0415 (few come this way)

    return read_hosts(where.hosts_file)


def _shared(found: FoundSite, hosts: "Hosts | None", given: str | None) -> str:
    """Return the folder to try: the one that was named, else where runs are kept."""
    if given is not None:
        return str(Path(given).expanduser().absolute()) if given else ""
    if hosts is not None and hosts.shared_dir:
        return os.path.expandvars(Path(hosts.shared_dir).expanduser())
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
