"""A batch script's options as attributes of pyslurm's job description, or the word that it lacks.

libslurm takes a description, not a script's ``#SBATCH`` lines: sbatch is what reads those. This
knows the options that slurmkit renders and those that people add most; anything else, such as the
options of SPANK plugins and heterogeneous jobs, is left to sbatch.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping
from signal import Signals
from typing import Any

_PREFIX = "#SBATCH"


class NeedsSbatchError(ValueError):
    """The description cannot say what the script asks for."""


def job_attributes(script: str, args: Iterable[str]) -> dict[str, Any]:
    """Return the attributes of pyslurm.JobSubmitDescription for a script and further options.

    Args:
        script: the batch script's text.
        args: sbatch options, which win over the script's.

    Raises:
        NeedsSbatchError: an option, or a value, that only sbatch understands.
    """
    attributes: dict[str, Any] = {}
    for words in (*_directives(script), list(args)):
        _read(words, attributes)
    tasks_per_node = attributes.get("ntasks_per_node")
    if "ntasks" not in attributes and tasks_per_node:
        nodes = str(attributes.get("nodes", "1"))
        if not nodes.isdigit():
            raise NeedsSbatchError("--ntasks-per-node and a range of nodes")
        attributes["ntasks"] = int(nodes) * tasks_per_node  # as sbatch does
    return attributes


def _directives(script: str) -> Iterable[list[str]]:
    """Yield the words of each line that sbatch reads: those before the first command."""
    for line in script.splitlines():
        if line.startswith(_PREFIX) and line[len(_PREFIX) : len(_PREFIX) + 1].isspace():
            try:
                yield shlex.split(line[len(_PREFIX) :], comments=True)
            except ValueError as error:
                raise NeedsSbatchError(f"{line}: {error}") from None
        elif line.strip() and not line.lstrip().startswith("#"):
            return


def _read(words: list[str], attributes: dict[str, Any]) -> None:
    """Read options into attributes; the forms are ``--name=value``, ``--name value``, ``-n2``."""
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
        elif len(word) > 1 and word[0] == "-" and word[1] in _SHORT:
            name, value = _SHORT[word[1]], word[2:]
            equals = "=" if value else ""
        else:
            raise NeedsSbatchError(word)
        if name in _FLAGS and not equals:
            attributes.update(_FLAGS[name])
            continue
        if name not in _VALUES:
            raise NeedsSbatchError(f"--{name}")
        if not equals:
            value = next(rest, "")
        attribute, convert = _VALUES[name]
        attributes[attribute] = convert(value)


def _text(value: str) -> str:
    if not value:
        raise NeedsSbatchError("an option without its value")
    return value


def _count(value: str) -> int:
    if not value.isdigit() or int(value) == 0:
        raise NeedsSbatchError(f"{value!r} where a count is expected")
    return int(value)


def _memory(value: str) -> str:
    size = value.upper()
    if not size.rstrip("KMGT").isdigit() or size.strip("0") in ("", "K", "M", "G", "T"):
        raise NeedsSbatchError(f"--mem={value}")  # 0, "all of it", is no value to pyslurm
    return size


def _gres(value: str) -> str:
    parts = value.split(",")
    if not all(part.count(":") in (1, 2) and part.rpartition(":")[2].isdigit() for part in parts):
        raise NeedsSbatchError(f"--gres={value}")
    return value


def _signal(value: str) -> dict[str, Any]:
    """Return ``[B:]USR2[@60]`` as pyslurm's dictionary."""
    flags, _, rest = value.rpartition(":")
    name, _, lead = rest.partition("@")
    try:
        number = int(name) if name.isdigit() else Signals[f"SIG{name.upper()}"].value
    except KeyError:
        raise NeedsSbatchError(f"--signal={value}") from None
    if flags not in ("", "B"):
        raise NeedsSbatchError(f"--signal={value}")
    result: dict[str, Any] = {"signal": number, "batch_only": flags == "B"}
    return result | ({"time": _count(lead)} if lead else {})


def _yes(value: str) -> bool:
    if value not in ("yes", "no"):
        raise NeedsSbatchError(f"{value!r} where yes or no is expected")
    return value == "yes"


_VALUES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "account": ("account", _text),
    "array": ("array", _text),
    "begin": ("begin_time", _text),
    "chdir": ("working_directory", _text),
    "comment": ("comment", _text),
    "constraint": ("constraints", _text),
    "cpus-per-task": ("cpus_per_task", _count),
    "dependency": ("dependencies", _text),
    "error": ("standard_error", _text),
    "exclude": ("excluded_nodes", _text),
    "gres": ("gres_per_node", _gres),
    "input": ("standard_in", _text),
    "job-name": ("name", _text),
    "kill-on-invalid-dep": ("kill_on_invalid_dependency", _yes),
    "licenses": ("licenses", _text),
    "mem": ("memory_per_node", _memory),
    "mem-per-cpu": ("memory_per_cpu", _memory),
    "nodelist": ("required_nodes", _text),
    "nodes": ("nodes", _text),
    "ntasks": ("ntasks", _count),
    "ntasks-per-node": ("ntasks_per_node", _count),
    "open-mode": ("log_files_open_mode", _text),
    "output": ("standard_output", _text),
    "partition": ("partitions", _text),
    "qos": ("qos", _text),
    "reservation": ("reservations", _text),
    "signal": ("signal", _signal),
    "time": ("time_limit", _text),
    "wckey": ("wckey", _text),
}

_FLAGS: Mapping[str, dict[str, Any]] = {
    "exclusive": {"resource_sharing": "exclusive"},
    "hold": {"priority": 0},
    "no-kill": {"kill_on_node_fail": False},
    "no-requeue": {"is_requeueable": False},
    "requeue": {"is_requeueable": True},
}

_SHORT = {
    "A": "account",
    "a": "array",
    "b": "begin",
    "C": "constraint",
    "c": "cpus-per-task",
    "D": "chdir",
    "d": "dependency",
    "e": "error",
    "H": "hold",
    "i": "input",
    "J": "job-name",
    "k": "no-kill",
    "L": "licenses",
    "N": "nodes",
    "n": "ntasks",
    "o": "output",
    "p": "partition",
    "q": "qos",
    "t": "time",
    "w": "nodelist",
    "x": "exclude",
}
