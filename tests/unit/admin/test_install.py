"""Build, install, check and uninstall into an image, with the headers of this machine."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from slurmkit.admin import build, check, find_headers, install, uninstall
from slurmkit.admin.note import read_note
from slurmkit.admin.places import Places, find_places
from slurmkit.errors import SlurmkitError
from slurmkit.resources import shipped_dir

pytestmark = pytest.mark.skipif(
    not Path("/usr/include/slurm/spank.h").is_file() or not shutil.which("make"),
    reason="needs spank.h (libslurm-dev) and make",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("built")
    build(find_headers(), output)
    return output


@pytest.fixture
def image(tmp_path: Path) -> Places:
    (tmp_path / "usr/lib/x86_64-linux-gnu/slurm-wlm").mkdir(parents=True)
    (tmp_path / "etc/slurm").mkdir(parents=True)
    (tmp_path / "etc/slurm/plugstack.conf").write_text("include plugstack.conf.d/*\n")
    return find_places(tmp_path)


def test_only_what_slurm_calls_is_visible_and_nothing_but_libc_is_linked(built: Path) -> None:
    for path in built.glob("*.so"):
        names = subprocess.run(
            ["nm", "--dynamic", "--defined-only", path], capture_output=True, text=True, check=True
        ).stdout.split()[2::3]
        assert names
        assert all(re.match(r"plugin_|spank_plugin_version|slurm_spank_", name) for name in names)
        dynamic = subprocess.run(
            ["readelf", "--dynamic", path], capture_output=True, text=True, check=True
        ).stdout
        assert re.findall(r"NEEDED.*\[(.*)]", dynamic) == ["libc.so.6"]
        assert "BIND_NOW" in dynamic


def test_install_check_uninstall(built: Path, image: Places) -> None:
    install(image, built, mode="strict")
    text = image.plugstack.read_text()
    assert text.startswith("include plugstack.conf.d/*\n")
    assert (
        "optional /usr/lib/x86_64-linux-gnu/slurm-wlm/spank_slurmkit_affinity.so mode=strict"
        in text
    )
    assert all(plugin.note and plugin.entry for plugin in check(image).plugins)
    install(image, built)  # again, with another mode
    assert image.plugstack.read_text().count("spank_slurmkit_affinity.so mode=warn") == 1
    assert len(json.loads(image.manifest.read_text())["files"]) == 2
    uninstall(image)
    assert image.plugstack.read_text() == "include plugstack.conf.d/*\n"
    assert [path for path in image.root.rglob("*") if path.is_file()] == [image.plugstack]
    assert uninstall(image) == []


def test_an_entry_in_an_included_file_counts(built: Path, image: Places) -> None:
    folder = image.plugstack.parent / "plugstack.conf.d"
    folder.mkdir()
    (folder / "own").write_text("optional spank_slurmkit_rank.so\n")
    rank, affinity = check(image).plugins
    assert rank.entry
    assert affinity.entry is None


def test_a_file_that_somebody_changed_stays(built: Path, image: Places) -> None:
    install(image, built)
    plugin = image.plugin_dir / "spank_slurmkit_rank.so"
    plugin.write_bytes(plugin.read_bytes() + b"x")
    assert any("was changed" in problem for problem in check(image).problems)
    with pytest.raises(SlurmkitError, match="not the file that was installed"):
        uninstall(image)
    assert plugin.exists()
    assert "slurmkit" not in image.plugstack.read_text()


def test_nothing_built(tmp_path: Path, image: Places) -> None:
    with pytest.raises(SlurmkitError, match="plugins build"):
        install(image, tmp_path)
    assert read_note(tmp_path / "none.so") is None


def test_no_headers(tmp_path: Path) -> None:
    with pytest.raises(SlurmkitError, match=r"no spank\.h"):
        find_headers([tmp_path])


def test_entries_are_left_to_a_sites_own_files(built: Path, image: Places) -> None:
    before = image.plugstack.read_text()
    written = install(image, built, entries=False)
    assert all(path.is_file() for path in written)
    assert image.plugstack.read_text() == before
    folder = image.plugstack.with_name("plugstack.conf.d")
    folder.mkdir()
    shutil.copy(
        shipped_dir("site-configs") / "dgx-h100/files/etc/slurm/plugstack.conf.d/slurmkit.conf",
        folder / "slurmkit.conf",
    )
    assert all(plugin.entry for plugin in check(image).plugins)
    uninstall(image)
    assert image.plugstack.read_text() == before
