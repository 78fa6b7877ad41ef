"""How long one check of a site takes: files, a slurmctld that reads them, the comparison."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.site import generation
from slurmkit.site.generate.release import Release
from slurmkit.sitecheck import boot
from slurmkit.sitecheck.candidate import Candidate, read_candidate
from slurmkit.sitecheck.lint import lint_candidate
from slurmkit.sitecheck.report import check_site

ROOT = Path(__file__).parents[2]
SITES = ("dgx-h100", "hgx-b300-roce", "sandbox")
NUM_ROUNDS, MOST_S = 5, 3.0


@pytest.mark.parametrize("engine", boot.engines(), ids=lambda engine: str(engine.release))
def test_check(
    engine: boot.Engine, tmp_path: Path, figure: Callable[[str, str, str], None]
) -> None:
    release = str(engine.release.major)
    worst, every = 0.0, []
    for name in SITES:
        folder = tmp_path / name
        shipped = str(ROOT / "site-configs" / name)
        generation.run(shipped, version=release, output=folder, check=False, force=False)
        for _ in range(NUM_ROUNDS):
            started = time.perf_counter()
            report = check_site(folder, release)
            every.append(time.perf_counter() - started)
            assert report.booted
            assert report.ok
        worst = max(worst, *every)
    figure(
        f"site check with slurmctld {engine.release}",
        f"{statistics.median(every):.2f} s, at most {worst:.2f} s ({len(every)} checks)",
        f"<= {MOST_S:.0f} s",
    )
    assert worst <= MOST_S


def test_a_thousand_nodes(tmp_path: Path, figure: Callable[[str, str, str], None]) -> None:
    """The shipped site with 1,024 nodes and 32 leaf switches, its files alone."""
    folder = tmp_path / "site"
    shipped = str(ROOT / "site-configs/dgx-h100")
    generation.run(shipped, version="24.11", output=folder, check=False, force=False)
    conf = folder / "files/etc/slurm/slurm.conf"
    text = conf.read_text().replace("dgx[01-64]", "dgx[0001-1024]")
    conf.write_text(text.replace("dgx[63-64]", "dgx[1023-1024]"))
    gres = folder / "files/etc/slurm/gres.conf"
    gres.write_text(gres.read_text().replace("dgx[01-64]", "dgx[0001-1024]"))
    leaves = [
        f"SwitchName=leaf{i + 1} Nodes=dgx[{32 * i + 1:04}-{32 * i + 32:04}]" for i in range(32)
    ]
    top = ["SwitchName=spine Switches=leaf[1-32]"]
    (folder / "files/etc/slurm/topology.conf").write_text("\n".join([*leaves, *top]) + "\n")
    candidate: Candidate = read_candidate(folder)
    started = time.perf_counter()
    found = lint_candidate(candidate, Release.parse("24.11"))
    seconds = time.perf_counter() - started
    assert found == []
    figure("site check, 1,024 nodes, files alone", f"{seconds:.2f} s", f"<= {MOST_S:.0f} s")
    assert seconds <= MOST_S
