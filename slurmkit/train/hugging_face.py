"""A callback for Hugging Face's Trainer: save on schedule, stop when told, resume what is whole.

    from slurmkit.train.hugging_face import SlurmkitCallback

    slurmkit = SlurmkitCallback()
    trainer = Trainer(..., callbacks=[slurmkit])
    trainer.train(resume_from_checkpoint=slurmkit.newest())

The Trainer writes its checkpoints itself, in its own format. This callback says when, and commits
what was written.
"""

# ruff: noqa: ARG002 - the signatures are those of TrainerCallback

import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from slurmkit.train.watch import LateWatch, Verdict


class SlurmkitCallback(TrainerCallback):
    """Saves and stops at steps that all ranks share.

    Checkpoints of the Trainer's own schedule are committed, too, and leave ``output_dir``: use
    ``save_strategy="no"`` unless you want more of them than the schedule gives.

    Args:
        folder: where checkpoints are committed; None as the job says, else ``./checkpoints``.
        every: ``auto``, a duration or a number of steps; None as the job says.
    """

    def __init__(self, folder: str | Path | None = None, every: str | int | None = None) -> None:
        self._watch = LateWatch(folder, every)
        self._begun = 0.0

    def newest(self) -> str | None:
        """Return the newest checkpoint that verifies, for ``resume_from_checkpoint``.

        Every rank calls it, after the TrainingArguments were made.
        """
        path = self._watch().newest()
        return str(path) if path else None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take over the signals."""
        self._watch().begin(state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask for a save where one is due."""
        logged = {"loss": state.log_history[-1]["loss"]} if _has_loss(state) else {}
        verdict = self._watch().boundary(state.global_step, int(state.epoch or 0), **logged)
        if verdict is not Verdict.GO_ON:
            self._begun = time.monotonic()
            control.should_save = True
        return control

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Commit what the Trainer has written; stop if that was why."""
        assert args.output_dir is not None
        source = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        self._watch().commit(state.global_step, source, self._begun or time.monotonic())

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Give the signals back."""
        self._watch().finish(state.global_step)


def _has_loss(state: TrainerState) -> bool:
    return bool(state.log_history) and "loss" in state.log_history[-1]
