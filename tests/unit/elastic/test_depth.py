"""How deep the queue is, why its jobs wait, and how many more nodes would help."""

from collections.abc import Sequence

import pytest

from slurmkit.elastic.depth import Depth, counts, depth, nodes_needed, why
from slurmkit.slurm.inventory import DeclaredNode
from slurmkit.slurm.power import WaitingJob, read_waiting


def node(name: str, state: str = "IDLE", partitions: tuple[str, ...] = ("gpu",)) -> DeclaredNode:
    return DeclaredNode(name, 2, 4, 1, 8, 1000, 8, "h100", (), state, partitions)


def job(number: int, nodes: int = 1, gpus: int = 8, reason: str = "Resources") -> WaitingJob:
    return WaitingJob(
        str(number), ("gpu",), reason, nodes, nodes, gpus, 3600, 1000.0, False, 100 - number
    )


def look(jobs: Sequence[WaitingJob], *states: str) -> Depth:
    return depth(jobs, [node(f"n{i}", state) for i, state in enumerate(states)], now=1600.0)


def test_states_of_nodes() -> None:
    states = (
        "IDLE", "MIXED", "ALLOCATED", "IDLE+CLOUD+POWERED_DOWN", "MIXED+CLOUD+POWERING_UP",
        "IDLE+DRAIN", "DOWN*", "IDLE+POWERING_DOWN", "DOWN+POWERED_DOWN", "IDLE*",
        "IDLE+NOT_RESPONDING", "IDLE+MAINTENANCE+RESERVED", "IDLE+CLOUD+NOT_RESPONDING+POWERING_UP",
    )  # fmt: skip
    found = counts(node(str(index), state) for index, state in enumerate(states))
    assert (found.total, found.idle, found.busy, found.stopped, found.starting, found.out) == (
        13, 1, 2, 2, 2, 6,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Resources", "nodes"),
        ("(Priority)", "nodes"),
        ("Dependency", "another job"),
        ("JobHeldUser", "held by a person"),
        ("QOSMaxGRESPerUser", "a limit of QOS or account"),
        ("AssocGrpGRES", "a limit of QOS or account"),
        ("BeginTime", "its time"),
        ("PartitionDown", "its partition"),
        ("PartitionNodeLimit", "its partition"),
        ("JobArrayTaskLimit", "its array's own limit"),
        ("ReqNodeNotAvail, UnavailableNodes:n1", "nodes that are down or drained"),
        ("SomethingNew", "SomethingNew"),
    ],
)
def test_why_jobs_wait(reason: str, words: str) -> None:
    assert why(job(1, reason=reason)) == words


@pytest.mark.parametrize(
    ("jobs", "nodes"),
    [
        ([], 0),
        ([job(1, 4)], 4),
        ([job(1, 1, 4), job(2, 1, 4)], 1),
        ([job(1, 1, 4), job(2, 1, 4), job(3, 1, 1)], 2),
        ([job(1, 2, 4), job(2, 2, 4)], 2),
        ([job(1, 1, 0)] * 8, 1),
        # Nodes of one job are different ones, however little it takes of each.
        ([job(1, 4, 1)], 4),
        ([job(1, 4, 1), job(2, 1, 8), job(3, 2, 2)], 5),
        # --gpus=20 without a number of nodes
        ([job(1, 1, 20)], 3),
    ],
)
def test_jobs_share_nodes_where_they_can(jobs: list[WaitingJob], nodes: int) -> None:
    assert nodes_needed(jobs, gpus=8, cpus=8) == nodes


def test_what_slurm_will_start_by_itself_need_not_be_added() -> None:
    found = look([job(1, 2)], "ALLOCATED", "IDLE+POWERED_DOWN", "MIXED+POWERING_UP")
    assert found.add == 0
    assert "2 of them stopped or starting: no node need be added" in found.advice[0]


def test_nodes_to_add() -> None:
    found = look([job(1, 2), job(2, 1)], "ALLOCATED", "ALLOCATED", "IDLE")
    (gpu,) = found.partitions
    assert (gpu.jobs, gpu.needed, gpu.add, gpu.first, found.add) == (2, 3, 2, 1, 2)
    assert (gpu.longest_wait_s, gpu.node_hours) == (600, 3.0)
    assert "2 more would let all of them start" in found.advice[0]


