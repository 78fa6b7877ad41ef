"""Names that slurmkit gives values to itself."""

import pytest

from slurmkit.launch.placement import Placement
from slurmkit.launch.variables import node_variables, task_variables
from slurmkit.reserved import refused_option, why_reserved


def test_every_variable_that_tasks_are_given_is_reserved() -> None:
    place = Placement(0, 1, 0, 1, 0, 1)
    given = {**task_variables(place, {}), **node_variables(place)}
    assert given
    assert [name for name in given if not why_reserved(name)] == []


@pytest.mark.parametrize(
    "name", ["PATH", "NCCL_DEBUG", "OMPI_MCA_pml", "PMIX_MCA_gds", "SLURM_CPU_BIND", "RANKS", "PMI"]
)
def test_other_variables_are_the_users(name: str) -> None:
    assert why_reserved(name) == ""


@pytest.mark.parametrize(
    "line",
    [
        "--mail-type=END",
        "--mail-user a@example.org",
        "--hold",
        "-H",
        "--nice=5",
        "--begin=now+1hour",
        "--time-min=10",
        "--gres=nvme:1",
        "--gres=gpu:8,nvme:1",
        "--exclusive=user",
        "--signal=B:USR1@60",
        "--no-kill",
        "--cpu-freq=high",
        "--mem-bind=local",
        "--switches=1@10:00",
        "-k",
        "-v -v",
    ],
)
def test_options_that_no_key_says_may_stay(line: str) -> None:
    assert refused_option(line) is None


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("--nodes=2", "resources.nodes"),
        ("--nodes 2", "resources.nodes"),
        ("-N 2", "resources.nodes"),
        ("-N2", "resources.nodes"),
        ("--part=gpu", "resources.partition"),
        ("--hold -p gpu", "resources.partition"),
        ("-Jname", "name"),
        ("-a 0-9", "array"),
        ("--array=0-9", "array"),
        ("-d afterok:1", "after"),
        ("--mem=4G", "resources.memory"),
        ("--mem-per-cpu=4G", "resources.memory"),
        ("--gres=gpu:2", "resources.gpus_per_node"),
        ("--gres gpu", "resources.gpus_per_node"),
        ("--exclusive", "resources.exclusive"),
        ("-D /tmp", "launch.workdir"),
        ("--output=x", ""),
        ("-e x", ""),
        ("--expor=NONE", ""),
        ("--wrap='a b'", ""),
    ],
)
def test_options_with_a_key_name_it(line: str, key: str) -> None:
    refused = refused_option(line)
    assert refused is not None
    assert refused[2] == key
