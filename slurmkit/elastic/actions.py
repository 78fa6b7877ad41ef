"""What Slurm's calls do: start, stop, and tell Slurm of what did not start.

Slurm may call twice for a node (slurm.conf(5), ResumeProgram: when slurmctld restarts), so both ask
the driver first and leave alone what is as wanted. A node that cannot be started costs the job that
waits for it nothing but time: Slurm is told at once, requeues the job, and tries the node again.
After some failures in a row the node stays down until somebody looks.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from slurmkit.elastic import record
from slurmkit.elastic.driver import Driver, DriverError, State
from slurmkit.elastic.record import Entry
from slurmkit.errors import SlurmkitError
from slurmkit.record import Record

#: Beginning of every reason that we give a node, so that an admin sees who it was.
REASON = "slurmkit elastic:"
_MAX_FAILURES = 3
_FORGET_S = 3600.0


class Power(Protocol):
    """What Slurm is told."""

    def give_up(self, host: str, reason: str, *, keep_down: bool) -> None:
        """Tell that a node did not start; its jobs are requeued."""


class Outcome(Record):
    """What became of a call.

    Attributes:
        done: hosts that the driver was told of.
        skipped: hosts that were as wanted already.
        failed: why, for each host that failed.
        kept_down: hosts that failed so often that they stay down.
    """

    done: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    kept_down: tuple[str, ...] = ()


class Actions:
    """Starts and stops nodes by a driver.

    Args:
        driver: what does it.
        power: how Slurm is told.
        log: the log file.
        clock: the present, Unix seconds.
    """

    def __init__(
        self, driver: Driver, power: Power, log: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self._driver = driver
        self._power = power
        self._log = log
        self._clock = clock

    def start(self, hosts: Sequence[str]) -> Outcome:
        """Start nodes (ResumeProgram), and tell Slurm at once of those that cannot be."""
        outcome = self._act("start", hosts, wanted=("running", "starting"), act=self._driver.start)
        return self._report(outcome)

    def stop(self, hosts: Sequence[str]) -> Outcome:
        """Stop nodes (SuspendProgram)."""
        return self._act("stop", hosts, wanted=("stopped", "stopping"), act=self._driver.stop)

    def start_failed(self, hosts: Sequence[str]) -> Outcome:
        """Stop nodes that did not register in time (ResumeFailProgram), and count it."""
        why = "it did not register with Slurm in time"
        started = self._clock()
        self._note("failed", hosts, dict.fromkeys(hosts, why), (), started)
        stopped = self.stop(hosts)
        failed = {**dict.fromkeys(hosts, why), **dict(stopped.failed)}
        return self._report(Outcome(tuple(hosts), (), tuple(failed.items())))

    def _act(
        self,
        action: str,
        hosts: Sequence[str],
        *,
        wanted: tuple[State, ...],
        act: Callable[[Sequence[str]], Mapping[str, str]],
    ) -> Outcome:
        started = self._clock()
        hosts = list(dict.fromkeys(hosts))
        skipped = self._already(hosts, wanted)
        todo = [host for host in hosts if host not in skipped]
        try:
            failed = dict(act(todo)) if todo else {}
        except DriverError as error:
            failed = dict.fromkeys(todo, error.message)
        self._note(action, todo, failed, skipped, started)
        done = tuple(host for host in todo if host not in failed)
        return Outcome(done, tuple(skipped), tuple(failed.items()))

    def _already(self, hosts: Sequence[str], wanted: tuple[State, ...]) -> list[str]:
        """Return hosts that are as wanted; a driver that cannot say so is asked to act on all."""
        try:
            states = self._driver.list(hosts)
        except DriverError:
            return []
        return [host for host in hosts if states.get(host, "unknown") in wanted]

    def _note(
        self,
        action: str,
        hosts: Sequence[str],
        failed: Mapping[str, str],
        skipped: Sequence[str],
        started: float,
    ) -> None:
        now = self._clock()
        entry = Entry(
            now, action, tuple(hosts), tuple(failed.items()), tuple(skipped), now - started
        )
        record.append(self._log, entry)

    def _report(self, outcome: Outcome) -> Outcome:
        """Tell Slurm of every host that failed; one that it does not hear of holds up no other."""
        if not outcome.failed:
            return outcome
        since = self._clock() - _FORGET_S
        counts = record.failures_in_a_row(record.read_tail(self._log), since)
        kept, failed = [], []
        for host, said in outcome.failed:
            why = said
            keep_down = counts.get(host, 1) >= _MAX_FAILURES
            if keep_down:
                kept.append(host)
            reason = f"{REASON} start failed: {why}"
            try:
                self._power.give_up(host, reason, keep_down=keep_down)
            except SlurmkitError as error:
                why = f"{why}; and Slurm was not told: {error.message}"
            failed.append((host, why))
        return outcome.replace(failed=tuple(failed), kept_down=tuple(kept))
