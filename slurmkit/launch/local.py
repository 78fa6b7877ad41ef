"""``slurmkit run``: the same job as local processes, with the same environment, no Slurm."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Literal

from slurmkit.hostlist import compress
from slurmkit.launch.daemons import lost_hosts
from slurmkit.launch.group import Group, Member
from slurmkit.launch.labels import task_label, worker_label
from slurmkit.launch.lines import LineMerger
from slurmkit.launch.messages import hydra_exits, mpirun_exits, torchrun_exits
from slurmkit.launch.outcome import TaskExit, is_killing, judge, root_cause, signal_name
from slurmkit.launch.ports import reserve
from slurmkit.launch.variables import Placement, task_variables
from slurmkit.rundir.layout import ElementDir, rank_log_name
from slurmkit.rundir.ledger import LedgerWriter, new_incarnation
from slurmkit.rundir.logs import AttemptLogs, tail
from slurmkit.rundir.reason import reason_from_log

_ADDRESS = "127.0.0.1"
_EXITS = {"openmpi": mpirun_exits, "hydra": hydra_exits, "torchrun": torchrun_exits}


@dataclass(frozen=True)
class LocalJob:
    """What to run on this machine.

    Attributes:
        argv: the program and its arguments.
        num_nodes: nodes that the job would have; all of their ranks run here.
        ranks_per_node: ranks per node.
        env: the whole environment of the ranks, but for what their place in the job adds.
        secrets: further variables, which appear in no log or ledger that slurmkit writes.
        workdir: folder that the program runs in.
        launcher: what starts the ranks: ``direct`` starts each as a process, ``torchrun`` and
            ``openmpi`` and ``hydra`` (the mpirun of Open MPI, and of MPICH and its relatives) are
            one process that starts them all.
        grace_s: how long ranks may take to end after TERM before they are killed, seconds.
        hosts: the hosts over which ``argv``, itself an mpirun, spreads the ranks; empty for this
            machine alone. ``launcher`` then says how it labels their lines.
        mpirun: for ``openmpi`` and ``hydra`` on this machine: mpirun and its options.
    """

    argv: tuple[str, ...]
    workdir: Path
    num_nodes: int = 1
    ranks_per_node: int = 1
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    launcher: Literal["direct", "torchrun", "openmpi", "hydra"] = "direct"
    grace_s: float = 10.0
    hosts: tuple[str, ...] = ()
    mpirun: tuple[str, ...] = ()

    @property
    def world_size(self) -> int:
        """How many ranks there are."""
        return self.num_nodes * self.ranks_per_node


@dataclass(frozen=True)
class LocalResult:
    """How it went.

    Attributes:
        exit_code: 0, or that of the first rank that failed, as a shell has it.
        state: ``completed``, ``failed`` or ``cancelled``.
        root_cause: the rank that failed first; None when none did.
        attempt: number of the attempt in the run directory.
    """

    exit_code: int
    state: str
    root_cause: TaskExit | None
    attempt: int


def run_local(
    job: LocalJob, element: ElementDir, on_output: Callable[[bytes], None]
) -> LocalResult:
    """Run a job on this machine; all of its processes have ended when this returns.

    The first rank that fails, Ctrl-C and TERM end all ranks: TERM, then KILL after the grace.

    Args:
        job: what to run.
        element: where logs and ledger go; made if it is missing.
        on_output: is given the merged stream, whole lines with ``[rank 3] `` in front.

    Raises:
        NotStartedError: the program cannot be started.
        SlurmkitError: no port is free.
    """
    ledger = LedgerWriter(element, new_incarnation("local", 0))
    try:
        return _LocalRun(job, element, ledger, on_output).run()
    finally:
        ledger.close()


def torchrun_command(argv: tuple[str, ...], num_ranks: int, log_dir: Path) -> tuple[str, ...]:
    """Return the torchrun that starts a program's ranks on this machine alone."""
    options = (
        "--standalone",
        "--nnodes=1",
        f"--nproc-per-node={num_ranks}",
        "--tee=3",
        f"--log-dir={log_dir}",
    )
    if len(argv) > 1 and Path(argv[0]).name.startswith("python") and argv[1].endswith(".py"):
        return (argv[0], "-m", "torch.distributed.run", *options, *argv[1:])
    return ("torchrun", "--no-python", *options, *argv)


def rank_environment(job: LocalJob, rank: int, port: int) -> dict[str, str]:
    """Return the environment of one rank, as ``slurmkit exec`` would make it under Slurm."""
    local_rank = rank % job.ranks_per_node
    node_rank = rank // job.ranks_per_node
    place = Placement(
        rank, job.world_size, local_rank, job.ranks_per_node, node_rank, job.num_nodes
    )
    env = {**job.env, **job.secrets}
    return {
        **env,
        **task_variables(place, env),
        "MASTER_ADDR": _ADDRESS,
        "MASTER_PORT": str(port),
    }


