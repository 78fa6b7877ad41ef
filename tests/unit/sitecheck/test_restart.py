"""Which changes take a restart, by release."""

import pytest

from slurmkit.site.generate.release import Release
from slurmkit.sitecheck.candidate import Candidate
from slurmkit.sitecheck.restart import by_daemon, needed

SLURM = """ClusterName=alpha
SlurmctldHost=ctl
StateSaveLocation=/var/spool/slurmctld
GresTypes=gpu
KillWait=30
NodeName=n[1-4] CPUs=4 RealMemory=4000
PartitionName=all Nodes=n[1-4] Default=YES
"""


def restarts(
    new: dict[str, str], release: str, old: dict[str, str] | None = None
) -> dict[str, list[str]]:
    before = Candidate.of(old or {"slurm.conf": SLURM})
    found = needed(before, Candidate.of(new), Release.parse(release))
    return {
        daemon: [f"{reason.why} {reason.where.line if reason.where else '-'}" for reason in reasons]
        for daemon, reasons in by_daemon(found).items()
    }


@pytest.mark.parametrize(
    ("old", "new", "daemons_22", "daemons_24"),
    [
        ("KillWait=30", "KillWait=60", [], []),
        ("PartitionName=all", "PartitionName=every", [], []),
        ("GresTypes=gpu", "GresTypes=gpu,nic", ["slurmctld", "slurmd"], []),
        ("n[1-4]", "n[1-5]", ["slurmctld", "slurmd"], []),
        ("n[1-4]", "n[1-3]", ["slurmctld", "slurmd"], []),
        ("KillWait=30", "SlurmctldPort=7000", ["slurmctld", "slurmd"], ["slurmctld", "slurmd"]),
        ("/var/spool/slurmctld", "/state", ["slurmctld"], ["slurmctld"]),
        ("KillWait=30", "SelectType=select/linear", ["slurmctld", "slurmd"], []),
    ],
)
def test_what_must_be_restarted(
    old: str, new: str, daemons_22: list[str], daemons_24: list[str]
) -> None:
    text = SLURM.replace(old, new)
    assert text != SLURM
    assert list(restarts({"slurm.conf": text}, "22.05")) == daemons_22
    assert list(restarts({"slurm.conf": text}, "24.11")) == daemons_24


def test_nothing_changed_takes_no_restart() -> None:
    assert restarts({"slurm.conf": SLURM}, "22.05") == {}
    assert restarts({"slurm.conf": f"# a remark\n{SLURM}"}, "22.05") == {}


def test_the_reason_has_a_place() -> None:
    text = SLURM.replace("GresTypes=gpu", "GresTypes=gpu,nic").replace("n[1-4]", "n[1-6]")
    found = restarts({"slurm.conf": text}, "22.05")
    assert found["slurmctld"] == ["GresTypes has changed 4", "node n5 (and 1 more) is new 6"]


def test_files_that_are_read_at_the_start() -> None:
    files = {"slurm.conf": SLURM, "cgroup.conf": "ConstrainCores=yes\n", "slurmdbd.conf": "A=b\n"}
    unit = {"/etc/systemd/system/slurmd.service": "[Service]\n"}
    assert list(restarts({**files, **unit}, "22.05")) == ["slurmdbd", "slurmd"]
    assert list(restarts(files, "24.11")) == ["slurmdbd"]
    assert restarts(files, "24.11", files) == {}
    (reason,) = restarts({**files, **unit}, "24.11", files)["slurmd"]
    assert "daemon-reload" in reason


DROP_IN = "/etc/systemd/system/slurmd.service.d/slurmkit.conf"


@pytest.mark.parametrize(
    ("old", "new", "daemons"),
    [
        ({}, {DROP_IN: "LimitMEMLOCK=infinity\n"}, ["slurmd"]),
        ({DROP_IN: "LimitMEMLOCK=1\n"}, {DROP_IN: "LimitMEMLOCK=infinity\n"}, ["slurmd"]),
        ({DROP_IN: "LimitMEMLOCK=1\n"}, {}, ["slurmd"]),
        ({DROP_IN: "LimitMEMLOCK=1\n"}, {DROP_IN: "LimitMEMLOCK=1\n"}, []),
        ({}, {"/etc/sysctl.d/90-slurmkit.conf": "kernel.numa_balancing = 0\n"}, []),
    ],
)
def test_a_drop_in_takes_a_restart_of_its_daemon(
    old: dict[str, str], new: dict[str, str], daemons: list[str]
) -> None:
    files = {"slurm.conf": SLURM}
    assert list(restarts({**files, **new}, "26.05", {**files, **old})) == daemons
