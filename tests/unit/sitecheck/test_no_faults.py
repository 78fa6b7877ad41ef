"""What looks like a fault and is none, or only a warning: by release, by host, by what is known."""

from pathlib import Path

import pytest

from slurmkit.site.generate.release import Release
from slurmkit.sitecheck import compare
from slurmkit.sitecheck.candidate import Candidate, read_candidate
from slurmkit.sitecheck.config import read_cluster
from slurmkit.sitecheck.lint import lint, lint_candidate

GOOD = """ClusterName=a
SlurmctldHost=ctl(10.0.0.1)
StateSaveLocation=/var/spool/slurmctld
SlurmUser=slurm
NodeName=n[1-4] CPUs=4 RealMemory=4000
PartitionName=all Nodes=n[1-4] Default=YES
"""


def found(text: str, release: str = "24.11") -> dict[str, bool]:
    """Return the code of each fault, and whether it is a warning."""
    problems = lint({"slurm.conf": GOOD + text}, Release.parse(release))
    return {problem.code: problem.warning for problem in problems}


def test_there_is_no_fault_to_begin_with() -> None:
    assert found("") == {}


@pytest.mark.parametrize(
    ("text", "collide"),
    [
        ("SlurmdPort=6819", False),  # there is no slurmdbd
        ("SlurmdPort=6819\nAccountingStorageType=slurmdbd\nAccountingStorageHost=db", False),
        ("SlurmdPort=6819\nAccountingStorageType=slurmdbd\nAccountingStorageHost=ctl", True),
        ("SlurmctldPort=6818-6820\nAccountingStorageType=accounting_storage/slurmdbd", True),
        ("SlurmdPort=6817", True),
    ],
)
def test_ports_collide_on_one_host_alone(text: str, collide: bool) -> None:
    assert ("ports-collide" in found(text)) is collide


@pytest.mark.parametrize(("release", "warning"), [("22.05", True), ("24.11", False)])
def test_slurm_minds_a_short_unkillable_timeout_from_24_05_on(release: str, warning: bool) -> None:
    assert found("UnkillableStepTimeout=20", release) == {"unkillable-timeout": warning}


def test_slices_of_a_gpu_share_its_file() -> None:
    slurm = "GresTypes=gpu\nSelectType=select/cons_tres\nTaskPlugin=task/affinity\n"
    slurm += "NodeName=g1 CPUs=4 RealMemory=4000 Gres=gpu:3g:2\nPartitionName=g Nodes=g1\n"
    line = "NodeName=g1 Name=gpu Type=3g MultipleFiles=/dev/nvidia0,/dev/nvidia-caps/nvidia-cap{}\n"

    def codes(*slices: int) -> list[str]:
        files = {"slurm.conf": GOOD + slurm, "gres.conf": "".join(map(line.format, slices))}
        return [problem.code for problem in lint(files, Release.parse("24.11"))]

    assert codes(12, 21) == []
    assert codes(12, 12) == ["gres-file-twice"]
    assert codes(12) == ["gres-count"]


def test_credentials_may_be_signed_by_the_plugin_of_authentication() -> None:
    assert found("AuthType=auth/slurm\nCredType=auth/slurm\n") == {}
    assert found("CredType=auth/munge\n") == {"unknown-plugin": False}


def test_conf_files_alone_may_lack_the_programs(tmp_path: Path) -> None:
    text = "Prolog=/etc/slurm/prolog.d/*.sh\nEpilog=/etc/slurm/epilog.sh\n"
    (tmp_path / "slurm.conf").write_text(GOOD + text)
    problems = lint_candidate(read_candidate(tmp_path), Release.parse("24.11"))
    assert [(problem.code, problem.warning) for problem in problems] == [
        ("prolog-pattern", True),
        ("program-missing", True),
    ]


def test_what_slurmctld_shows_in_another_form_has_not_changed() -> None:
    text = "PriorityFlags=FAIR_TREE,MAX_TRES\nKillWait=30\n"
    cluster = read_cluster(Candidate.of({"slurm.conf": GOOD + text}), Release.parse("24.11"))
    assert cluster
    shown = "PriorityFlags           = MAX_TRES\nKillWait                = 31 sec\n"
    nodes = "".join(f"NodeName=n{i} CPUTot=4 RealMemory=4000\n" for i in range(1, 5))
    (problem,) = compare.problems(cluster, shown, nodes, "")
    assert problem.key == "KillWait"
