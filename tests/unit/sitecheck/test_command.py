"""slurmkit site check on the command line: what it prints, in which form, and how it ends."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from slurmkit.api.schemas import schema_of
from slurmkit.errors import UsageError
from slurmkit.site import generation
from slurmkit.site.generate.release import Release
from slurmkit.sitecheck.candidate import read_candidate
from slurmkit.sitecheck.lint import lint
from slurmkit.sitecheck.reference import markdown
from slurmkit.sitecheck.registry import FAULTS, RULES
from slurmkit.sitecheck.report import check_site

PROGRAM = Path(sys.executable).with_name("slurmkit")


def check(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [PROGRAM, "site", "check", "--no-boot", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def broken(good_site: Callable[[str], Path], tmp_path: Path) -> Path:
    folder = tmp_path / "broken"
    shutil.copytree(good_site("24.11"), folder)
    conf = folder / "files/etc/slurm/slurm.conf"
    conf.write_text(conf.read_text() + "KilWait=3\nEpilogMsgTime=1000000\n")
    return folder


def test_people_get_lines_that_editors_understand(broken: Path) -> None:
    done = check(broken)
    conf = broken / "files/etc/slurm/slurm.conf"
    last = len(conf.read_text().splitlines())
    assert done.returncode == 1
    assert f"{conf}:{last - 1}:1: error: slurm.conf has no keyword KilWait" in done.stdout
    assert "Did you mean KillWait?" in done.stdout
    assert f"{conf}:{last}:15: warning: EpilogMsgTime" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("1 error, 1 warning")


def test_programs_get_what_the_schema_says(broken: Path) -> None:
    done = check(broken, "--json")
    told = json.loads(done.stdout)
    jsonschema.validate(told, schema_of("site-check"))
    assert (done.returncode, told["ok"], told["booted"]) == (1, False, None)
    assert [problem["code"] for problem in told["problems"]] == ["unknown-keyword", "epilog-time"]


def test_warnings_alone_are_no_failure(broken: Path) -> None:
    conf = broken / "files/etc/slurm/slurm.conf"
    conf.write_text(conf.read_text().replace("KilWait=3\n", ""))
    assert check(broken).returncode == 0


def test_the_release_is_the_sites_or_the_options(good_site: Callable[[str], Path]) -> None:
    folder = good_site("24.11")
    assert check_site(folder, start=False).release == "24.11"
    assert check_site(folder, "22.05", start=False).release == "22.05"
    assert check_site(Path("dgx-h100"), start=False).site == "dgx-h100"
    with pytest.raises(UsageError, match="no release"):
        check_site(folder, "new", start=False)


def test_a_site_that_names_no_release_is_read_for_the_one_it_is_made_for(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(
        "slurm: {confine: false}\nnode_types: {a: {nodes: n1, cores: 4, memory: 8G}}\n"
    )
    with pytest.raises(UsageError, match="it has no files/") as caught:
        check_site(tmp_path, start=False)
    assert f"slurmkit site generate {tmp_path}" in caught.value.hint
    made = generation.run(str(tmp_path))
    assert check_site(tmp_path / "site.yaml", start=False) == check_site(tmp_path, start=False)
    report = check_site(tmp_path, start=False)
    assert (report.release, report.problems) == (made.slurm_version, ())


def test_a_folder_of_conf_files_will_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a site folder"):
        read_candidate(tmp_path)
    text = "ClusterName=a\nSlurmctldHost=b\nStateSaveLocation=/x\nKilWait=3\n"
    (tmp_path / "slurm.conf").write_text(text + "NodeName=n RealMemory=1000\n")
    report = check_site(tmp_path, "24.11", start=False)
    codes = {problem.code for problem in report.problems}
    assert codes == {"unknown-keyword", "no-partitions"}
    assert read_candidate(tmp_path / "slurm.conf").files == read_candidate(tmp_path).files


def test_lint_takes_texts() -> None:
    (problem, *_) = [
        problem
        for problem in lint({"slurm.conf": "ClusterName=a\nKilWait=1\n"}, Release(24, 11))
        if problem.code == "unknown-keyword"
    ]
    assert str(problem.where) == "slurm.conf:2:1"


def test_an_include_is_read_at_its_place() -> None:
    files = {
        "slurm.conf": "ClusterName=a\nInclude nodes.conf\nKillWait=1\n",
        "nodes.conf": "NodeName=n1 RealMemory=1000\nNodeName=n1 RealMemory=1000\nKillWait=2\n",
    }
    found = {(problem.code, str(problem.where)) for problem in lint(files, Release(24, 11))}
    assert ("node-twice", "nodes.conf:2:10") in found
    assert ("keyword-twice", "slurm.conf:3:1") in found
    assert "include-missing" not in {code for code, _ in found}


def test_a_file_that_includes_itself_ends() -> None:
    found = lint({"slurm.conf": "ClusterName=a\nInclude slurm.conf\n"}, Release(24, 11))
    assert "include-missing" in {problem.code for problem in found}


def test_every_fault_is_on_the_page() -> None:
    page = markdown()
    assert len(RULES) > 30
    for code, fault in FAULTS.items():
        assert page.count(f"| `{code}` |") == 1
        assert fault.group
        assert fault.what.endswith(".")
        assert fault.fix.endswith((".", "?"))