def test_the_first_in_line_needs_as_many_nodes_as_are_not_free() -> None:
    found = look([job(1, 4)], "ALLOCATED", "ALLOCATED", "IDLE")
    assert found.partitions[0].first == 3


def test_limits_are_no_reason_to_add_nodes() -> None:
    found = look([job(1, 9, reason="QOSMaxNodePerJobLimit")], "ALLOCATED")
    assert (found.add, found.partitions) == (0, [])
    assert found.reasons == {"a limit of QOS or account": 1}


def test_a_job_that_is_larger_than_its_partition_is_named() -> None:
    found = look([job(7, 4)], "ALLOCATED", "IDLE")
    assert found.partitions[0].impossible == ["7"]
    assert "1 can never start" in found.advice[0]
    assert "2 more would do" in found.advice[0]


def test_a_small_share_of_more_nodes_than_are_in_service_is_counted_as_nodes() -> None:
    found = look([job(1, 3, 1)], "IDLE", "DOWN", "DOWN")
    assert (found.partitions[0].first, found.partitions[0].add) == (2, 2)


def test_broken_nodes_come_before_new_ones() -> None:
    found = look([job(1, 2)], "ALLOCATED", "IDLE+DRAIN")
    assert "1 are out of service: mend these first" in found.advice[0]


def test_partitions_of_the_same_nodes_count_once() -> None:
    jobs = [job(1, 1), WaitingJob("2", ("urgent",), "Resources", 1, 1, 8)]
    nodes = [node("n1", "ALLOCATED", ("gpu", "urgent")), node("n2", "IDLE", ("gpu", "urgent"))]
    assert depth(jobs, nodes, 0.0).add == 1


def test_squeue_is_read_in_order_of_priority() -> None:
    printed = (
        "12_1|gpu,long|Priority|2|16|2|gres/gpu:8|N/A|N/A|1-02:00:00|2026-01-05T10:00:00|50|OK||\n"
        "9   |gpu |Resources|1-4|8|1|gres:gpu:h100:4|N/A|N/A|10:00|2026-01-05T11:00:00|70|NO||\n"
        "10|cpu|Dependency|1|1|1|N/A|N/A|N/A|UNLIMITED|2026-01-05T11:00:00|1|OK||\n"
    )
    first, second, third = read_waiting(printed)
    assert (first.id, first.num_nodes, first.gpus_per_node, first.limit_s, first.exclusive) == (
        "9", 1, 4, 600, True,
    )  # fmt: skip
    assert (second.partitions, second.gpus_per_node, second.limit_s) == (
        ("gpu", "long"), 8, 93600,
    )  # fmt: skip
    assert (third.gpus_per_node, third.limit_s) == (0, None)


@pytest.mark.parametrize(
    ("tres", "gpus"),
    [
        ("2|N/A|N/A|N/A", 0),
        ("2|gres:gpu:a:1,gres:gpu:b:2|N/A|N/A", 3),
        # --gpus=16, and --gpus-per-task=1 for 8 tasks, on 2 nodes each
        ("2|N/A|gres:gpu:16|N/A", 8),
        ("8|N/A|N/A|gres/gpu=1", 4),
    ],
)
def test_gpus_of_a_job_are_read_however_it_asked_for_them(tres: str, gpus: int) -> None:
    (found,) = read_waiting(f"1|gpu|Resources|2|2|{tres}|10:00|2026-01-05T11:00:00|1|OK||\n")
    assert found.gpus_per_node == gpus


@pytest.mark.parametrize(
    ("words", "exclusive"), [("NO|", True), ("NO|NO", False), ("NO|NODE", True)]
)
def test_since_26_05_exclusive_jobs_have_a_field_of_their_own(words: str, exclusive: bool) -> None:
    (found,) = read_waiting(
        f"1|gpu|Resources|2|2|1|N/A|N/A|N/A|10:00|2026-01-05T11:00:00|1|{words}|\n"
    )
    assert found.exclusive is exclusive
