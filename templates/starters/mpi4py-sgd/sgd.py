"""Data-parallel SGD in NumPy: every rank takes its share of a batch, MPI adds up the gradients.

What a step does follows from its number and the state alone, and the state is saved as a whole: a
run that was killed and goes on ends with the same weights, to the last bit, as one that was not.
"""

import argparse
import hashlib
import os
import signal
import sys
import time
from pathlib import Path
from types import TracebackType

import numpy as np
from mpi4py import MPI

from slurmkit.checkpoint.errors import SaveFailedError
from slurmkit.checkpoint.hdf5 import Hdf5Writer
from slurmkit.checkpoint.hdf5_load import Hdf5Reader
from slurmkit.checkpoint.store import CheckpointStore

FEATURES, HIDDEN, BATCH = 16, 32, 256
EXIT_STOPPED = 75  # saved, and stopped because the end of the job was announced
AUTO_S = 30.0
# What is to be learnt: the sine of a weighted sum of the features.
TARGET = np.linspace(-1.0, 1.0, FEATURES)[:, None] / 2

comm = MPI.COMM_WORLD


def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
    """Return this rank's share of a step's samples; they follow from the step's number."""
    numbers = np.random.default_rng(step)
    x = numbers.standard_normal((BATCH, FEATURES))
    y = np.sin(x @ TARGET)
    first, last = BATCH * comm.rank // comm.size, BATCH * (comm.rank + 1) // comm.size
    return x[first:last], y[first:last]


def start() -> dict[str, np.ndarray]:
    """Return the weights and momenta before the first step, the same on all ranks."""
    numbers = np.random.default_rng(17)
    weights = {
        "w1": numbers.standard_normal((FEATURES, HIDDEN)) / np.sqrt(FEATURES),
        "b1": np.zeros(HIDDEN),
        "w2": numbers.standard_normal((HIDDEN, 1)) / np.sqrt(HIDDEN),
        "b2": np.zeros(1),
    }
    return weights | {f"momentum/{name}": np.zeros_like(w) for name, w in weights.items()}


def train_step(state: dict[str, np.ndarray], step: int, rate: float) -> float:
    """Change the state by one step; return the loss over the whole batch."""
    x, y = batch(step)
    hidden = np.tanh(x @ state["w1"] + state["b1"])
    error = hidden @ state["w2"] + state["b2"] - y
    back = (error @ state["w2"].T) * (1 - hidden**2)
    gradients = {
        "w1": x.T @ back,
        "b1": back.sum(axis=0),
        "w2": hidden.T @ error,
        "b2": error.sum(axis=0),
    }
    parts = [*gradients.values(), np.array([0.5 * np.sum(error**2)])]
    mine = np.concatenate([part.ravel() for part in parts]) / BATCH
    total = np.empty_like(mine)
    comm.Allreduce(mine, total, op=MPI.SUM)
    position = 0
    for name, gradient in gradients.items():
        mean = total[position : position + gradient.size].reshape(gradient.shape)
        position += gradient.size
        state[f"momentum/{name}"] = 0.9 * state[f"momentum/{name}"] + mean
        state[name] = state[name] - rate * state[f"momentum/{name}"]
    return float(total[-1])


def save(store: CheckpointStore, state: dict[str, np.ndarray], step: int) -> None:
    """Save the state; a save that fails costs this checkpoint, not the run."""
    try:
        with Hdf5Writer(store, step, rank=comm.rank, world_size=comm.size) as writer:
            for name, value in state.items():
                writer.write(name, value)  # the same on all ranks: rank 0 stores it
            writer.finish()  # rank 0 waits for the others, and commits
    except SaveFailedError as failure:
        print(f"rank {comm.rank} goes on without the checkpoint of step {step}: {failure}")
    comm.Barrier()


def restore(store: CheckpointStore) -> tuple[dict[str, np.ndarray], int]:
    """Return the state and the step to go on from; one rank verifies, all read what it found."""
    manifest = comm.bcast(store.newest() if comm.rank == 0 else None)
    state = start()
    if manifest is None:
        return state, 0
    with Hdf5Reader(manifest) as reader:
        return {name: reader.read(name) for name in state}, manifest.step


class Schedule:
    """When to save and when to stop; rank 0 decides, so that all do the same."""

    def __init__(self) -> None:
        every = os.environ.get("SLURMKIT_CHECKPOINT_EVERY", "auto")
        self.steps = int(every) if every.isdigit() else 0
        self.seconds = float(every[:-1]) if every.endswith("s") else AUTO_S
        self.warning = Path(os.environ.get("SLURMKIT_WARNING_FILE") or "/nonexistent")
        self.last = time.monotonic()

    def ask(self, step: int) -> tuple[bool, bool]:
        """Return whether to save now, and whether to stop then."""
        stop = comm.rank == 0 and self.warning.exists()
        due = step % self.steps == 0 if self.steps else time.monotonic() - self.last > self.seconds
        due, stop = comm.bcast((due or stop, stop))
        if due:
            self.last = time.monotonic()
        return due, stop


def end_all(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say what went wrong, and end all ranks: the others would wait for this one for ever."""
    sys.__excepthook__(kind, error, trace)
    sys.stderr.flush()
    comm.Abort(1)


def main() -> int:
    """Train from wherever the last run got to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds of sleep in each step")
    args = parser.parse_args()
    sys.excepthook = end_all
    # The end is told by a file, too; unhandled, the signal would end the program.
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    store = CheckpointStore(
        Path(os.environ.get("SLURMKIT_CHECKPOINT_DIR", "checkpoints")),
        token=os.environ.get("SLURMKIT_FENCE"),
        keep=int(os.environ.get("SLURMKIT_CHECKPOINT_KEEP", "2")),
    )
    state, step = restore(store)
    if comm.rank == 0:
        print(f"{comm.size} ranks, from step {step}", flush=True)
    schedule = Schedule()
    while step < args.steps:
        step += 1
        loss = train_step(state, step, args.rate)
        time.sleep(args.pause)
        if comm.rank == 0 and (step == 1 or step % 50 == 0):
            print(f"step {step:4d}  loss {loss:.6f}", flush=True)
        due, stop = schedule.ask(step)
        if due or step == args.steps:
            save(store, state, step)
        if stop:
            return EXIT_STOPPED
    digest = hashlib.sha256(b"".join(state[name].tobytes() for name in sorted(state))).hexdigest()
    if comm.rank == 0:
        print(f"done: weights {digest}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