class _LocalRun:
    """One attempt on this machine."""

    def __init__(
        self,
        job: LocalJob,
        element: ElementDir,
        ledger: LedgerWriter,
        on_output: Callable[[bytes], None],
    ) -> None:
        self._job = job
        self._ledger = ledger
        self._on_output = on_output
        self._attempt = element.new_attempt()
        self._logs = AttemptLogs(element.attempt_dir(self._attempt))
        self._merger = LineMerger()
        self._worker_lines = LineMerger()
        self._host = os.uname().nodename
        self._exits: list[TaskExit] = []
        self._ended_by: int | None = None

    def run(self) -> LocalResult:
        self._note(
            "attempt_started",
            job_id="local",
            array_task=None,
            restart_count=0,
            nodes=compress(self._job.hosts) if self._job.hosts else self._host,
            host=self._host,
            command=list(self._job.argv),
        )
        port, holder = reserve(os.getpid())
        group = Group(self._job.grace_s)
        try:
            with self._handlers(group):
                self._start(group, port)
                # Of an mpirun over hosts, rank 0 itself chooses where the others meet it.
                met = "" if self._job.hosts else f"{_ADDRESS}:{port}"
                self._note("step_started", rendezvous=met)
                while group.members:
                    self._turn(group)
        finally:
            group.kill()
            if holder:
                holder.close()
            self._take_labelled(self._worker_lines.finish())
            self._write(self._merger.finish())
            self._logs.close()
        return self._result()

    def _start(self, group: Group, port: int) -> None:
        job = self._job
        attempt = {"SLURMKIT_ATTEMPT": str(self._attempt)}
        if job.launcher != "direct":
            command, extra = self._launcher(port)
            group.start(None, command, {**job.env, **job.secrets, **attempt, **extra}, job.workdir)
            return
        for rank in range(job.world_size):
            env = {**rank_environment(job, rank, port), **attempt}
            group.start(rank, job.argv, env, job.workdir)

    def _launcher(self, port: int) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return the command that starts all ranks, and the environment that it needs."""
        job = self._job
        if job.hosts:
            return job.argv, {}
        if job.launcher == "torchrun":
            label = {"TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": "[${rank}]: "}
            return torchrun_command(job.argv, job.world_size, self._logs.folder / "torchrun"), label
        rendezvous = {"MASTER_ADDR": _ADDRESS, "MASTER_PORT": str(port)}
        if os.geteuid() == 0:  # Open MPI refuses root unless it is asked twice; this user asked
            rendezvous |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        return (*job.mpirun, "-n", str(job.world_size), *job.argv), rendezvous

    def _turn(self, group: Group) -> None:
        for member, returncode in group.wait(self._take):
            if returncode != 0:
                if self._ended_by is None:  # else Ctrl-C ended it, not a fault of its own
                    self._failed(member.rank, returncode)
                group.end()

    def _take(self, member: Member, chunk: bytes) -> None:
        """Put a piece of one process's output into its rank's log and the merged stream."""
        if member.rank is not None:
            self._logs.write_rank(member.rank, chunk)
            self._write(self._merger.feed(b"[rank %d] " % member.rank, chunk))
            return
        self._take_labelled(self._worker_lines.feed(b"", chunk))

    def _take_labelled(self, lines: bytes) -> None:
        """Take whole lines of a launcher, each of which says whose it is."""
        # Not splitlines: a progress bar's carriage returns are in the middle of a line.
        for text in lines.split(b"\n")[:-1]:
            line = text + b"\n"
            if self._job.launcher in ("openmpi", "hydra"):
                rank, cut = task_label(line, self._job.launcher)
            else:
                rank, cut = worker_label(line)
            if rank is None:
                self._logs.write_node(self._host, line)
                self._write(b"[node %s] " % os.fsencode(self._host) + line)
            else:
                self._logs.write_rank(rank, line[cut:])
                self._write(b"[rank %d] " % rank + line[cut:])

    def _write(self, merged: bytes) -> None:
        if merged:
            self._logs.write_merged(merged)
            self._on_output(merged)

    def _failed(self, rank: int | None, returncode: int) -> None:
        for exit_ in self._blamed(rank, returncode):
            silent = exit_.detail or (is_killing(exit_) and self._exits)
            reason = "" if silent else self._reason(exit_.rank)
            host = self._host_of(exit_)
            judged = judge(replace(exit_, host=host, reason=reason), self._exits)
            self._exits.append(judged)
            self._note("task_exited", **judged.fields())

    def _host_of(self, exit_: TaskExit) -> str:
        hosts = self._job.hosts
        if not hosts or exit_.host in hosts or (exit_.rank is None and exit_.host):
            return exit_.host or self._host
        return self._host if exit_.rank is None else hosts[exit_.rank // self._job.ranks_per_node]

    def _blamed(self, rank: int | None, returncode: int) -> list[TaskExit]:
        """Return the ranks that failed, given the process that did."""
        if rank is None:
            said = tail(self._logs.node_log_path(self._host)).decode("utf-8", "replace")
            if workers := lost_hosts(said) or _EXITS[self._job.launcher](said):
                return workers
        if returncode < 0:
            return [TaskExit(rank, self._host, signal=signal_name(-returncode))]
        return [TaskExit(rank, self._host, exit_code=returncode)]

    def _reason(self, rank: int | None) -> str:
        log = self._logs.node_log_path(self._host)
        if rank is not None:
            log = self._logs.folder / rank_log_name(rank)
        text = reason_from_log(tail(log))
        for secret in self._job.secrets.values():
            text = text.replace(secret, "***") if secret else text
        return text

    def _result(self) -> LocalResult:
        cause = root_cause(self._exits)
        if self._ended_by is not None:
            code, state, cause = 128 + self._ended_by, "cancelled", None
        elif cause:
            code, state = cause.shell_code, "failed"
        else:
            code, state = 0, "completed"
        self._note(
            "attempt_ended",
            exit_code=code,
            state=state,
            reason=str(cause) if cause else "",
            root_cause=cause.fields() if cause else None,
            num_task_exits_omitted=0,
        )
        return LocalResult(code, state, cause, self._attempt)

    def _note(self, event: str, **fields: object) -> None:
        self._ledger.append(event, self._attempt, at=None, **fields)

    @contextmanager
    def _handlers(self, group: Group) -> Iterator[None]:
        """End the ranks on Ctrl-C and TERM, and at once on the second; only the main thread can."""

        def end(number: int, _frame: FrameType | None) -> None:
            if self._ended_by is None:
                self._ended_by = number
                group.end()
            else:
                group.hurry()

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        previous = {number: signal.signal(number, end) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
