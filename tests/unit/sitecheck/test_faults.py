"""Every seeded fault is found with its code, file and line; a good site has none."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from slurmkit.errors import Problem
from slurmkit.site.generate.release import SUPPORTED, Release
from slurmkit.sitecheck import scripts
from slurmkit.sitecheck.candidate import read_candidate
from slurmkit.sitecheck.config import read_cluster
from slurmkit.sitecheck.lint import FAULTS, lint_candidate

sys.path.insert(0, str(Path(__file__).parents[2] / "fixtures"))
from site_faults import SEEDS, Editor, Seed

sys.path.pop(0)

RELEASES = ("22.05", "24.11", "26.05")
ROOT = Path(__file__).parents[3]
SHIPPED = ("dgx-h100", "hgx-b300-roce", "sandbox")


def read(folder: Path, release: str, *, also_scripts: bool = True) -> list[Problem]:
    candidate = read_candidate(folder)
    found = lint_candidate(candidate, Release.parse(release))
    return [*found, *scripts.problems(candidate)] if also_scripts else found


def applies(seed: Seed, release: str) -> bool:
    now = Release.parse(release)
    early = bool(seed.since) and not now.at_least(seed.since)
    return not early and not (bool(seed.until) and now.at_least(seed.until))


CASES = [(seed, release) for release in RELEASES for seed in SEEDS if applies(seed, release)]


@pytest.mark.parametrize(
    ("seed", "release"), CASES, ids=[f"{seed.name}-{release}" for seed, release in CASES]
)
def test_a_seeded_fault_is_found_by_file_and_line(
    seed: Seed, release: str, good_site: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "site"
    shutil.copytree(good_site(release), folder)
    editor = Editor(folder)
    name, line = seed.edit(editor)
    expected = (str(editor.path(name)), line, seed.code)
    found = [
        (problem.where.file, problem.where.line, problem.code)
        for problem in read(folder, release, also_scripts="-syntax" in seed.code)
        if problem.where
    ]
    assert expected in found


def test_there_are_enough_seeds_and_each_has_a_name_of_its_own() -> None:
    assert len({seed.name for seed in SEEDS}) == len(SEEDS) >= 50
    for release in RELEASES:
        assert sum(applies(seed, release) for seed in SEEDS) >= 50


@pytest.mark.parametrize("release", [str(release) for release in SUPPORTED])
def test_a_good_site_has_no_fault(release: str, good_site: Callable[[str], Path]) -> None:
    assert read(good_site(release), release) == []


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_sites_have_no_fault(name: str) -> None:
    candidate = read_candidate(ROOT / "site-configs" / name)
    assert candidate.site
    release = Release.parse(str(candidate.site.slurm.version))
    assert lint_candidate(candidate, release) == []
    assert list(scripts.problems(candidate)) == []


def test_every_code_of_a_seed_is_documented() -> None:
    from_models = {"unknown-key"}
    assert {seed.code for seed in SEEDS} - set(FAULTS) <= from_models


def test_every_misspelt_keyword_is_found_at_its_place(good_site: Callable[[str], Path]) -> None:
    """A letter is missing from each keyword of each file in turn: nobody chose these faults."""
    release = Release.parse("24.11")
    candidate = read_candidate(good_site("24.11"))
    cluster = read_cluster(candidate, release)
    assert cluster
    missed, total = [], 0
    for conf in cluster.confs.values():
        file = candidate.files[conf.path]
        for pair in {pair.where: pair for line in conf.lines for pair in line.pairs}.values():
            total += 1
            rows = file.text.split("\n")
            row, at = rows[pair.where.line - 1], pair.where.column
            rows[pair.where.line - 1] = row[:at] + row[at + 1 :]  # its second letter
            changed = replace(file, content="\n".join(rows).encode())
            files = {**candidate.files, conf.path: changed}
            found = lint_candidate(replace(candidate, files=files), release)
            places = {(p.where.file, p.where.line, p.where.column) for p in found if p.where}
            if (file.shown, pair.where.line, at) not in places:
                missed.append(pair.key)
    assert total > 80
    assert missed == []
