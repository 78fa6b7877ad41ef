"""Turn a launcher's output into log files and into the list of tasks that failed."""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

from slurmkit.launch.labels import LAUNCHER, Labels
from slurmkit.launch.messages import hydra_exits, mpirun_exits, srun_exits, torchrun_exits
from slurmkit.launch.outcome import TaskExit, is_killing, judge
from slurmkit.rundir.atomic import write_all
from slurmkit.rundir.logs import MERGED_NAME, AttemptLogs, tail
from slurmkit.rundir.reason import reason_from_log
from slurmkit.supervise.giving_up import GaveUp, gave_up
from slurmkit.supervise.splitter import Batch, Splitter

# A task's last lines may reach us after srun's word that it ended, on a busy node well after.
_SETTLE_S = 2.0
#: Most task ends that are recorded one by one; when 10,000 ranks are killed, the first tell all.
MAX_EXITS = 256
_LAUNCHER_LOGS = {
    "srun": "srun.log",
    "torchrun": "srun.log",
    "openmpi": "mpirun.log",
    "hydra": "mpirun.log",
}


class Recorder:
    """Takes the launcher's output.

    Args:
        logs: where lines go.
        labels: who put the labels there.
        hosts: names of the step's nodes by number.
        on_exit: is given each failed task, in order.
        secrets: texts that no reason may repeat, should a rank have written them.

    Attributes:
        exits: tasks that failed, in the order in which the launcher named them.
        num_omitted: how many more there were.
        gave_up: that Slurm could do no more for the step, if it said so before any task failed.
    """

    def __init__(
        self,
        logs: AttemptLogs,
        labels: Labels,
        hosts: list[str],
        on_exit: Callable[[TaskExit], None],
        secrets: Collection[str] = (),
    ) -> None:
        self.exits: list[TaskExit] = []
        self.num_omitted = 0
        self.gave_up: GaveUp | None = None
        self._logs = logs
        self._labels = labels
        self._splitter = Splitter(labels, hosts)
        self._on_exit = on_exit
        self._secrets = [text for text in secrets if text]
        self._echo: int | None = 1
        self._waiting: list[TaskExit] = []
        self._settled_at = 0.0
        self._nodes: set[str] = set()
        self._node_launchers: list[TaskExit] = []

    def output(self, chunk: bytes) -> None:
        """Take a chunk of output."""
        self._take(self._splitter.feed(chunk))
        if self._waiting and time.monotonic() > self._settled_at:
            self._settle()

    def idle(self) -> None:
        """Nothing came for a while: pass on what waits."""
        if self._splitter.has_pending:
            self._take(self._splitter.flush())
        if self._waiting and time.monotonic() > self._settled_at:
            self._settle()

    def _take(self, batch: Batch) -> None:
        for source, data in batch.parts.items():
            if source.kind == "rank":
                self._logs.write_rank(source.number, data)
            elif source.kind == "node":
                host = self._splitter.host(source.number)
                self._nodes.add(host)
                self._logs.write_node(host, data)
            elif self._labels in _LAUNCHER_LOGS:
                self._logs.write(_LAUNCHER_LOGS[self._labels], data)
        self._logs.write_merged(batch.merged)
        self._write_echo(batch.merged)
        if not (self.gave_up or self.exits or self._waiting):
            self.gave_up = gave_up(batch.merged)
        if batch.parts.get(LAUNCHER):
            self._look_for_exits(batch.launcher_lines)

    def _write_echo(self, data: bytes) -> None:
        if self._echo is None:
            return
        try:
            write_all(self._echo, data)
        except OSError:
            self._echo = None  # nobody reads it any more, or its disk is full; the logs go on

    def _look_for_exits(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            if line.startswith(b"srun: error: "):
                found = srun_exits(line.decode("utf-8", "replace"))
                if self._labels in ("openmpi", "hydra"):
                    continue  # srun's tasks are mpirun's daemons: its own last words tell the rank
                if self._labels == "torchrun":  # srun's tasks are torchruns, not ranks
                    self._node_launchers += [replace(exit_, rank=None) for exit_ in found]
                    continue
                if found and not self._waiting:
                    self._settled_at = time.monotonic() + _SETTLE_S
                self._waiting += found

    def _settle(self) -> None:
        """Record the tasks that have ended, now that their last lines are there."""
        waiting, self._waiting = self._waiting, []
        for exit_ in waiting:
            self.add(exit_)

    def add(self, exit_: TaskExit) -> None:
        """Record one failed task."""
        if len(self.exits) >= MAX_EXITS:
            self.num_omitted += 1
            return
        reason = exit_.reason
        killed = is_killing(exit_) and bool(self.exits)
        if exit_.rank is not None and not reason and not killed:
            reason = reason_from_log(self._logs.rank_tail(exit_.rank))
        exit_ = judge(replace(exit_, reason=self._redacted(reason)), self.exits)
        self.exits.append(exit_)
        self._on_exit(exit_)

    def finish(self, host: str, returncode: int) -> None:
        """The launcher has ended: record what only its closing words tell.

        Args:
            host: this host, where the launcher ran.
            returncode: the launcher's, as a shell has it.
        """
        self.idle()
        self._settle()
        if returncode == 0:
            return
        for exit_ in self._closing_words(host, returncode):
            self.add(exit_)

    def _closing_words(self, host: str, returncode: int) -> list[TaskExit]:
        if self._labels == "torchrun":
            workers = torchrun_exits(_text(*[self._logs.node_log_path(h) for h in self._nodes]))
            return workers or [self._with_node_reason(exit_) for exit_ in self._node_launchers]
        if self._labels == "openmpi":
            said = _text(self._logs.folder / _LAUNCHER_LOGS["openmpi"])
            return mpirun_exits(said) or [TaskExit(None, host, exit_code=returncode)]
        if self._labels == "hydra":
            said = _text(self._logs.folder / _LAUNCHER_LOGS["hydra"])
            return hydra_exits(said) or [TaskExit(None, host, exit_code=returncode)]
        if self._labels == "none":
            reason = reason_from_log(tail(self._logs.folder / MERGED_NAME))
            return [TaskExit(None, host, exit_code=returncode, reason=reason)]
        return []

    def _with_node_reason(self, exit_: TaskExit) -> TaskExit:
        return replace(exit_, reason=reason_from_log(tail(self._logs.node_log_path(exit_.host))))

    def launcher_reason(self) -> str:
        """Return the launcher's own last lines, for when no task is known to have failed."""
        return self._redacted(reason_from_log(tail(self._launcher_log)))

    def launcher_tail(self) -> str:
        """Return the end of what the launcher itself said."""
        return self._redacted(_text(self._launcher_log))

    @property
    def _launcher_log(self) -> Path:
        return self._logs.folder / _LAUNCHER_LOGS.get(self._labels, MERGED_NAME)

    def _redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _text(*paths: Path) -> str:
    return "\n".join(tail(path).decode("utf-8", "replace") for path in paths)
