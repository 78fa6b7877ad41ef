r"""Which rank a line of a launcher's output came from, by the label in front of it.

| launcher | line | source |
|---|---|---|
| srun --label | ``  3: text`` | rank 3 |
| torchrun --tee under srun --label | ``1: [3]: text`` | rank 3 |
| torchrun itself | ``1: W1120 ... text`` | node 1 |
| mpirun --tag-output | ``[1,3]<stdout>: text``, ``[job@1,3]<stderr>: text`` | rank 3 |
| mpirun -prepend-rank (MPICH, Intel MPI) | ``[3] text`` | rank 3 |
| srun, mpirun themselves | ``srun: error: ...`` | launcher |
"""

import re
from typing import Literal, NamedTuple, get_args

Labels = Literal["srun", "torchrun", "openmpi", "hydra", "none"]
LABELS: tuple[Labels, ...] = get_args(Labels)


class Source(NamedTuple):
    """Where a line came from: a rank, a node's launcher, or the launcher of all."""

    kind: Literal["rank", "node", "launcher"]
    number: int = 0


LAUNCHER = Source("launcher")

_SRUN = re.compile(rb" *(\d+): ")
_TASK_LABELS: dict[Labels, re.Pattern[bytes]] = {
    "srun": _SRUN,
    "torchrun": _SRUN,
    "openmpi": re.compile(rb"\[[^\],\n]*,(\d+)\]<std[a-z]+>: ?"),
    "hydra": re.compile(rb"\[(\d+)\] "),
    "none": re.compile(rb"(?!)()"),
}
# torch labels by default "[default3]:" (the role's name), with our template "[3]: ". The space
# tells that from torchrun's own summary, which numbers failures by lines of "[3]:" alone.
_WORKER = re.compile(rb"\[(?:[a-z]+(\d+)\]: ?|(\d+)\]: )")


def task_label(line: bytes, labels: Labels) -> tuple[int | None, int]:
    """Return the launcher's task that wrote a line, and how many bytes of it are the label.

    Args:
        line: the line or its beginning, any bytes.
        labels: who put the labels there.
    """
    match = _TASK_LABELS[labels].match(line)
    return (int(match[1]), match.end()) if match else (None, 0)


def source_of(task: int | None, text: bytes, labels: Labels) -> tuple[Source, int]:
    """Return who wrote a line of a task, and how many further bytes are a label.

    Args:
        task: what ``task_label`` found.
        text: the line behind that label.
        labels: who put the labels there.
    """
    if task is None:
        return LAUNCHER, 0
    if labels != "torchrun":
        return Source("rank", task), 0
    rank, cut = worker_label(text)
    return (Source("node", task), 0) if rank is None else (Source("rank", rank), cut)


def worker_label(text: bytes) -> tuple[int | None, int]:
    """Return the rank of the worker whose line torchrun passes on, and how long its label is."""
    match = _WORKER.match(text)
    return (int(match[1] or match[2]), match.end()) if match else (None, 0)
