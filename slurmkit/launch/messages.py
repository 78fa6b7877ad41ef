"""Read what launchers themselves say about tasks that failed.

srun's lines are those of Slurm 22.05 to 26.05 (src/srun, task exit messages); torchrun's are the
summary of torch.distributed.elastic; mpirun's are those of Open MPI 4 and 5.
"""

import re
import signal

from slurmkit.launch.outcome import TaskExit, signal_name

_SRUN = re.compile(
    r"srun: error: (?P<host>[^\s:]+): tasks? (?P<tasks>[\d,-]+): "
    r"(?:Exited with exit code (?P<code>\d+)|(?P<words>.+))$"
)
_MPIRUN_CODE = re.compile(
    r"Process name: \[\S+?,(?P<rank>\d+)\]\s+Exit code:\s+(?P<code>\d+)", re.MULTILINE
)
_MPIRUN_SIGNAL = re.compile(
    r"process rank (?P<rank>\d+) with PID \d+ on node (?P<host>\S+) exited on\s+signal "
    r"(?P<signal>\d+)"
)
# MPICH's Hydra names the process and its host, not its rank (seen: 4.0.2, 5.0.2).
_HYDRA = re.compile(
    r"BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES\s+=\s+PID \d+ RUNNING AT (?P<host>\S+)"
    r"\s+=\s+EXIT CODE: (?P<code>\d+)"
)
_HYDRA_SIGNAL = re.compile(r"YOUR APPLICATION TERMINATED WITH THE EXIT STRING: .*\(signal (\d+)\)")
_TORCHRUN = re.compile(
    r"time\s*: (?P<time>\S+)\s+host\s*: (?P<host>\S+)\s+rank\s*: (?P<rank>\d+) [^\n]*\s+"
    r"exitcode\s*: (?P<code>-?\d+)"
)
_CORE = " (core dumped)"
# Slurm marks a task that the kernel's memory limit hit by a number that is no signal.
_OUT_OF_MEMORY = "Out Of Memory"
_SIGNALS = {signal.strsignal(number): number for number in signal.valid_signals()}


def srun_exits(line: str) -> list[TaskExit]:
    """Return the tasks whose end one line of srun reports; empty when it reports none."""
    match = _SRUN.match(line)
    if not match:
        return []
    ranks = expand_ranks(match["tasks"])
    host = match["host"]
    if match["code"]:
        return [TaskExit(rank, host, exit_code=int(match["code"])) for rank in ranks]
    words = match["words"].strip()
    number = _SIGNALS.get(words.removesuffix(_CORE))
    if number is None and words != _OUT_OF_MEMORY:
        return []
    name = "" if number is None else signal_name(number)
    return [TaskExit(rank, host, signal=name, detail=words) for rank in ranks]


def expand_ranks(text: str) -> list[int]:
    """Return the numbers of a list like ``0-3,7``."""
    ranks: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first:
            ranks.extend(range(int(first), int(last if dash and last else first) + 1))
    return ranks


def mpirun_exits(text: str) -> list[TaskExit]:
    """Return the task that mpirun's closing words blame; empty when they blame none."""
    if match := _MPIRUN_SIGNAL.search(text):
        name = signal_name(int(match["signal"]))
        return [TaskExit(int(match["rank"]), match["host"], signal=name)]
    if match := _MPIRUN_CODE.search(text):
        return [TaskExit(int(match["rank"]), "", exit_code=int(match["code"]))]
    return []


def hydra_exits(text: str) -> list[TaskExit]:
    """Return the process that Hydra's closing words blame, whose rank it does not tell."""
    match = _HYDRA.search(text)
    if not match:
        return []
    if ended := _HYDRA_SIGNAL.search(text):
        return [TaskExit(None, match["host"], signal=signal_name(int(ended[1])))]
    return [TaskExit(None, match["host"], exit_code=int(match["code"]))]


def torchrun_exits(text: str) -> list[TaskExit]:
    """Return the ranks that torchrun's summaries report, the first to fail first.

    Args:
        text: the ends of the logs of all nodes' torchruns, in any order.
    """
    # Its times are whole seconds: within one, workers that torchrun itself ended come last.
    found = sorted(_TORCHRUN.finditer(text), key=lambda m: (m["time"], m["code"].startswith("-")))
    exits: dict[int, TaskExit] = {}
    for match in found:
        code = int(match["code"])
        rank, host = int(match["rank"]), match["host"]
        if code < 0:
            ended = TaskExit(rank, host, signal=signal_name(-code))
        else:
            ended = TaskExit(rank, host, exit_code=code)
        exits.setdefault(rank, ended)
    return list(exits.values())
