"""When to save and when to stop: what happens at the boundary between two steps."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slurmkit.checkpoint.errors import CheckpointError
from slurmkit.checkpoint.fence import StaleTokenError
from slurmkit.checkpoint.interval import Schedule
from slurmkit.checkpoint.tensors import SaveResult, TensorCheckpointer
from slurmkit.errors import EXIT_STOPPED
from slurmkit.train.agreement import Agreement, Wishes
from slurmkit.train.progress import Progress
from slurmkit.train.signals import SignalFlags

_log = logging.getLogger("slurmkit.train")

#: Kept free before the deadline, so that the processes end by themselves.
_MARGIN_S = 1.0
#: An exchange may cost a rank a millisecond where ranks share cores: not more often than this.
_EXCHANGE_EVERY_S = 0.25
_LONGEST_STRIDE = 64
_FIRST_BACKOFF_S = 5.0
_LONGEST_BACKOFF_S = 300.0

#: Returns the state to save and what to write into the manifest.
Collect = Callable[[], tuple[dict[str, Any], dict[str, Any]]]


class Stopped(SystemExit):
    """The program has saved and stops because it was told to; exit code 75."""

    def __init__(self) -> None:
        super().__init__(EXIT_STOPPED)


@dataclass(frozen=True)
class Means:
    """What a saver works with.

    Attributes:
        rank: number of this rank; rank 0 keeps the time for all.
        world_size: how many ranks there are.
        checkpointer: writes and loads.
        agreement: what all ranks want.
        flags: what this rank was told by signals.
        progress: the line to the agent.
        schedule: when a save is due.
    """

    rank: int
    world_size: int
    checkpointer: TensorCheckpointer
    agreement: Agreement
    flags: SignalFlags
    progress: Progress
    schedule: Schedule


class Saver:
    """Saves on schedule, on request and before the end, at boundaries that all ranks share.

    Args:
        means: what it works with.
        collect: returns what to save.
        step: the step that is saved already; 0 for none.
    """

    def __init__(self, means: Means, collect: Collect, step: int) -> None:
        self._means = means
        self._collect = collect
        self._begun = step
        self._hold_until = 0.0
        self._failures = 0
        self._save_s = 0.0
        self._wanted = False
        self._prepared = False
        self._free = True  # as all ranks know it: no save is under way
        self._stride = self._proposed = 1
        self._exchanged, self._exchanged_at = step, 0.0

    def ask(self) -> None:
        """Save at the next boundary."""
        self._wanted = True

    def boundary(self, step: int) -> None:
        """Act on what all ranks have agreed on, and tell them what this one wants.

        Raises:
            Stopped: after the save that was asked for.
        """
        means = self._means
        if means.checkpointer.in_flight is not None:
            self._poll()
        self._listen()
        agreed = self._agreed(step)
        if agreed.stop:
            self._stop(step, agreed)
        if self._free and (agreed.save or (self._by_steps and self._due(step))):
            self._save(step)
        elif not self._prepared:
            self._prepare()
        self._exchange(step)

    def finish(self, step: int) -> None:
        """Save the end of the training and wait until it is committed."""
        means = self._means
        means.agreement.finish(Wishes())
        self._await(math.inf)
        if step > self._begun:
            self._save(step)
            self._await(math.inf)
        means.agreement.any(False)  # nobody leaves before rank 0 has committed
        means.checkpointer.store.leave_node()
        means.progress.tell("ending", step=step, why="finished")

    def _agreed(self, step: int) -> Wishes:
        """Return the outcome of the exchange that was started some boundaries ago, if one was.

        Half a stride later nobody has to wait for it, also where ranks share cores.
        """
        agreement = self._means.agreement
        lag = self._stride // 2 if self._free and self._means.world_size > 1 else 0
        if not agreement.pending or step - self._exchanged < lag:
            return Wishes()
        agreed = agreement.finish(self._wishes(step))
        self._free = not agreed.busy
        self._stride = agreed.stride or 1
        return agreed

    def _exchange(self, step: int) -> None:
        """Start an exchange, unless the last one was a moment ago: quick steps share one."""
        if step - self._exchanged < (self._stride if self._free else 1):
            return
        if self._means.world_size > 1 and self._means.agreement.pending:
            return
        now = time.monotonic()
        if self._exchanged_at:
            step_s = (now - self._exchanged_at) / (step - self._exchanged)
            self._proposed = max(1, min(_LONGEST_STRIDE, int(_EXCHANGE_EVERY_S / (step_s + 1e-9))))
        self._exchanged, self._exchanged_at = step, now
        self._means.agreement.start(self._wishes(step))

    @property
    def _by_steps(self) -> bool:
        return bool(self._means.schedule.every.steps)

    def _due(self, step: int) -> bool:
        return self._means.schedule.due(step, time.monotonic())

    def _wishes(self, step: int) -> Wishes:
        means = self._means
        first = means.rank == 0
        return Wishes(
            stop=bool(means.flags.stop),
            save=self._wanted or (first and not self._by_steps and self._due(step)),
            busy=means.checkpointer.in_flight is not None or time.monotonic() < self._hold_until,
            deadline=means.flags.deadline,
            stride=self._proposed if first else 0,
        )

    def _listen(self) -> None:
        for message in self._means.progress.asked():
            if message.get("type") == "stop":
                deadline = message.get("deadline")
                self._means.flags.ask_to_stop(
                    str(message.get("why") or "warning"),
                    float(deadline) if deadline else math.inf,
                )
            elif message.get("type") == "save":
                self._wanted = True

    def _prepare(self) -> None:
        """Get the memory for saves beforehand, so that the first is as quick as the others."""
        self._prepared = True
        try:
            self._means.checkpointer.prepare(self._collect()[0])
        except OSError as error:  # a save will fail as well, and say so each time
            _log.warning("no memory to save from: %s", error)

    def _save(self, step: int) -> None:
        means = self._means
        self._wanted = False
        self._prepared = True
        means.agreement.finish(Wishes())  # what it says of earlier saves is out of date
        self._free = False
        self._begun = step
        means.schedule.begun(step, time.monotonic())
        means.progress.tell("phase", phase="save", step=step)
        state, extra = self._collect()
        handle = means.checkpointer.save(step, state, extra)
        means.progress.tell("phase", phase="run", step=step)
        if handle.result is not None:
            self._take(handle.result)

    def _poll(self) -> None:
        while (result := self._means.checkpointer.poll()) is not None:
            self._take(result)

    def _take(self, result: SaveResult) -> None:
        means = self._means
        if result.error is not None:
            self._take_failure(result, result.error)
            return
        self._failures = 0
        self._save_s = result.save_s
        means.schedule.finished(result.stall_s, result.save_s)
        if result.manifest is not None and means.rank == 0:
            size_bytes = result.manifest.size_bytes
            means.progress.tell(
                "committed",
                step=result.step,
                size_bytes=size_bytes,
                save_s=round(result.save_s, 4),
                stall_s=round(result.stall_s, 4),
            )
            _log.info("saved step %d, %d bytes", result.step, size_bytes)

    def _take_failure(self, result: SaveResult, error: CheckpointError) -> None:
        means = self._means
        if isinstance(error, StaleTokenError):
            raise error  # another attempt has taken over: this one must not go on
        wait_s = min(_FIRST_BACKOFF_S * 2**self._failures, _LONGEST_BACKOFF_S)
        self._failures += 1
        now = time.monotonic()
        self._hold_until = now + wait_s
        means.schedule.failed(now)
        means.progress.tell("save_failed", step=result.step, error=error.message)
        _log.warning(
            "step %d is not saved, training goes on, next try in %g s or later: %s",
            result.step,
            wait_s,
            error,
        )

    def _await(self, deadline: float) -> None:
        """Wait for what is in flight, until a deadline that signals may bring nearer."""
        means = self._means
        while means.checkpointer.in_flight is not None:
            left_s = min(deadline, means.flags.deadline) - _MARGIN_S - time.time()
            if left_s <= 0:
                break
            result = means.checkpointer.wait(min(left_s, 0.25))
            self._poll()  # outcomes of older saves
            if result is not None:
                self._take(result)
            self._listen()

    def _stop(self, step: int, agreed: Wishes) -> None:
        """Save what can be saved before the deadline, then end.

        Raises:
            Stopped: always.
        """
        means = self._means
        means.flags.ask_to_stop("told", agreed.deadline)
        why = means.flags.stop
        means.progress.tell("phase", phase="stopping", step=step)
        in_flight = means.agreement.any(means.checkpointer.in_flight is not None)
        term = means.agreement.any(why == "term")
        self._await(agreed.deadline)
        # SIGKILL is near, and the save that was in flight is as good: a second one risks both.
        fits = not in_flight or (not term and self._fits(agreed.deadline))
        if step > self._begun and not means.agreement.any(not fits):
            self._save(step)
            self._await(agreed.deadline)
        lost = means.agreement.any(means.checkpointer.in_flight is not None)
        if lost and means.rank == 0:
            means.progress.tell(
                "save_failed", step=self._begun, error="the time was over before it was written"
            )
            _log.warning("no time left to save step %d: the save before it counts", self._begun)
        means.progress.tell("ending", step=step, why=why)
        raise Stopped

    def _fits(self, deadline: float) -> bool:
        left_s = min(deadline, self._means.flags.deadline) - _MARGIN_S - time.time()
        return 1.5 * self._save_s < left_s
