"""The state of a training run: restored when it is made, saved while its batches are taken."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from slurmkit.checkpoint.errors import CorruptCheckpointError
from slurmkit.checkpoint.manifest import Manifest
from slurmkit.checkpoint.tensors import TensorCheckpointer
from slurmkit.train.content import Content, Tree
from slurmkit.train.errors import TrainError
from slurmkit.train.loader import ResumableLoader
from slurmkit.train.saver import Means, Saver, Stopped

_log = logging.getLogger("slurmkit.train")


class TrainState:
    """Where the training is, and everything that has to be saved of it.

    `Session.state` makes it. Plain values that were given by name are read and set as items:
    ``state["best"] = 0.3``.

    Attributes:
        step: optimizer steps that are done, over all attempts.
        epoch: the epoch that the next batch belongs to, from 0.
        resumed_from: the step that was restored; None at a fresh start.
    """

    def __init__(
        self,
        content: Content,
        means: Means,
        started: Callable[[int | None], None],
        report: Callable[[int, int], None],
    ) -> None:
        self.step = 0
        self.epoch = 0
        self.resumed_from: int | None = None
        self._content = content
        self._means = means
        self._report = report
        self._random: Tree | None = None
        means.progress.tell("phase", phase="load", step=0)
        manifest = self._restore(means.checkpointer)
        self._saver = Saver(means, self._collected, self.step if manifest else -1)
        started(self.resumed_from)

    def __getitem__(self, name: str) -> Any:
        return self._content.values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self._content.values:
            raise TrainError(
                f"{name} was not given to run.state()", hint=f"write run.state(..., {name}=...)"
            )
        self._content.values[name] = value

    def save(self) -> None:
        """Ask for a save at the next boundary; one rank is enough."""
        self._saver.ask()

    def batches(
        self, *, epochs: int | None = None, steps: int | None = None, accumulate: int = 1
    ) -> Iterator[Any]:
        """Yield the batches that are left; between two of them it saves or stops when it is time.

        Every rank has to take the same number of batches. At the end the last step is saved.

        Args:
            epochs: how many epochs the whole training has; None for no limit.
            steps: how many optimizer steps the whole training has; None for no limit.
            accumulate: batches per optimizer step. Only after so many of them, and at the end of an
                epoch, there is a boundary, because gradients are not saved: make the optimizer step
                there.

        Raises:
            Stopped: a SystemExit with code 75, after a save that a signal or the agent asked for.
            TrainError: no loader was given to run.state().
        """
        loader = self._content.loader
        if loader is None:
            raise TrainError(
                "run.state() was given no loader", hint="write run.state(..., loader=loader)"
            )
        self._means.flags.install()
        self._means.schedule.begun(self.step, time.monotonic())
        self._means.progress.tell("phase", phase="run", step=self.step)
        try:
            yield from self._batches(loader, (epochs, steps), accumulate)
            self._saver.finish(self.step)
        except Stopped:
            self._means.flags.ignore()
            raise
        finally:
            self._means.flags.remove()

    def _batches(
        self, loader: Any, limits: tuple[int | None, int | None], accumulate: int
    ) -> Iterator[Any]:
        epochs, steps = limits
        while (epochs is None or self.epoch < epochs) and (steps is None or self.step < steps):
            if hasattr(loader, "set_epoch"):
                loader.set_epoch(self.epoch)
            if isinstance(loader, ResumableLoader) and loader.at_end:  # saved after its last batch
                self.epoch += 1
                continue
            iterator = iter(loader)  # may draw random numbers: restore them after this
            if self._random is not None:
                self._content.restore_random(self._random)
                self._random = None
            pending, num_batches = 0, 0
            for batch in iterator:
                yield batch
                pending, num_batches = pending + 1, num_batches + 1
                if pending == accumulate:
                    pending = 0
                    self._boundary()
                    if self.step == steps:
                        return
            self.epoch += 1
            if pending:
                self._boundary()

    def _boundary(self) -> None:
        self.step += 1
        self._report(self.step, self.epoch)
        self._saver.boundary(self.step)

    def _collected(self) -> tuple[Tree, dict[str, Any]]:
        extra: dict[str, Any] = {"epoch": self.epoch}
        loader = self._content.loader
        if isinstance(loader, ResumableLoader):
            extra["samples_seen"] = loader.state_dict()["seen"]
        return self._content.saved(), extra

    def _restore(self, checkpointer: TensorCheckpointer) -> Manifest | None:
        present = self._present()
        while (manifest := checkpointer.newest()) is not None:
            self._tell_salvaged(checkpointer.salvaged)
            try:
                loaded = checkpointer.load(manifest.step, self._content.template())
            except CorruptCheckpointError as error:  # is in quarantine now
                self._tell_quarantined(manifest.step, error.message)
                present -= {manifest.step}
                continue
            same_world = manifest.world_size == self._means.world_size
            self._random = self._content.load(loaded, same_world=same_world)
            self.step = self.resumed_from = manifest.step
            self.epoch = int(manifest.extra.get("epoch", 0))
            break
        for step in sorted(present - self._present(), reverse=True):
            self._tell_quarantined(step, "the manifest or a file is damaged or missing")
        return manifest

    def _present(self) -> set[int]:
        """Return the steps that are there, as rank 0 sees them; for what is said of quarantine."""
        means = self._means
        return set(means.checkpointer.store.dir.steps()) if means.rank == 0 else set()

    def _tell_salvaged(self, manifest: Manifest | None) -> None:
        if manifest is not None:
            size_bytes, save_s = manifest.size_bytes, manifest.save_s
            values = {"size_bytes": size_bytes, "save_s": save_s, "stall_s": 0.0}
            self._means.progress.tell("committed", step=manifest.step, **values)

    def _tell_quarantined(self, step: int, why: str) -> None:
        if self._means.rank == 0:
            self._means.progress.tell("quarantined", step=step, why=why)
            _log.warning("step %d is damaged and in quarantine: %s", step, why)
