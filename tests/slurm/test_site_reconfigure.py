"""site install --reconfigure on a cluster that runs: told, told nothing, refused, taken back."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmkit.sandbox import Sandbox

pytestmark = pytest.mark.slurm

SLURMKIT = Path(sys.executable).with_name("slurmkit")


class Site:
    """A site folder of a running cluster's own slurm.conf, and its commands on the controller."""

    def __init__(self, cluster: Sandbox, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.conf = folder / "files/etc/slurm/slurm.conf"
        self.conf.parent.mkdir(parents=True)
        self.original = cluster.layout.slurm_conf_path.read_text()
        self.conf.write_text(self.original)
        for name in ("gres.conf", "cgroup.conf"):
            text = cluster.layout.slurm_conf_path.with_name(name).read_text()
            self.conf.with_name(name).write_text(text)

    def edit(self, pattern: str, new: str) -> None:
        text, count = re.subn(pattern, new, self.original, count=1, flags=re.MULTILINE)
        assert count == 1
        self.conf.write_text(text)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [SLURMKIT, "site", *words]
        return self.cluster.exec("ctl", command, timeout=120, cwd="/", env={"SUDO_USER": "user1"})

    def install(self) -> "subprocess.CompletedProcess[str]":
        return self.run("install", str(self.folder), "--force", "--reconfigure")

    def setting(self, name: str) -> str:
        text = self.cluster.exec("login", ["scontrol", "show", "config"], check=True).stdout
        match = re.search(rf"^{name}\s*= (\S+)", text, re.MULTILINE)
        assert match
        return match[1]


@pytest.fixture
def site(forky_cluster: Sandbox) -> Iterator[Site]:
    folder = forky_cluster.shared_dir / f"site-{os.getpid()}"
    made = Site(forky_cluster, folder)
    try:
        yield made
    finally:
        # In a release's root file system all of this is memory; slurm.conf alone is the cluster's.
        forky_cluster.layout.slurm_conf_path.write_text(made.original)
        forky_cluster.exec("ctl", ["rm", "-rf", "/var/lib/slurmkit/site", str(folder)])
        forky_cluster.exec("ctl", ["scontrol", "reconfigure"], check=True)


def test_slurm_is_told_and_it_is_taken_back(site: Site) -> None:
    before = site.setting("KillWait")
    site.edit(r"^KillWait=.*$", "KillWait=7")
    done = site.install()
    assert done.returncode == 0, done.stderr
    assert "Slurm has read its files again" in done.stdout
    assert site.setting("KillWait") == "7"
    again = site.install()
    assert (again.returncode, again.stdout) == (0, "nothing changed\n")
    back = site.run("rollback", "--reconfigure")
    assert back.returncode == 0, back.stderr
    assert site.setting("KillWait") == before
    assert site.cluster.layout.slurm_conf_path.read_text() == site.original
    changes = json.loads(site.run("log", "--json").stdout)
    told = [(change["action"], change["sudo_user"]) for change in changes]
    assert told == [
        (action, "user1") for action in ("install", "reconfigure", "rollback", "reconfigure")
    ]


def test_a_change_that_takes_a_restart_tells_slurm_nothing(site: Site) -> None:
    site.edit(r"^KillWait=.*$", "KillWait=8\nSlurmdPort=7018")
    done = site.install()
    assert done.returncode == 0, done.stderr
    assert "restart slurmctld:\n  SlurmdPort has changed" in done.stdout
    assert "restart slurmd:" in done.stdout
    assert "told nothing" in done.stderr
    assert site.setting("KillWait") != "8"


def test_a_site_with_a_fault_changes_nothing(site: Site) -> None:
    site.edit(r"^KillWait=.*$", "KillWiat=8")
    done = site.install()
    assert done.returncode == 2
    assert "has no keyword KillWiat" in done.stderr
    assert site.cluster.layout.slurm_conf_path.read_text() == site.original


def test_an_image_has_no_slurm_to_tell(site: Site, tmp_path: Path) -> None:
    words = ("install", str(site.folder), "--root", str(tmp_path), "--reconfigure")
    done = subprocess.run([SLURMKIT, "site", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is an image" in done.stderr
