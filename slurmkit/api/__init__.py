"""The Python face of slurmkit; the command line is a thin layer over it.

Example::

    import slurmkit

    job = slurmkit.load("llama-finetune.yaml", ["resources.nodes=4"])
    run = slurmkit.submit(job)
    status = run.wait()
    if not status.ok:
        print(status.elements[0].failure)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slurmkit.api.checkpoints import (
        CheckpointList,
        CheckpointVerdict,
        CommittedCheckpoint,
        PrunedCheckpoints,
        begin_checkpoint,
        commit_checkpoint,
        list_checkpoints,
        newest_checkpoint,
        prune_checkpoints,
        verify_checkpoints,
    )
    from slurmkit.api.describe import describe_site
    from slurmkit.api.find import find_run, list_status
    from slurmkit.api.local import LocalRun, run_local
    from slurmkit.api.preparing import Prepared, load, prepare
    from slurmkit.api.recovery import explain, report
    from slurmkit.api.run import Run
    from slurmkit.api.status import ElementStatus, RankFailure, RunStatus
    from slurmkit.api.submitting import DryRun, check, dry_run, submit, submit_many
    from slurmkit.observe.report import RunReport
    from slurmkit.observe.story import Story
    from slurmkit.spec.loader import Job, from_spec
    from slurmkit.spec.models import JobSpec

# Each name is imported when it is first used: rendering a script must not pay for talking to Slurm.
_HOMES = {
    "CheckpointList": "slurmkit.api.checkpoints",
    "CheckpointVerdict": "slurmkit.api.checkpoints",
    "CommittedCheckpoint": "slurmkit.api.checkpoints",
    "DryRun": "slurmkit.api.submitting",
    "ElementStatus": "slurmkit.api.status",
    "Job": "slurmkit.spec.loader",
    "JobSpec": "slurmkit.spec.models",
    "LocalRun": "slurmkit.api.local",
    "Prepared": "slurmkit.api.preparing",
    "PrunedCheckpoints": "slurmkit.api.checkpoints",
    "RankFailure": "slurmkit.api.status",
    "Run": "slurmkit.api.run",
    "RunReport": "slurmkit.observe.report",
    "RunStatus": "slurmkit.api.status",
    "Story": "slurmkit.observe.story",
    "begin_checkpoint": "slurmkit.api.checkpoints",
    "check": "slurmkit.api.submitting",
    "commit_checkpoint": "slurmkit.api.checkpoints",
    "describe_site": "slurmkit.api.describe",
    "dry_run": "slurmkit.api.submitting",
    "explain": "slurmkit.api.recovery",
    "find_run": "slurmkit.api.find",
    "from_spec": "slurmkit.spec.loader",
    "list_checkpoints": "slurmkit.api.checkpoints",
    "list_status": "slurmkit.api.find",
    "load": "slurmkit.spec.loader",
    "newest_checkpoint": "slurmkit.api.checkpoints",
    "prepare": "slurmkit.api.preparing",
    "prune_checkpoints": "slurmkit.api.checkpoints",
    "report": "slurmkit.api.recovery",
    "run_local": "slurmkit.api.local",
    "submit": "slurmkit.api.submitting",
    "submit_many": "slurmkit.api.submitting",
    "verify_checkpoints": "slurmkit.api.checkpoints",
}
__all__ = [
    "CheckpointList",
    "CheckpointVerdict",
    "CommittedCheckpoint",
    "DryRun",
    "ElementStatus",
    "Job",
    "JobSpec",
    "LocalRun",
    "Prepared",
    "PrunedCheckpoints",
    "RankFailure",
    "Run",
    "RunReport",
    "RunStatus",
    "Story",
    "begin_checkpoint",
    "check",
    "commit_checkpoint",
    "describe_site",
    "dry_run",
    "explain",
    "find_run",
    "from_spec",
    "list_checkpoints",
    "list_status",
    "load",
    "newest_checkpoint",
    "prepare",
    "prune_checkpoints",
    "report",
    "run_local",
    "submit",
    "submit_many",
    "verify_checkpoints",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'slurmkit.api' has no attribute {name!r}")
    # No module here may have a public name: importing it would put it in the place of that one.
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
