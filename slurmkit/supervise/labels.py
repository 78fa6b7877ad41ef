r"""Which rank a line of a launcher's output came from, by the label in front of it.

| launcher | line | source |
|---|---|---|
| srun --label | ``  3: text`` | rank 3 |
| torchrun --tee under srun --label | ``1: [3]: text`` | rank 3 |
| torchrun itself | ``1: W1120 ... text`` | node 1 |
| mpirun --tag-output | ``[1,3]<stdout>: text``, ``[job@1,3]<stderr>: text`` | rank 3 |
| srun, mpirun themselves | ``srun: error: ...`` | launcher |
"""

import re
from typing import Literal, NamedTuple, get_args

Labels = Literal["srun", "torchrun", "openmpi", "none"]
LABELS: tuple[Labels, ...] = get_args(Labels)


class Source(NamedTuple):
    """Where a line came from: a rank, a node's launcher, or the launcher of all."""

    kind: Literal["rank", "node", "launcher"]
    number: int = 0


LAUNCHER = Source("launcher")

# torch labels by default "[default3]:" (the role's name), with our template "[3]: ", and an
# uncaught exception of a rank "[rank3]: ".
_PATTERNS: dict[Labels, re.Pattern[bytes]] = {
    "srun": re.compile(rb" *(?P<rank>\d+): "),
    "torchrun": re.compile(rb" *(?P<node>\d+): (?:\[[a-z]*(?P<rank>\d+)\]: ?)?"),
    "openmpi": re.compile(rb"\[[^\],\n]*,(?P<rank>\d+)\]<std[a-z]+>: ?"),
    "none": re.compile(rb"(?!)"),
}


def parse_label(line: bytes, labels: Labels) -> tuple[Source, int]:
    """Return where a line came from, and how many bytes of it are the label.

    Args:
        line: the line or its beginning, any bytes.
        labels: who put the labels there.
    """
    match = _PATTERNS[labels].match(line)
    if not match:
        return LAUNCHER, 0
    groups = match.groupdict()
    if groups["rank"] is not None:
        return Source("rank", int(groups["rank"])), match.end()
    return Source("node", int(groups["node"])), match.end()
