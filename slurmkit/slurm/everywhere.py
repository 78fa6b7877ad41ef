"""Run one command on every node of a job, or on nodes that Slurm picks, and hear each in time."""

import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from slurmkit.errors import SlurmError
from slurmkit.slurm.environ import scrubbed_environment
from slurmkit.slurm.runner import no_slurm_here

_SETTLE_S = 5.0


@dataclass(frozen=True)
class Heard:
    """What a step said.

    Attributes:
        lines: (Unix seconds when it arrived, the line) of standard output, in order.
        complaints: lines of standard error.
        code: srun's exit code; None when it was ended after the deadline.
    """

    lines: tuple[tuple[float, str], ...]
    complaints: tuple[str, ...]
    code: int | None


def step_of_job(nodes: Sequence[str]) -> list[str]:
    """Return the words of an srun that runs one task on each node of the job that we are in."""
    return [
        "srun",
        *_one_per_node(len(nodes)),
        f"--nodelist={','.join(nodes)}",
        "--overlap",
        # A host that fails is a finding, and must not end the others.
        "--kill-on-bad-exit=0",
        "--wait=0",
        "--cpu-bind=none",
    ]


def own_job(
    num_nodes: int, *, partition: str = "", account: str = "", wait_s: int, minutes: int
) -> list[str]:
    """Return the words of an srun that makes a short job of its own.

    Args:
        num_nodes: nodes.
        partition: where; empty for the default.
        account: who pays; empty for the default.
        wait_s: how long to wait for free nodes.
        minutes: its time limit.
    """
    words = ["srun", *_one_per_node(num_nodes), "--job-name=slurmkit-doctor"]
    words += [f"--immediate={wait_s}", f"--time={minutes}", "--kill-on-bad-exit=0", "--wait=0"]
    words += ["--cpu-bind=none"]
    words += [f"--partition={partition}"] if partition else []
    words += [f"--account={account}"] if account else []
    return words


def _one_per_node(num_nodes: int) -> list[str]:
    # Each size is named: a step inherits what the job around it said.
    return [
        f"--nodes={num_nodes}",
        f"--ntasks={num_nodes}",
        "--ntasks-per-node=1",
        "--cpus-per-task=1",
    ]


def hear(
    srun: Sequence[str],
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    deadline_s: float,
    inside_job: bool,
) -> Heard:
    """Run a command through srun and note when each line arrives.

    Args:
        srun: what ``step_of_job`` or ``own_job`` gave.
        command: program and arguments.
        environ: the environment; outside a job what another one left in it is taken out.
        deadline_s: seconds until srun is ended.
        inside_job: whether srun has to find the job that we are in.

    Raises:
        SlurmUnreachableError: there is no srun here.
        SlurmError: srun cannot be started.
    """
    env = dict(environ) if inside_job else scrubbed_environment(environ)
    try:
        process = subprocess.Popen(
            [*srun, *command],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except FileNotFoundError:
        raise no_slurm_here("srun") from None
    except OSError as error:
        raise SlurmError(f"srun cannot be started: {error.strerror}") from error
    lines: list[tuple[float, str]] = []
    complaints: list[tuple[float, str]] = []
    readers = [
        threading.Thread(target=_note, args=(stream, found), daemon=True)
        for stream, found in ((process.stdout, lines), (process.stderr, complaints))
    ]
    for reader in readers:
        reader.start()
    code = _ended(process, deadline_s)
    for reader in readers:
        reader.join(_SETTLE_S)
    return Heard(tuple(lines), tuple(line for _, line in complaints), code)


def _note(stream: IO[str], found: list[tuple[float, str]]) -> None:
    with stream:
        for line in stream:
            found.append((time.time(), line.rstrip("\n")))


def _ended(process: "subprocess.Popen[str]", deadline_s: float) -> int | None:
    try:
        return process.wait(deadline_s)
    except subprocess.TimeoutExpired:
        process.terminate()  # srun cancels its step, and its own job, then
        try:
            process.wait(_SETTLE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return None
