"""What hooks are told: frozen values."""

from slurmkit.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Task(Record):
    """One task, before its program starts.

    Attributes:
        rank: its number, from 0.
        world_size: how many tasks there are.
        local_rank: its number on its node, from 0.
        host: its node's name in Slurm.
        node_rank: its node's number, from 0; None when the launcher does not tell.
        run_dir: the run directory; None outside a run.
        environment: what the program will get, read-only; with the run's secrets.
    """

    rank: int
    world_size: int
    local_rank: int
    host: str
    node_rank: int | None
    run_dir: str | None
    environment: "Mapping[str, str]"


class EndedTask(Record):
    """One task that failed.

    Attributes:
        rank: its number; None when its launcher did not say.
        host: where it ran; empty when not known.
        exit_code: what it returned; None when a signal ended it.
        signal: what ended it, such as ``SIGKILL``; empty for none.
        reason: why, from the last lines that it wrote; empty for none.
        consequence: True when it was ended because another task had failed.
        run_dir: the run directory.
    """

    rank: int | None
    host: str
    exit_code: int | None
    signal: str
    reason: str
    consequence: bool
    run_dir: str


class EndedJob(Record):
    """One attempt of a job, after its launcher has ended.

    Attributes:
        job_id: its id in Slurm.
        attempt: which attempt of the run, from 1.
        exit_code: the launcher's, which becomes the batch script's.
        nodes: the job's nodes as a hostlist.
        host: the node that the batch script runs on.
        num_failed_tasks: how many tasks are known to have failed.
        run_dir: the run directory.
        environment: the batch script's, read-only.
    """

    job_id: str
    attempt: int
    exit_code: int
    nodes: str
    host: str
    num_failed_tasks: int
    run_dir: str
    environment: "Mapping[str, str]"
