from typing import Any

import pytest

from slurmkit.slurm.description import NeedsSbatchError, job_attributes

SCRIPT = """#!/bin/bash
# A comment, then what sbatch reads.
#SBATCH --job-name='llama 8b' # of mine
#SBATCH --nodes=2 --ntasks-per-node=4
#SBATCH -c 8
#SBATCH --gres=gpu:h100:4
#SBATCH --mem=64G
#SBATCH --time 1-00:00:00
#SBATCH --output="/runs/a b/slurm-%j.out"
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --no-kill
#SBATCH --exclusive
#SBATCH --signal=B:USR2@120
#SBATCHER is no directive

set -e
#SBATCH --nodes=99
"""


def test_a_rendered_script_becomes_a_description() -> None:
    assert job_attributes(SCRIPT, ["--hold", "-p", "main", "--time=10"]) == {
        "name": "llama 8b",
        "nodes": "2",
        "ntasks_per_node": 4,
        "ntasks": 8,
        "cpus_per_task": 8,
        "gres_per_node": "gpu:h100:4",
        "memory_per_node": "64G",
        "time_limit": "10",
        "standard_output": "/runs/a b/slurm-%j.out",
        "log_files_open_mode": "append",
        "is_requeueable": True,
        "kill_on_node_fail": False,
        "resource_sharing": "exclusive",
        "signal": {"signal": 12, "batch_only": True, "time": 120},
        "priority": 0,
        "partitions": "main",
    }


@pytest.mark.parametrize(
    ("words", "attributes"),
    [
        (["-N2"], {"nodes": "2"}),
        (["--array=0-9%3"], {"array": "0-9%3"}),
        (["--signal=10"], {"signal": {"signal": 10, "batch_only": False}}),
        (["--kill-on-invalid-dep=yes"], {"kill_on_invalid_dependency": True}),
        (["--gres=gpu:2,nic:1"], {"gres_per_node": "gpu:2,nic:1"}),
        (["--ntasks=3", "--ntasks-per-node=2"], {"ntasks": 3, "ntasks_per_node": 2}),
    ],
)
def test_options_in_their_forms(words: list[str], attributes: dict[str, Any]) -> None:
    assert job_attributes("#!/bin/sh\n", words) == attributes


@pytest.mark.parametrize(
    "words",
    [
        ["--export=NONE"],
        ["--container-image=x"],  # a SPANK option
        ["--mem=0"],
        ["--mem=0G"],
        ["--mem=lots"],
        ["--gres=gpu"],
        ["--exclusive=user"],
        ["--ntasks=0"],
        ["--ntasks=four"],
        ["--nodes=1-4", "--ntasks-per-node=2"],
        ["--signal=R:USR1"],
        ["--signal=NONE"],
        ["--kill-on-invalid-dep=maybe"],
        ["--account="],
        ["--account"],
        ["hetjob"],
        [":"],
        ["-Q"],
    ],
)
def test_what_it_cannot_say_is_left_to_sbatch(words: list[str]) -> None:
    with pytest.raises(NeedsSbatchError):
        job_attributes("#!/bin/sh\n", words)
    with pytest.raises(NeedsSbatchError):
        job_attributes(f"#!/bin/sh\n#SBATCH {' '.join(words)}\n", [])


def test_an_open_quote_is_left_to_sbatch() -> None:
    with pytest.raises(NeedsSbatchError):
        job_attributes("#!/bin/sh\n#SBATCH --job-name='a\n", [])
