"""`slurmkit run --hosts`: a job on machines without Slurm, by mpirun over SSH."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slurmkit import __version__
from slurmkit.api.hosts_script import (
    HostsLaunch,
    environment_of_ranks,
    write_launch,
)
from slurmkit.api.local import (
    LocalRun,
    OnOutput,
    OnProblem,
    checkpoint_environment,
    command_of,
    element_environment,
    grace_s,
    mpi_environment,
    prepared_environment,
    text_of,
    write_run_dir,
)
from slurmkit.api.preparing import expanded, prepare, run_root_of
from slurmkit.api.secrets import read_secret_values
from slurmkit.errors import InvalidInputError, Problem
from slurmkit.hostlist import compress, expand
from slurmkit.hosts import files
from slurmkit.hosts.lookup import read_hosts
from slurmkit.hosts.model import Hosts
from slurmkit.hosts.mpi import Family, ssh_mpirun, version_line
from slurmkit.hosts.probe import Question, ask
from slurmkit.hosts.select import select
from slurmkit.hosts.ssh import resolve
from slurmkit.hosts.tidy import Tidied, all_tidy, forget, note_start, noted, tidy, tidy_after_dead
from slurmkit.launch.local import LocalJob, LocalResult
from slurmkit.launch.local import run_local as run_ranks
from slurmkit.rundir.layout import RunDir, new_run_id
from slurmkit.rundir.secretfile import remove_secrets, write_secrets
from slurmkit.site.lookup import find_site
from slurmkit.slurm import scrubbed_environment
from slurmkit.spec.loader import Job

__all__ = ["CleanedRun", "clean_hosts", "etc_hosts", "run_on_hosts"]

#: Below the shared folder of hosts.yaml.
RUNS_NAME = "slurmkit-runs"
_SECONDS_FOR_ANSWERS = 20.0


@dataclass(frozen=True)
class CleanedRun:
    """What was tidied up after a run whose starter was killed.

    Attributes:
        run_id: the run.
        hosts: what was done on each host.
    """

    run_id: str
    hosts: list[Tidied]


def run_on_hosts(
    job: Job,
    hosts_path: Path,
    *,
    site: str | None = None,
    task: int | None = None,
    on_output: OnOutput,
    on_problem: OnProblem | None = None,
) -> LocalRun:
    """Run a job on the hosts of a file by mpirun; return how it went once nothing of it is left.

    Args:
        job: what ``load`` returned.
        hosts_path: hosts.yaml.
        site: site.yaml or its folder; None looks in the usual places.
        task: which element of an array or sweep; None for a job that is neither.
        on_output: is given whole lines of the merged stream, each with its rank in front.
        on_problem: told of what could not be tidied up, and of what else is worth knowing.

    Raises:
        UsageError: the job cannot run this way, or there are too few hosts or slots.
        HostsError: some hosts cannot take part; names each and why.
        SlurmkitError: the software section fails, or there is no mpirun.
    """
    return _HostsRun(job, hosts_path, site, task, on_problem or (lambda _problem: None)).run(
        on_output
    )


def clean_hosts(hosts_path: Path, *, site: str | None = None) -> list[CleanedRun]:
    """Tidy the hosts of every run that a killed ``slurmkit run --hosts`` has left.

    Raises:
        InvalidInputError: hosts.yaml is wrong.
    """
    root = _run_root(read_hosts(hosts_path), site)
    return [CleanedRun(run_id, found) for run_id, found in tidy_after_dead(root)]


def etc_hosts(hosts_path: Path) -> str:
    """Return the lines for /etc/hosts of all hosts.

    Raises:
        InvalidInputError: hosts.yaml is wrong.
        SlurmkitError: the address of a host is not known.
    """
    hosts = read_hosts(hosts_path)
    return files.etc_hosts(hosts.hosts, resolve(hosts.hosts))


def _run_root(hosts: Hosts, site: str | None) -> Path:
    """Return where runs keep their files: in the shared folder, if hosts.yaml names one."""
    root = run_root_of(find_site(site))
    if hosts.shared_dir is None:
        return root
    shared = expanded(hosts.shared_dir)
    return root if root.is_relative_to(shared) else shared / RUNS_NAME


class _HostsRun:
    """One run, from the question whether the hosts can take part to the last file removed."""

    def __init__(
        self, job: Job, hosts_path: Path, site: str | None, task: int | None, tell: OnProblem
    ) -> None:
        self._job = job
        self._task = task
        self._tell = tell
        self._family: Family = "openmpi"
        self._hosts = read_hosts(hosts_path)
        self._root = _run_root(self._hosts, site)
        self._run_id = new_run_id()
        self._prepared = prepare(job, site=site, run_id=self._run_id, run_root=self._root)
        self._plan = self._prepared.plan
        for problem in (*job.warnings, *self._refusals()):
            tell(problem)
        resources = job.spec.resources
        self._selected = select(
            self._hosts,
            self._plan.shape.num_nodes,
            self._plan.shape.tasks_per_node,
            wanted=expand(resources.nodelist or ""),
            excluded=expand(resources.exclude or ""),
        )

    def _refusals(self) -> list[Problem]:
        """Return what is different here from a cluster.

        Raises:
            InvalidInputError: the job cannot run without Slurm.
        """
        spec, source = self._job.spec, self._job.source

        def problem(message: str, key: str, hint: str, *, warning: bool = False) -> Problem:
            return Problem(message, key, source.locate(key), hint, "hosts", warning)

        if spec.software.container is not None:
            hint = "use --set software.container=null, or a cluster"
            key = "software.container"
            raise InvalidInputError([problem("`run --hosts` starts no containers", key, hint)])
        if spec.launch.launcher == "torchrun":
            hint = "write launcher: srun: mpirun then starts every rank itself"
            message = "`run --hosts` starts ranks by mpirun, not by torchrun"
            raise InvalidInputError([problem(message, "launch.launcher", hint)])
        if self._plan.recovery is not None:
            message = "without Slurm nothing is started again after a failure"
            return [problem(message, "resilience", "", warning=True)]
        return []

    def run(self, on_output: OnOutput) -> LocalRun:
        self._clean_after_others()
        note = note_start(self._root, self._run_id, self._hosts, self._selected)
        began = time.monotonic()
        started = False
        try:
            self._ask(Question(shared_file=str(note), **_own_versions(self._plan.slurmkit)))
            element_env = element_environment(self._job, self._plan, self._task)
            secrets = read_secret_values(self._job.spec, self._job.base_dir)
            run_dir = write_run_dir(self._prepared, self._job, list(secrets.values()))
            base = scrubbed_environment(os.environ, secret_names=frozenset(secrets))
            given = {
                **element_env,
                "SLURMKIT_RUN_DIR": str(run_dir.path),
                "SLURMKIT_RUN_ID": self._run_id,
                **mpi_environment(self._plan),
                **checkpoint_environment(self._plan, run_dir.element(self._task), element_env),
            }
            env = prepared_environment(self._prepared, {**base, **given})
            script = self._write_script(run_dir, env, base, secrets)
            started = True
            try:
                result = self._start(run_dir, script, env, on_output)
            finally:
                remove_secrets(run_dir.path)
        finally:
            if not started or self._tidy(time.monotonic() - began):
                forget(note)
        return LocalRun(
            name=run_dir.name,
            run_id=run_dir.run_id,
            run_dir=str(run_dir.path),
            exit_code=result.exit_code,
            state=result.state,
            failure=str(result.root_cause) if result.root_cause is not None else "",
        )

    def _ask(self, question: Question) -> dict[str, dict[str, str]]:
        deadline_s = self._hosts.connect_timeout_s + _SECONDS_FOR_ANSWERS
        return ask(self._hosts, self._selected, question, deadline_s)

    def _write_script(
        self,
        run_dir: RunDir,
        env: Mapping[str, str],
        base: Mapping[str, str],
        secrets: dict[str, str],
    ) -> Path:
        """Find the MPI, ask the hosts for it and the program, and write what mpirun needs."""
        command = command_of(self._job, env)
        workdir = text_of(self._plan.workdir, env)
        mpirun = ssh_mpirun(command if self._plan.kind == "mpi" else (), env, Path(workdir))
        answers = self._ask(
            Question(
                mpirun=mpirun.path,
                mpirun_version=version_line(mpirun, env),
                daemon=mpirun.daemon,
                workdir=workdir,
                program=command[0],
                path=env.get("PATH", os.defpath),
            )
        )
        self._family = mpirun.family
        write_secrets(run_dir.path, secrets)
        environment = environment_of_ranks(env, base, dict(self._plan.env))
        launch = HostsLaunch(
            hosts=self._hosts,
            selected=self._selected,
            mpirun=mpirun,
            rdma_hosts=[name for name, said in answers.items() if said.get("rdma", "0") != "0"],
            workdir=workdir,
            command=command,
        )
        return write_launch(self._prepared, run_dir, launch, environment)

    def _start(
        self, run_dir: RunDir, script: Path, env: Mapping[str, str], on_output: OnOutput
    ) -> LocalResult:
        job = LocalJob(
            argv=("bash", str(script)),
            workdir=self._job.base_dir,
            num_nodes=self._plan.shape.num_nodes,
            ranks_per_node=self._plan.shape.tasks_per_node,
            env=env,
            launcher="openmpi" if self._family == "openmpi" else "hydra",
            grace_s=grace_s(self._plan),
            hosts=tuple(host.name for host in self._selected),
        )
        return run_ranks(job, run_dir.element(self._task), on_output)

    def _tidy(self, age_s: float) -> bool:
        """Tidy the hosts of this run; return whether nothing is left."""
        with _undisturbed():
            found = tidy(self._hosts, self._selected, self._run_id, age_s)
        self._report(self._run_id, found)
        return all_tidy(found)

    def _clean_after_others(self) -> None:
        for run_id, found in tidy_after_dead(self._root):
            self._report(run_id, found)
        selected = {host.name for host in self._selected}
        for _, other in noted(self._root):
            shared = selected.intersection(other.selected)
            if shared and other.is_here() and other.lives():
                message = f"{compress(sorted(shared))} already run {other.run_id}"
                hint = "both runs share the hosts' cores; slots are counted for each run alone"
                self._tell(Problem(message, hint=hint, code="hosts-busy", warning=True))

    def _report(self, run_id: str, found: Sequence[Tidied]) -> None:
        for item in found:
            if item.left:
                message = f"{item.host}: after run {run_id} is left: {'; '.join(item.left[:3])}"
                hint = "slurmkit run --hosts HOSTS.yaml --clean tries again"
                self._tell(Problem(message, hint=hint, code="hosts-left", warning=True))


def _own_versions(slurmkit: str) -> dict[str, str]:
    """Return what is asked of the hosts about slurmkit, which starts every rank."""
    return {
        "slurmkit": slurmkit,
        "slurmkit_version": f"slurmkit {__version__}",
        "python": sys.executable,
        "python_version": f"Python {sys.version.split()[0]}",
    }


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave Ctrl-C and TERM for later: hosts that are half tidy would stay so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
