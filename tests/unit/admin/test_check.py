"""What `slurmkit plugins check` finds wrong."""

from dataclasses import replace

import pytest

from slurmkit import __version__
from slurmkit.admin.check import Installed, find_problems
from slurmkit.admin.headers import parse_version, series
from slurmkit.admin.note import Note
from slurmkit.admin.places import parse_settings
from slurmkit.admin.plugstack import Entry

GOOD = Installed("a.so", "/p/a.so", Note(__version__, "22.05.8"), Entry("optional", "/p/a.so"))
REQUIRED = Entry("required", "/p/a.so")


def test_all_is_well() -> None:
    assert find_problems((GOOD,), "22.05.3") == []


@pytest.mark.parametrize(
    ("plugin", "runs", "words"),
    [
        (replace(GOOD, note=None, entry=None), "22.05.8", "not installed"),
        (replace(GOOD, note=None), "22.05.8", "not there: it is left out"),
        (replace(GOOD, note=None, entry=REQUIRED), "22.05.8", "not there: every job fails"),
        (replace(GOOD, entry=None), "22.05.8", "does not load it"),
        (GOOD, "24.11.5", "for Slurm 22.05.8, but 24.11.5 runs: Slurm leaves it out"),
        (replace(GOOD, entry=REQUIRED), "24.11.5", "24.11.5 runs: every job fails"),
        (replace(GOOD, note=Note("0.0.1", "22.05.8")), "22.05.8", "of slurmkit 0.0.1"),
        (replace(GOOD, changed=True), "22.05.8", "was changed"),
        (GOOD, "", "nothing loads plugins"),
    ],
)
def test_one_thing_is_wrong(plugin: Installed, runs: str, words: str) -> None:
    problems = find_problems((plugin,), runs)
    assert len(problems) == 1
    assert words in problems[0]


def test_versions() -> None:
    assert parse_version("#define SLURM_VERSION_NUMBER 0x1a0505\n") == "26.05.5"
    assert series("26.05.5") == "26.05"
    with pytest.raises(ValueError, match="SLURM_VERSION_NUMBER"):
        parse_version("#define X 1")


def test_a_setting_that_nobody_made_is_no_path() -> None:
    text = "PluginDir               = /usr/lib/slurm\nPlugStackConfig         = (null)\n"
    assert parse_settings(text) == {"PluginDir": "/usr/lib/slurm"}
