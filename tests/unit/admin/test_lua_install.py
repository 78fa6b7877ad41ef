"""The Lua scripts beside slurm.conf: written, kept, refused, removed."""

import json
import shutil
from pathlib import Path

import pytest

from slurmkit.admin import install_lua, uninstall_lua
from slurmkit.admin.lua import SCRIPTS, Script, find_problems, lua_problems, scripts
from slurmkit.admin.places import Places, find_places
from slurmkit.errors import SlurmkitError


@pytest.fixture
def image(tmp_path: Path) -> Places:
    (tmp_path / "usr/lib64/slurm").mkdir(parents=True)
    (tmp_path / "etc/slurm").mkdir(parents=True)
    places = find_places(tmp_path)
    places.slurm_conf.write_text("ClusterName=here\n")
    return places


def states(places: Places) -> dict[str, str]:
    return {script.name: script.state for script in scripts(places)}


def test_install_and_uninstall(image: Places) -> None:
    folder = image.slurm_conf.parent
    assert install_lua(image) == [folder / name for name in SCRIPTS]
    assert states(image) == dict.fromkeys(SCRIPTS, "installed")
    assert lua_problems(scripts(image)) == []
    assert image.slurm_conf.read_text() == "ClusterName=here\n"
    gone, kept = uninstall_lua(image)
    assert (sorted(gone), kept) == (sorted(folder / name for name in SCRIPTS), [])
    assert [path for path in image.root.rglob("*") if path.is_file()] == [image.slurm_conf]
    assert uninstall_lua(image) == ([], [])


def test_the_sites_policy_stays(image: Places) -> None:
    install_lua(image)
    policy = image.slurm_conf.parent / "slurmkit_policy.lua"
    policy.write_text("return {}\n")
    written = install_lua(image)
    assert policy not in written
    assert policy.read_text() == "return {}\n"
    gone, kept = uninstall_lua(image)
    assert kept == [policy]
    assert len(gone) == 3
    assert policy.exists()


@pytest.mark.parametrize("name", ["job_submit.lua", "cli_filter.lua", "slurmkit_rules.lua"])
def test_a_script_of_somebody_else_is_not_overwritten(image: Places, name: str) -> None:
    path = image.slurm_conf.parent / name
    path.write_text("-- our own\n")
    with pytest.raises(SlurmkitError, match="not the one that was installed"):
        install_lua(image)
    assert path.read_text() == "-- our own\n"
    assert [each.name for each in path.parent.glob("*.lua")] == [name]


@pytest.mark.parametrize(
    "line", ["JobSubmitPlugins=lua", "CliFilterPlugins = lua  # ours", "jobsubmitplugins=all,lua"]
)
def test_scripts_that_slurm_loads_stay(image: Places, line: str) -> None:
    install_lua(image)
    image.slurm_conf.write_text(f"ClusterName=here\n{line}\n")
    with pytest.raises(SlurmkitError, match="still has"):
        uninstall_lua(image)
    assert states(image) == dict.fromkeys(SCRIPTS, "installed")


@pytest.mark.parametrize("line", ["#JobSubmitPlugins=lua", "JobSubmitPlugins=luau,all"])
def test_lines_that_load_no_lua(image: Places, line: str) -> None:
    image.slurm_conf.write_text(f"{line}\n")
    assert all(script.loaded is None for script in scripts(image))


def test_an_edited_script_is_told_and_stays(image: Places) -> None:
    install_lua(image)
    path = image.slurm_conf.parent / "job_submit.lua"
    path.write_text("-- edited\n")
    assert lua_problems(scripts(image)) == [f"{path} was changed after it was installed"]
    gone, kept = uninstall_lua(image)
    assert (len(gone), kept) == (3, [path])


@pytest.mark.skipif(
    not any(shutil.which(name) for name in ("lua", "lua5.4", "lua5.1")), reason="needs Lua"
)
def test_a_broken_policy_is_told(image: Places) -> None:
    install_lua(image)
    policy = image.slurm_conf.parent / "slurmkit_policy.lua"
    policy.write_text("return { gpus_per_tsk = 1 }\n")
    (problem,) = lua_problems(scripts(image))
    assert problem.startswith(str(policy))
    assert "gpus_per_tsk" in problem


def test_what_slurm_loads_and_is_not_there() -> None:
    loaded = Script("job_submit.lua", "/e/job_submit.lua", "absent", "JobSubmitPlugins=lua")
    others = tuple(Script(name, f"/e/{name}", "absent") for name in SCRIPTS if name != loaded.name)
    assert find_problems((loaded, *others)) == [
        "slurm.conf has JobSubmitPlugins=lua, but /e/job_submit.lua is not there"
    ]
    alone = Script(loaded.name, loaded.path, "installed", loaded.loaded)
    assert len(find_problems((alone, *others))) == 2


def test_the_manifest_of_the_plugins_stays(image: Places) -> None:
    image.manifest.parent.mkdir(parents=True)
    image.manifest.write_text(json.dumps({"files": {"/usr/lib64/slurm/a.so": "0"}}))
    install_lua(image)
    uninstall_lua(image)
    assert json.loads(image.manifest.read_text()) == {"files": {"/usr/lib64/slurm/a.so": "0"}}
