"""The command line of ``slurmkit supervise``."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from slurmkit.errors import UsageError
from slurmkit.launch.labels import LABELS, Labels
from slurmkit.units import parse_duration_s

Remedy = Literal["spare", "shrink", "successor", "requeue", "stop"]
Preflight = Literal["off", "quick", "full"]
Hang = float | Literal["auto", "off"]
REMEDIES: tuple[Remedy, ...] = get_args(Remedy)
PREFLIGHTS: tuple[Preflight, ...] = get_args(Preflight)

SUMMARY = f"""\
Usage: slurmkit supervise RUN_DIR [OPTION]... -- COMMAND [ARG]...

Run COMMAND, usually srun, for the run in RUN_DIR: choose where its ranks meet, split its output
into one log per rank, keep the ledger, relay signals, and exit with its code. Scripts that slurmkit
renders call this.

  --labels KIND             who puts labels in front of lines: {", ".join(LABELS)} [default: srun]

With --on-node-failure it also watches every node, and starts the program again when that helps:

  --on-node-failure LIST    what to try, in this order: {", ".join(REMEDIES)}
  --max-restarts N          restarts without a new checkpoint before it gives up [default: 5]
  --min-nodes N             fewest nodes that shrink may leave [default: 1]
  --heartbeat SECONDS       between two signs of life of a node; three missed ones are a loss
                            [default: 1]
  --hang LIMIT              the longest step to wait for, such as 10m; auto learns it; off
                            [default: auto]
  --preflight KIND          checks of the nodes before the start: {", ".join(PREFLIGHTS)}
                            [default: quick]

Example: slurmkit supervise runs/job-17 -- srun --label --ntasks=8 slurmkit exec -- python train.py
"""
_FIRST_LINE = SUMMARY.partition("\n")[0]


@dataclass(frozen=True)
class Options:
    """The command line.

    Attributes:
        run_dir: the run's folder.
        labels: who puts labels in front of the launcher's lines.
        command: the launcher and all behind it.
        remedies: what to try when a node fails, in order; empty for one attempt that nobody saves.
        max_restarts: most restarts without a new checkpoint.
        min_nodes: fewest nodes that a smaller launch may have.
        heartbeat_s: seconds between two signs of life of a node.
        hang: ``auto``, ``off``, or seconds without a step that are too many.
        preflight: which checks the nodes pass before the first launch.
    """

    run_dir: Path
    labels: Labels
    command: tuple[str, ...]
    remedies: tuple[Remedy, ...] = ()
    max_restarts: int = 5
    min_nodes: int = 1
    heartbeat_s: float = 1.0
    hang: Hang = "auto"
    preflight: Preflight = "quick"


def parse_args(args: list[str]) -> Options:
    """Return what the command line says.

    Raises:
        UsageError: it says something else.
    """
    if "--" not in args:
        raise UsageError("slurmkit supervise needs -- COMMAND", hint=_FIRST_LINE)
    cut = args.index("--")
    options = Options(Path(), "srun", tuple(args[cut + 1 :]))
    folders: list[str] = []
    words = iter(args[:cut])
    for word in words:
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            folders.append(word)
        elif name in _READERS:
            options = _READERS[name](options, value if equals else next(words, ""))
        else:
            raise UsageError(f"slurmkit supervise has no option {word}")
    if len(folders) != 1 or not options.command:
        raise UsageError(
            "slurmkit supervise needs one run directory and a command", hint=_FIRST_LINE
        )
    return replace(options, run_dir=Path(folders[0]))


def _labels(options: Options, text: str) -> Options:
    for labels in LABELS:
        if text == labels:
            return replace(options, labels=labels)
    raise _choose("--labels", text, LABELS)


def _remedies(options: Options, text: str) -> Options:
    chosen: list[Remedy] = []
    for word in text.split(","):
        for remedy in REMEDIES:
            if word == remedy:
                chosen.append(remedy)
                break
        else:
            raise _choose("--on-node-failure", word, REMEDIES)
    return replace(options, remedies=tuple(dict.fromkeys(chosen)))


def _preflight(options: Options, text: str) -> Options:
    for kind in PREFLIGHTS:
        if text == kind:
            return replace(options, preflight=kind)
    raise _choose("--preflight", text, PREFLIGHTS)


def _hang(options: Options, text: str) -> Options:
    if text == "auto":
        return replace(options, hang="auto")
    if text == "off":
        return replace(options, hang="off")
    try:
        limit_s = parse_duration_s(text)
    except ValueError:
        raise UsageError(f"--hang {text!r}: write auto, off or a duration such as 10m") from None
    if limit_s is None:
        return replace(options, hang="off")
    return replace(options, hang=float(limit_s))


def _heartbeat(options: Options, text: str) -> Options:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < float("inf"):
        raise UsageError(f"--heartbeat {text!r}: write seconds, such as 1")
    return replace(options, heartbeat_s=seconds)


def _max_restarts(options: Options, text: str) -> Options:
    return replace(options, max_restarts=_count("--max-restarts", text, 0))


def _min_nodes(options: Options, text: str) -> Options:
    return replace(options, min_nodes=_count("--min-nodes", text, 1))


def _count(name: str, text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise UsageError(f"{name} {text!r}: write a whole number from {least} on")
    return int(text)


def _choose(name: str, text: str, choices: tuple[str, ...]) -> UsageError:
    return UsageError(f"{name} {text!r}: choose one of {', '.join(choices)}")


_READERS: dict[str, Callable[[Options, str], Options]] = {
    "--labels": _labels,
    "--on-node-failure": _remedies,
    "--max-restarts": _max_restarts,
    "--min-nodes": _min_nodes,
    "--heartbeat": _heartbeat,
    "--hang": _hang,
    "--preflight": _preflight,
}
