"""Rewrite the script's srun line for one launch: on which nodes it runs is said in full.

A step inherits counts of the allocation, and how it takes them differs by release: srun -N2 -w
n1,n2 in a job of three nodes fails on 22.05. So each launch names its nodes and sizes; everything
else on the line stays as the script has it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from slurmkit.hostlist import compress

# srun(1): long options that take no value, or one only behind "=".
_FLAG_WORDS = """
    allow-container async contiguous disable-status disable-x11 exact exclusive external-launcher
    get-user-env help hold immediate interactive kill-on-bad-exit label multi-prog nice no-allocate
    no-kill overcommit overlap oversubscribe preserve-env preserve-slurm-env propagate pty quiet
    quit-on-interrupt reboot resv-ports send-libs spread-job stepmgr test-only unbuffered usage
    use-min-nodes verbose version whole x11
    container-entrypoint no-container-entrypoint container-mount-home no-container-mount-home
    container-remap-root no-container-remap-root container-writable container-readonly
"""  # the last two lines: pyxis
_FLAGS = frozenset(_FLAG_WORDS.split())
# The same for short options; K and I take a value only when it is glued on.
_SHORT_FLAGS = frozenset("lkKEHhIQvXOsuVZ")
# What a launch says itself, by long and short name.
_REPLACED = {
    "nodes": "N",
    "ntasks": "n",
    "ntasks-per-node": "",
    "nodelist": "w",
    "exclude": "x",
    "relative": "r",
    "nodefile": "F",
    "overlap": "",
    "job-name": "J",
}
_LONG_NAMES = {short: name for name, short in _REPLACED.items() if short}
_LONG_NAMES["c"] = "cpus-per-task"


@dataclass(frozen=True)
class Option:
    """One option as it stands on the line.

    Attributes:
        name: its long name where this module knows one, else as written without dashes.
        value: what belongs to it; None for none.
        words: the words that it consists of.
    """

    name: str
    value: str | None
    words: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """An srun line.

    Attributes:
        srun: the program's name as written.
        options: its options in order.
        program: what every task starts.
    """

    srun: str
    options: tuple[Option, ...]
    program: tuple[str, ...]

    def value(self, name: str) -> str:
        """Return the value of an option, the last one's if there are several; empty for none."""
        values = [option.value for option in self.options if option.name == name and option.value]
        return values[-1] if values else ""

    def count(self, name: str) -> int | None:
        """Return the value of an option that is a plain number; None for none."""
        text = self.value(name)
        return int(text) if text.isascii() and text.isdigit() else None


def parse(command: Sequence[str]) -> Line | None:
    """Return the parts of a line; None when it does not start with srun.

    Args:
        command: the launcher and all behind it.
    """
    if not command or command[0].rpartition("/")[2] != "srun":
        return None
    options: list[Option] = []
    words = list(command[1:])
    position = 0
    while position < len(words):
        word = words[position]
        if word == "--":
            position += 1
            break
        if not word.startswith("-") or word == "-":
            break
        taken = _taken(word)
        group = tuple(words[position : position + taken])
        options.extend(_options(group))
        position += taken
    return Line(command[0], tuple(options), tuple(words[position:]))


def _taken(word: str) -> int:
    """Return how many words the option that begins with this one has."""
    if word.startswith("--"):
        name, equals, _ = word[2:].partition("=")
        return 1 if equals or name in _FLAGS else 2
    for index, letter in enumerate(word[1:], start=1):
        if letter not in _SHORT_FLAGS:
            return 1 if index + 1 < len(word) else 2
        if letter in "KIZ" and index + 1 < len(word):
            return 1
    return 1


def _options(words: tuple[str, ...]) -> Iterator[Option]:
    first = words[0]
    second = words[1] if len(words) > 1 else None
    if first.startswith("--"):
        name, equals, text = first[2:].partition("=")
        yield Option(name, text if equals else second, words)
        return
    for index, letter in enumerate(first[1:], start=1):
        if letter in _SHORT_FLAGS:
            rest = first[index + 1 :]
            glued = letter in "KIZ" and rest
            yield Option(letter, rest if glued else None, (f"-{letter}{rest if glued else ''}",))
            if glued:
                return
            continue
        rest = first[index + 1 :]
        yield Option(
            _LONG_NAMES.get(letter, letter), rest or second, (f"-{letter}{rest}", *words[1:])
        )
        return


def can_move(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether a line can be rewritten for other nodes: it is srun's, and of one job component."""
    line = parse(command)
    return line is not None and "SLURM_HET_SIZE" not in env and not line.value("het-group")


def num_nodes(command: Sequence[str]) -> int | None:
    """Return on how many nodes a line runs; None when it does not say."""
    line = parse(command)
    if line is None:
        return None
    text = line.value("nodes").partition("-")[0]
    return int(text) if text.isascii() and text.isdigit() else None


def on_nodes(command: Sequence[str], nodes: Sequence[str], *, name: str) -> list[str]:
    """Return the line for a launch on these nodes.

    Args:
        command: the line as the script has it.
        nodes: where to run, in Slurm's order.
        name: what the job step is called.

    Returns:
        The line with explicit sizes, the nodes' names and ``--overlap``, as what a dead node holds
        of an earlier step is not given back. A command that is not srun is returned as it is.
    """
    line = parse(command)
    if line is None:
        return list(command)
    per_node = _tasks_per_node(line)
    sizes = [f"--nodes={len(nodes)}"]
    if per_node:
        sizes += [f"--ntasks={per_node * len(nodes)}", f"--ntasks-per-node={per_node}"]
    elif line.value("ntasks"):
        sizes += [f"--ntasks={line.value('ntasks')}"]
    kept = [option.words for option in line.options if option.name not in _REPLACED]
    own = [f"--nodelist={compress(nodes)}", "--overlap", f"--job-name={name}"]
    return [line.srun, *sizes, *own, *chain.from_iterable(kept), *line.program]


def _tasks_per_node(line: Line) -> int | None:
    per_node, tasks = line.count("ntasks-per-node"), line.count("ntasks")
    if per_node:
        return per_node
    nodes = line.count("nodes")
    if tasks and nodes and tasks % nodes == 0:
        return tasks // nodes
    return None
