"""The session of a training program: process group, device, data, state, signals and progress."""

import logging
import time
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import IterableDataset

from slurmkit.checkpoint.interval import Every, Schedule
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.checkpoint.tensors import TensorCheckpointer
from slurmkit.errors import EXIT_OK, EXIT_STOPPED
from slurmkit.train import world
from slurmkit.train.agreement import Agreement, side_group
from slurmkit.train.content import Content
from slurmkit.train.errors import TrainError
from slurmkit.train.loader import ResumableLoader, Share, stream_loader
from slurmkit.train.notices import show_notices
from slurmkit.train.progress import Progress
from slurmkit.train.saver import Means
from slurmkit.train.settings import Settings
from slurmkit.train.signals import SignalFlags
from slurmkit.train.stacks import Stacks
from slurmkit.train.state import TrainState

if TYPE_CHECKING:
    from typing_extensions import Self

_log = logging.getLogger("slurmkit.train")

#: At a stop the others wait for rank 0, which waits for the slowest file system.
_PATIENCE = timedelta(hours=1)


class Session:
    """What a PyTorch program needs around its loop; use it with ``with``.

    Each argument overrides what the job says in its environment (its ``checkpoint`` section); with
    neither, checkpoints go to ``./checkpoints``.

    Args:
        folder: where checkpoints are; one per run, on a file system that all ranks see.
        every: how often to save: ``auto``, a duration such as ``10m``, or steps such as ``100``.
        keep: how many committed steps are kept.
        asynchronous: whether training goes on while a save is written.
        backend: of the process group; None takes NCCL for GPUs and gloo for CPUs.
        timeout_s: how long to wait for a rank that never comes, or stops answering.

    Attributes:
        rank: number of this process, from 0.
        local_rank: its number on its node, from 0.
        world_size: how many processes there are.
        device: what it computes on.
    """

    rank: int
    local_rank: int
    world_size: int
    device: torch.device

    def __init__(
        self,
        *,
        folder: str | Path | None = None,
        every: str | int | None = None,
        keep: int | None = None,
        asynchronous: bool | None = None,
        backend: str | None = None,
        timeout_s: float = 600.0,
    ) -> None:
        self.settings = Settings.from_environment().overridden(
            folder=folder, every=every, keep=keep, asynchronous=asynchronous
        )
        self._every = Every.parse(self.settings.every)
        self._backend = backend
        self._timeout = timedelta(seconds=timeout_s)
        self._state: TrainState | None = None
        self._checkpointer: TensorCheckpointer | None = None
        self._logged: dict[str, Any] = {}

    def __enter__(self) -> "Self":
        self._world = world.join(self._timeout, self._backend)
        self.rank, self.local_rank = self._world.rank, self._world.local_rank
        self.world_size, self.device = self._world.size, self._world.device
        if self.world_size > 1:
            world.die_at_once_on_errors()
        if self.rank == 0:
            show_notices()
        self._group = side_group(max(self._timeout, _PATIENCE))
        self._flags = SignalFlags(self.settings.warning_signal, self.settings.grace_s)
        self._flags.install()
        self._progress = Progress(self.settings.agent_socket, self.rank)
        self._stacks = Stacks(self.settings, self.rank)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._flags.remove()
        if error is not None and not isinstance(error, SystemExit) and self._state is not None:
            # Exactly where: steps are told only now and then, and a bug is known by its step.
            self._progress.tell("ending", step=self._state.step, why="error")
        if self._checkpointer is not None:
            self._checkpointer.close()
        self._progress.close()
        self._stacks.close()
        # After an error the peers may wait in a collective, and destroying the group for them.
        well = error is None or (
            isinstance(error, SystemExit) and error.code in (None, EXIT_OK, EXIT_STOPPED)
        )
        if self._world.joined and well:
            world.leave(self._group)

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which prints and writes for all."""
        return self.rank == 0

    def loader(self, dataset: Any, **options: Any) -> Any:
        """Return a loader of this rank's part of the data, which can be resumed at any batch.

        Args:
            dataset: map-style (``__len__`` and ``__getitem__``), or an IterableDataset that has
                state_dict and load_state_dict.
            options: see `ResumableLoader`: batch_size or global_batch_size, shuffle, seed,
                drop_last, and those of torch's DataLoader.

        Raises:
            TrainError: the data set or an option cannot be used.
        """
        if isinstance(dataset, IterableDataset):
            return stream_loader(dataset, **options)
        return ResumableLoader(dataset, Share(self.rank, self.world_size), **options)

    def state(self, **objects: Any) -> TrainState:
        """Restore the newest step that verifies into the objects, and return the training's state.

        Args:
            objects: by name: modules, optimizers, schedulers, scalers, whatever has state_dict and
                load_state_dict, and plain values. The loader goes by the name ``loader``.

        Raises:
            TrainError: an object cannot be saved.
            ResumeError: the checkpoint belongs to other data or needs the same number of ranks.
            CheckpointError: the folder cannot be read, or its steps do not fit the objects.
        """
        if self._state is not None:
            raise TrainError("run.state() was called before", hint="give all objects to one call")
        settings = self.settings
        store = CheckpointStore(settings.folder, token=settings.fence, keep=settings.keep)
        self._checkpointer = TensorCheckpointer(
            store,
            group=self._group,
            asynchronous=settings.asynchronous,
            local_dir=settings.local_dir,
            partner=settings.partner,
        )
        means = Means(
            rank=self.rank,
            world_size=self.world_size,
            checkpointer=self._checkpointer,
            agreement=Agreement(self._group),
            flags=self._flags,
            progress=self._progress,
            schedule=Schedule(self._every, mtbf_s=settings.mtbf_s, start_s=time.monotonic()),
        )
        content = Content(objects, self.device)
        self._state = TrainState(content, means, self._say_started, self._report)
        return self._state

    def log(self, **values: Any) -> None:
        """Say how it goes, such as ``loss=loss``; shown by slurmkit, at most four times a second.

        Tensors are read only when they are sent, so that a GPU is not waited for in each step.
        """
        self._logged = {
            name: value.detach() if isinstance(value, torch.Tensor) else value
            for name, value in values.items()
        }

    def _report(self, step: int, epoch: int) -> None:
        self._progress.step(step, epoch, self._logged)

    def _say_started(self, restored: int | None) -> None:
        self._progress.session(**self._stacks.hello, restored=restored)
        if restored is not None:
            _log.info("goes on from step %d in %s", restored, self.settings.folder)
