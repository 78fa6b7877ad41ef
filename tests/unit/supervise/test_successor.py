"""The successor: submitted once, by a script without what only its predecessor needed."""

import json
import os
import time
from pathlib import Path

import pytest

from slurmkit.errors import SlurmkitError
from slurmkit.rundir.layout import RunDir
from slurmkit.supervise import successor
from slurmkit.supervise.context import job_context
from slurmkit.supervise.successor import Predecessor, claim_path, submit

FORMER = Predecessor("7", "7", "7.0.aa")


def _claimed(run: RunDir, text: str, age_s: float = 0.0) -> None:
    path = claim_path(run.element(), FORMER.incarnation)
    path.parent.mkdir()
    path.write_text(text)
    os.utime(path, (time.time() - age_s,) * 2)


def test_what_another_node_has_submitted_is_taken(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    _claimed(run, json.dumps({"job_id": "9", "host": "n2"}))
    assert submit(run, FORMER, ["n1"]) == "9"


@pytest.mark.parametrize("text", ['{"host": "n2", "pid": 1}', ""])
def test_a_claim_in_progress_is_left_alone(tmp_path: Path, text: str) -> None:
    run = RunDir(tmp_path)
    _claimed(run, text)
    with pytest.raises(SlurmkitError, match="is submitting the successor"):
        submit(run, FORMER, [])


def test_directives_that_hold_a_job_back_are_dropped() -> None:
    script = (
        "#!/bin/bash\n#SBATCH --nodes=2\n#SBATCH --dependency=afterok:3\n#SBATCH -d after:3\n"
        "#SBATCH --kill-on-invalid-dep=yes\n#SBATCH --begin=now+1hour\n#SBATCH --time=5\n"
        "echo '#SBATCH --dependency=1'\n"
    )
    assert successor._DROPPED.sub("", script) == (
        "#!/bin/bash\n#SBATCH --nodes=2\n#SBATCH --time=5\necho '#SBATCH --dependency=1'\n"
    )


def test_an_element_of_an_array_knows_how_large_it_was() -> None:
    env = {"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "11", "SLURM_ARRAY_TASK_ID": "3"}
    assert job_context({**env, "SLURM_ARRAY_TASK_COUNT": "8"}).array_size == 8
    successors = {**env, "SLURM_ARRAY_TASK_COUNT": "1", "SLURMKIT_ARRAY_SIZE": "8"}
    assert job_context(successors).array_size == 8
