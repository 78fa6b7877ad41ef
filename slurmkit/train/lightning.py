"""A callback and an environment for Lightning: save on schedule, stop when told, resume.

    from slurmkit.train.lightning import SlurmkitCallback, SlurmkitEnvironment

    slurmkit = SlurmkitCallback()
    trainer = Trainer(callbacks=[slurmkit], plugins=[SlurmkitEnvironment()], ...)
    trainer.fit(model, loader, ckpt_path=slurmkit.newest())

Lightning writes its checkpoints itself, in its own format. The callback says when, and commits what
was written. The environment tells Lightning its ranks as slurmkit's launchers do; Lightning's own
one for Slurm would requeue jobs by itself.
"""

# ruff: noqa: ARG002 - the signatures are those of Callback

import os
import time
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import ClusterEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer

from slurmkit.train.watch import LateWatch, Verdict

_NAME = "lightning.ckpt"


class SlurmkitCallback(Callback):
    """Saves and stops at steps that all ranks share.

    Args:
        folder: where checkpoints are committed; None as the job says, else ``./checkpoints``.
        every: ``auto``, a duration or a number of steps; None as the job says.
    """

    def __init__(self, folder: str | Path | None = None, every: str | int | None = None) -> None:
        self._watch = LateWatch(folder, every)
        self._step = 0

    def newest(self) -> str | None:
        """Return the newest checkpoint that verifies, for ``ckpt_path`` of ``fit``.

        Every rank calls it. Lightning makes the process group later, so each rank reads for itself.
        """
        path = self._watch.newest_alone()
        return str(path / _NAME) if path else None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signals."""
        self._step = trainer.global_step
        self._watch().begin(trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any
    ) -> None:
        """Save where it is due; stop if that was why."""
        if trainer.global_step == self._step:  # gradients are being accumulated
            return
        self._step = trainer.global_step
        watch = self._watch()
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        logged = {"loss": loss} if loss is not None else {}
        if watch.boundary(self._step, trainer.current_epoch, **logged) is Verdict.GO_ON:
            return
        begun = time.monotonic()
        source = watch.settings.folder / f".lightning-{self._step}"
        trainer.save_checkpoint(source / _NAME)
        watch.commit(self._step, source, begun)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the signals back."""
        self._watch().finish(trainer.global_step)


class SlurmkitEnvironment(ClusterEnvironment):
    """The ranks as RANK and its companions tell them, which every launcher of slurmkit sets."""

    @property
    def creates_processes_externally(self) -> bool:
        """Whether a launcher has started the ranks."""
        return "RANK" in os.environ

    @property
    def main_address(self) -> str:
        """The host where the ranks meet."""
        return os.environ.get("MASTER_ADDR", "127.0.0.1")

    @property
    def main_port(self) -> int:
        """The port where the ranks meet."""
        return int(os.environ.get("MASTER_PORT", "29500"))

    @property
    def num_devices(self) -> int:
        """The number of ranks on this node, for ``Trainer(devices=...)``."""
        return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))

    @property
    def num_nodes(self) -> int:
        """The number of nodes, for ``Trainer(num_nodes=...)``."""
        return self.world_size() // self.num_devices

    @staticmethod
    def detect() -> bool:
        """Whether this is a task of slurmkit."""
        return "SLURMKIT_RUN_DIR" in os.environ and "RANK" in os.environ

    def world_size(self) -> int:
        """Return the number of ranks."""
        return int(os.environ.get("WORLD_SIZE", "1"))

    def set_world_size(self, size: int) -> None:
        """Nothing to do: the launcher has decided."""

    def global_rank(self) -> int:
        """Return the number of this rank."""
        return int(os.environ.get("RANK", "0"))

    def set_global_rank(self, rank: int) -> None:
        """Nothing to do: the launcher has decided."""

    def local_rank(self) -> int:
        """Return the number of this rank on its node."""
        return int(os.environ.get("LOCAL_RANK", "0"))

    def node_rank(self) -> int:
        """Return the number of this node."""
        return int(os.environ.get("GROUP_RANK") or os.environ.get("NODE_RANK") or "0")
