"""The table of keywords against facts that are known from elsewhere."""

import pytest

from slurmkit.site.generate import versions
from slurmkit.site.generate.release import SUPPORTED, Release
from slurmkit.sitecheck import words


@pytest.mark.parametrize(
    ("file", "line", "name", "release", "expected"),
    [
        ("slurm.conf", "", "ClusterName", "22.05", True),
        ("slurm.conf", "", "clustername", "26.05", True),
        ("slurm.conf", "", "HealthCheckTimeout", "24.11", False),
        ("slurm.conf", "", "HealthCheckTimeout", "26.05", True),
        ("slurm.conf", "NodeName", "RealMemory", "22.05", True),
        ("slurm.conf", "NodeName", "Topology", "24.11", False),
        ("slurm.conf", "PartitionName", "PriorityTier", "22.05", True),
        ("slurm.conf", "PartitionName", "RealMemory", "22.05", False),
        ("cgroup.conf", "", "CgroupJobIdPaths", "25.11", False),
        ("cgroup.conf", "", "CgroupJobIdPaths", "26.05", True),
        ("cgroup.conf", "", "ConstrainKmemSpace", "23.02", True),
        ("cgroup.conf", "", "ConstrainKmemSpace", "23.11", False),
        ("gres.conf", "Name", "File", "22.05", True),
        ("gres.conf", "NodeName", "Links", "26.05", True),
        ("topology.conf", "", "BlockName", "22.05", False),
        ("topology.conf", "", "BlockName", "23.11", True),
        ("job_container.conf", "BasePath", "Shared", "23.02", True),
        ("namespace.conf", "", "BasePath", "25.11", True),
        ("slurmdbd.conf", "", "StorageLoc", "22.05", True),
        ("slurm.conf", "", "NoSuchThing", "22.05", False),
    ],
)
def test_known(file: str, line: str, name: str, release: str, expected: bool) -> None:
    keyword = words.find(file, name, line)
    state = keyword.state(Release.parse(release)) if keyword else "unknown"
    assert (state != "unknown") is expected


def test_a_defunct_keyword_is_read_and_ignored() -> None:
    keyword = words.find("cgroup.conf", "cgroupautomount")
    assert keyword is not None
    assert (keyword.name, keyword.kind) == ("CgroupAutomount", "boolean")
    states = [keyword.state(Release.parse(text)) for text in ("22.05", "23.11", "26.05")]
    assert states == ["known", "ignored", "ignored"]


def test_names_and_lines() -> None:
    assert "Gres" in words.names("slurm.conf", Release(22, 5), "NodeName")
    assert "Topology" not in words.names("slurm.conf", Release(22, 5), "NodeName")
    assert "AutoDetect" in words.names("gres.conf", Release(22, 5), "NodeName")
    assert "partitionname" in words.line_starters("slurm.conf")
    assert words.homes("slurm.conf", "ConstrainCores") == ["cgroup.conf"]


def test_nearest() -> None:
    assert words.nearest("slurmctldtimout", ["SlurmdTimeout", "SlurmctldTimeout"]) == (
        "SlurmctldTimeout"
    )
    assert words.nearest("nothing", ["SlurmdTimeout"]) == ""


def test_both_tables_of_keywords_name_the_same() -> None:
    """The types are of the same words, in every release, as the table that generation uses."""
    dated = set(versions.table())
    typed = {
        (keyword.line if file == "slurm.conf" and line else file, name)
        for (file, line, name), keyword in words.table().items()
        if file in ("slurm.conf", "gres.conf", "cgroup.conf", "topology.conf", "slurmdbd.conf")
        and line not in ("frontendname", "poweraction")
    }
    assert typed - dated == set()
    assert dated - typed == set()
    assert len(SUPPORTED) == 5


def test_plugins() -> None:
    assert "cons_tres" in words.plugins("select", Release(26, 5))
    assert "cons_res" not in words.plugins("select", Release(23, 11))
    block = words.plugin("topology", "block")
    assert block is not None
    assert not block.known(Release(22, 5))
    none = words.plugin("task", "none")
    assert none is not None
    assert none.known(Release(26, 5))
