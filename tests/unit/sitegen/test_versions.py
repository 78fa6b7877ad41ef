"""The table of keywords and values: what each release knows."""

import pytest

from slurmkit.site.generate import SUPPORTED, Release
from slurmkit.site.generate.versions import VALUES, find, knows, state, table


@pytest.mark.parametrize(
    ("file", "keyword", "release", "expected"),
    [
        ("slurm.conf", "ClusterName", "22.05", "known"),
        ("slurm.conf", "clustername", "26.05", "known"),  # Slurm takes any case
        ("slurm.conf", "MaxBatchRequeue", "22.05", "unknown"),
        ("slurm.conf", "MaxBatchRequeue", "23.02", "known"),
        ("slurm.conf", "SlurmctldPlugstack", "22.05", "known"),
        ("slurm.conf", "SlurmctldPlugstack", "23.11", "unknown"),
        ("slurm.conf", "PrologTimeout", "24.11", "unknown"),
        ("slurm.conf", "PrologTimeout", "25.11", "known"),
        ("slurm.conf", "HealthCheckTimeout", "26.05", "known"),
        ("slurm.conf", "ExtSensorsType", "24.11", "ignored"),
        ("slurm.conf", "NoSuchKeyword", "24.11", "unknown"),
        ("cgroup.conf", "CgroupAutomount", "22.05", "known"),
        ("cgroup.conf", "CgroupAutomount", "23.11", "ignored"),
        ("cgroup.conf", "CgroupJobIdPaths", "25.11", "unknown"),
        ("cgroup.conf", "CgroupJobIdPaths", "26.05", "known"),
        ("NodeName", "RestrictedCoresPerGPU", "23.11", "unknown"),
        ("PartitionName", "Topology", "25.11", "known"),
        ("topology.conf", "BlockSizes", "22.05", "unknown"),
    ],
)
def test_states(file: str, keyword: str, release: str, expected: str) -> None:
    assert state(file, keyword, Release.parse(release)) == expected


@pytest.mark.parametrize(
    ("file", "key", "value", "first"),
    [
        ("cgroup.conf", "CgroupPlugin", "disabled", "24.11"),
        ("gres.conf", "AutoDetect", "nvidia", "24.11"),
        ("slurm.conf", "SchedulerParameters", "requeue_delay", "25.11"),
        ("slurm.conf", "TopologyPlugin", "topology/block", "23.11"),
        ("slurm.conf", "", "topology.yaml", "25.11"),
    ],
)
def test_values(file: str, key: str, value: str, first: str) -> None:
    known = [release for release in SUPPORTED if knows(file, key, value, release)]
    assert known == [release for release in SUPPORTED if release.at_least(first)]


def test_what_is_in_no_table_of_values_is_left_to_slurm() -> None:
    assert knows("slurm.conf", "SelectType", "select/cons_tres", SUPPORTED[0])


def test_every_keyword_is_known_to_some_release() -> None:
    assert len(table()) > 400
    for keyword in table().values():
        assert any(keyword.state(release) != "unknown" for release in _ALL), keyword
        assert find(keyword.file, keyword.name.upper()) == keyword


_ALL = [
    Release.parse(text)
    for text in ("22.05", "23.02", "23.11", "24.05", "24.11", "25.05", "25.11", "26.05")
]


def test_each_value_names_its_source() -> None:
    assert all(value.source for value in VALUES)
