"""A task's place, from what launchers leave in the environment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.errors import UsageError
from slurmkit.hostlist import compress, expand
from slurmkit.launch.placement import detect, first_host, rank_of, tasks_on_node
from slurmkit.launch.variables import (
    TABLE,
    Placement,
    mpi_plugin_active,
    node_variables,
    reference_table,
    task_variables,
)

# Task 3 of 4 on 2 nodes as srun 22.05 starts it.
SRUN = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_NTASKS": "4",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_NNODES": "2",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_TASKS_PER_NODE": "2(x2)",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURMD_NODENAME": "node2",
}
OPENMPI = {
    "PMIX_NAMESPACE": "prterun-node1-17@1",
    "PMIX_RANK": "3",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_NODE_RANK": "1",
}
HYDRA = {
    "PMI_FD": "9",
    "PMI_RANK": "3",
    "PMI_SIZE": "4",
    "MPI_LOCALRANKID": "1",
    "MPI_LOCALNRANKS": "2",
}
PLACE = Placement(3, 4, 1, 2, 1, 2)
WITHOUT_NODES = Placement(3, 4, 1, 2)
# What an orted or a hydra_pmi_proxy got from the srun that started it on the second node.
PROXY = SRUN | {
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_STEP_NUM_TASKS": "1",
    "SLURM_JOB_NODELIST": "node[1-2]",
}


@pytest.mark.parametrize(
    ("env", "place"),
    [
        (SRUN, PLACE),
        (SRUN | {"PMI_FD": "11", "PMI_RANK": "3", "PMI_SIZE": "4"}, PLACE),
        (SRUN | {"PMIX_NAMESPACE": "slurm.pmix.7.0", "PMIX_RANK": "3"}, PLACE),
        # what an enclosing job or a script left behind says nothing about this step
        (
            SRUN | {"SLURM_NTASKS": "64", "SLURM_NNODES": "8", "SLURM_TASKS_PER_NODE": "8(x8)"},
            PLACE,
        ),
        (SRUN | {"RANK": "9", "WORLD_SIZE": "99", "OMPI_COMM_WORLD_RANK": "9"}, PLACE),
        (OPENMPI, WITHOUT_NODES),
        (HYDRA, WITHOUT_NODES),
        (PROXY | OPENMPI, PLACE_IN_ALLOCATION := Placement(3, 4, 1, 2, 1, None)),
        (PROXY | HYDRA, PLACE_IN_ALLOCATION),
        (OPENMPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, Placement(3, 4, 1, 4, 0, 1)),
        (
            {"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"},
            Placement(1, 2, 1, 2, 0, 1),
        ),
    ],
)
def test_place(env: dict[str, str], place: Placement) -> None:
    assert detect(env) == place


def test_older_names_do() -> None:
    env = {name: value for name, value in SRUN.items() if "STEP_NUM" not in name}
    assert detect(env) == PLACE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"SLURM_PROCID": None}, "SLURM_PROCID is not set"),
        ({"SLURM_LOCALID": None}, "SLURM_LOCALID is not set"),
        ({"SLURM_NODEID": None}, "SLURM_NODEID is not set"),
        ({"SLURM_NTASKS": None, "SLURM_STEP_NUM_TASKS": None}, "SLURM_STEP_NUM_TASKS is not set"),
        ({"SLURM_PROCID": "x"}, "SLURM_PROCID='x' is not a number"),
        ({"SLURM_PROCID": "-1"}, "SLURM_PROCID='-1' is not a number"),
        ({"SLURM_PROCID": "4"}, "SLURM_PROCID=4 does not fit SLURM_STEP_NUM_TASKS=4"),
        ({"SLURM_LOCALID": "2"}, "SLURM_LOCALID=2 does not fit SLURM_STEP_TASKS_PER_NODE=2"),
        (
            {"SLURM_NODEID": "2", "SLURM_STEP_TASKS_PER_NODE": "2(x3)"},
            "SLURM_NODEID=2 does not fit",
        ),
        ({"SLURM_NODEID": "2"}, "SLURM_STEP_TASKS_PER_NODE=2(x2) has 2 nodes, but this is node 2"),
        ({"SLURM_STEP_TASKS_PER_NODE": "two"}, "'two' is no list of tasks per node"),
        ({"SLURM_STEP_ID": None}, "this is the batch script of a job, not a task"),
    ],
)
def test_a_mistake_names_the_variable(change: dict[str, str | None], words: str) -> None:
    env = {name: value for name, value in (SRUN | change).items() if value is not None}
    with pytest.raises(UsageError) as caught:
        detect(env)
    assert words in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({}, "SLURM_PROCID is not set"),
        ({"PMIX_RANK": "0"}, "OMPI_COMM_WORLD_SIZE or PMI_SIZE is not set"),
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, "MPI_LOCALRANKID is not set"),
    ],
)
def test_no_launcher_is_said(env: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        detect(env)
    assert words in caught.value.message


def test_rank_is_known_also_when_the_rest_is_wrong() -> None:
    assert rank_of({"SLURM_PROCID": "5"}) == 5
    assert rank_of({"SLURM_PROCID": "x"}) is None
    assert rank_of(PROXY | OPENMPI) == 3
    assert rank_of({"PMI_RANK": "2"}) == 2
    assert rank_of({}) is None


@given(st.lists(st.tuples(st.integers(1, 64), st.integers(1, 5)), min_size=1, max_size=8))
def test_tasks_per_node_as_slurm_writes_them(runs: list[tuple[int, int]]) -> None:
    text = ",".join(f"{count}(x{repeat})" if repeat > 1 else str(count) for count, repeat in runs)
    counts = [count for count, repeat in runs for _ in range(repeat)]
    assert [tasks_on_node("X", text, node) for node in range(len(counts))] == counts


@given(st.lists(st.from_regex(r"[a-z]{1,3}[0-9]{0,3}", fullmatch=True), min_size=1, max_size=9))
def test_first_host_is_that_of_the_expanded_list(hosts: list[str]) -> None:
    hostlist = compress(hosts)
    assert first_host(hostlist) == expand(hostlist)[0]


@pytest.mark.parametrize(
    "hostlist", ["n[3-9]-ib,x", "a[1-3,07],b2", "r[1-2]n[03-04]", "one", "a,b"]
)
def test_first_host_with_suffixes(hostlist: str) -> None:
    assert first_host(hostlist) == expand(hostlist)[0]


def test_every_convention_is_written() -> None:
    values = task_variables(PLACE, SRUN)
    assert values == {
        "RANK": "3",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "1",
        "NODE_RANK": "1",
        "OMPI_COMM_WORLD_RANK": "3",
        "OMPI_COMM_WORLD_SIZE": "4",
        "OMPI_COMM_WORLD_LOCAL_RANK": "1",
        "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
        "OMPI_COMM_WORLD_NODE_RANK": "1",
        "PMI_RANK": "3",
        "PMI_SIZE": "4",
        "MPI_LOCALRANKID": "1",
        "MPI_LOCALNRANKS": "2",
    }


@pytest.mark.parametrize(
    "mark", [{"PMI_FD": "3"}, {"PMIX_RANK": "3"}, {"PMI_PORT": "h:1"}, {"SLURM_MPI_TYPE": "pmix"}]
)
def test_a_real_pmi_is_left_alone(mark: dict[str, str]) -> None:
    values = task_variables(PLACE, SRUN | mark)
    assert not [name for name in values if name.startswith(("PMI_", "PMIX_"))]
    assert mpi_plugin_active(SRUN | mark)
    assert not mpi_plugin_active(SRUN | {"SLURM_MPI_TYPE": "none"})


def test_one_launcher_per_node_gets_no_ranks() -> None:
    assert node_variables(PLACE) == {"GROUP_RANK": "1", "NODE_RANK": "1"}


@given(
    st.integers(1, 8).flatmap(lambda n: st.lists(st.integers(1, 8), min_size=n, max_size=n)),
    st.data(),
)
def test_what_is_written_for_mpi_reads_back(counts: list[int], data: st.DataObject) -> None:
    node = data.draw(st.integers(0, len(counts) - 1))
    local = data.draw(st.integers(0, counts[node] - 1))
    place = Placement(
        sum(counts[:node]) + local, sum(counts), local, counts[node], node, len(counts)
    )
    read = detect({k: v for k, v in task_variables(place, {}).items() if not k.startswith("PMI")})
    assert (read.rank, read.world_size) == (place.rank, place.world_size)
    assert (read.local_rank, read.local_world_size) == (place.local_rank, place.local_world_size)


def test_the_reference_names_every_variable() -> None:
    table = reference_table()
    for columns in TABLE.values():
        for names in columns.values():
            for name in names:
                assert f"`{name}`" in table


def test_nodes_of_a_heterogeneous_step_are_found_by_name() -> None:
    """Measured: component 0 on node4 is node 0 of the step, and the lists begin with node1."""
    task = SRUN | {
        "SLURM_HET_SIZE": "2",
        "SLURM_PROCID": "1",
        "SLURM_NODEID": "0",
        "SLURM_STEP_NUM_NODES": "3",
        "SLURM_STEP_NODELIST": "node[1-2,4]",
        "SLURM_STEP_TASKS_PER_NODE": "1(x2),2",
        "SLURMD_NODENAME": "node4",
    }
    assert detect(task) == Placement(1, 4, 1, 2, 0, 3)
