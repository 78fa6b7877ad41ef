"""Which nodes are asked, through which partition, and what is said of the others."""

from collections.abc import Mapping, Sequence

import pytest

from slurmkit.errors import SlurmError
from slurmkit.survey.collect import from_cluster

_NODE = "NodeName={} CoresPerSocket=4 CPUTot=4 RealMemory=100 Sockets=1 State={} ThreadsPerCore=1\n"


class Door:
    """Slurm's answers as text, and partitions that take a job of mine or do not."""

    def __init__(self, partitions: Mapping[str, str], states: Mapping[str, str]) -> None:
        self.partitions = partitions
        self.states = states
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.refuses: dict[str, str] = {}

    def answers(self) -> dict[str, str]:
        return {
            "config": "ClusterName = x\nSLURM_VERSION = 24.11.5\n",
            "nodes": "".join(_NODE.format(*pair) for pair in self.states.items()),
            "partitions": "".join(
                f"PartitionName={name} Nodes={nodes} State={'UP' if name != 'off' else 'DOWN'}\n"
                for name, nodes in self.partitions.items()
            ),
        }

    def run_on(
        self, hosts: Sequence[str], partition: str, script: str, *, wait_s: int, timeout_s: float
    ) -> dict[str, str]:
        self.asked.append((partition, tuple(hosts)))
        if partition in self.refuses:
            raise SlurmError(self.refuses[partition])
        line = "CPUs=4 Boards=1 SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=90"
        return {host: f"@@slurmd\nNodeName={host} {line}\n" for host in hosts}


@pytest.fixture
def door() -> Door:
    states = {"n1": "IDLE", "n2": "MIXED", "n3": "ALLOCATED", "n4": "DOWN*", "n5": "IDLE"}
    return Door({"a": "n[1-4]", "b": "n[1-5]", "off": "n[1-5]"}, states)


def silent(_line: str) -> None:
    pass


def test_nodes_with_room_are_asked_once_each_idle_ones_first(door: Door) -> None:
    seen = from_cluster(door, silent)
    assert door.asked == [("a", ("n1",)), ("a", ("n2",)), ("b", ("n5",))]
    assert set(seen.nodes) == {"n1", "n2", "n5"}
    assert "not asked, so taken as Slurm declares them: n[3-4]" in seen.unseen


def test_a_partition_that_refuses_me_does_not_keep_me_out_of_the_next(door: Door) -> None:
    door.refuses["a"] = "User's group not permitted to use this partition"
    seen = from_cluster(door, silent)
    assert set(seen.nodes) == {"n1", "n2", "n5"}
    assert any("ran in partition a: User's group not permitted" in line for line in seen.unseen)


def test_nodes_that_are_busy_are_not_asked_through_every_partition(door: Door) -> None:
    door.partitions = dict.fromkeys("abcdef", "n1")
    door.refuses = dict.fromkeys("abcdef", "Requested nodes are busy")
    from_cluster(door, silent)
    assert [partition for partition, _ in door.asked] == ["a", "b"]


def test_a_user_whom_slurm_does_not_know_is_not_tried_everywhere(door: Door) -> None:
    door.refuses = dict.fromkeys("ab", "Invalid account or account/partition combination")
    seen = from_cluster(door, silent)
    assert {partition for partition, _ in door.asked} == {"a"}
    assert seen.nodes == {}


def test_nothing_is_run_when_it_is_not_wanted(door: Door) -> None:
    seen = from_cluster(door, silent, run_jobs=False)
    assert door.asked == []
    assert "no node was asked" in seen.unseen[0]
