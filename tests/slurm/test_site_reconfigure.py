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

    def run(self, *words: str, host: str = "ctl") -> "subprocess.CompletedProcess[str]":
        command = [SLURMKIT, "site", *words]
        return self.cluster.exec(host, command, timeout=200, cwd="/", env={"SUDO_USER": "user1"})

    def install(self, host: str = "ctl") -> "subprocess.CompletedProcess[str]":
        return self.run("install", str(self.folder), "--force", "--reconfigure", host=host)

    def setting(self, name: str) -> str:
        text = self.cluster.exec("login", ["scontrol", "show", "config"], check=True).stdout
        match = re.search(rf"^{name}\s*= (\S+)", text, re.MULTILINE)
        assert match
        return match[1]


STATE = Path("/var/lib/slurmkit/site")


@pytest.fixture
def site(any_cluster: Sandbox) -> Iterator[Site]:
    """A site folder; what its commands keep on the controller and on the login host is memory."""
    if not Path("/etc/slurm").is_dir():
        pytest.skip("this machine has no /etc/slurm for a sandbox to lay its own over")
    cluster, hosts, made = any_cluster, ("ctl", "login"), not STATE.exists()
    folder = cluster.shared_dir / f"site-{os.getpid()}"
    for host in hosts:
        cluster.exec(host, ["mkdir", "-p", str(STATE)], check=True)
        cluster.exec(host, ["mount", "-t", "tmpfs", "site", str(STATE)], check=True)
    site = Site(cluster, folder)
    try:
        yield site
    finally:
        cluster.layout.slurm_conf_path.write_text(site.original)
        for host in hosts:
            cluster.exec(host, ["umount", str(STATE)])  # gone with a host that was killed
        cluster.exec("ctl", ["rm", "-rf", str(folder)], check=True)
        cluster.exec("ctl", ["scontrol", "reconfigure"], check=True)
        if made and STATE.is_dir():
            STATE.rmdir()


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


def test_what_a_rollback_leaves_as_it_is_takes_no_restart(site: Site) -> None:
    site.conf.with_name("ports.conf").write_text("SlurmdPort=6818\n")
    site.edit(r"^KillWait=.*$", "KillWait=8\nInclude ports.conf")
    assert "restart slurmd:\n  SlurmdPort has changed" in site.install().stdout
    site.edit(r"^KillWait=.*$", "KillWait=9\nInclude ports.conf")
    assert "Slurm has read its files again" in site.install().stdout
    back = site.run("rollback", "--reconfigure").stdout
    assert "Slurm has read its files again" in back
    away = site.run("rollback", "--reconfigure").stdout  # with the file that is included
    assert "restart slurmd:\n  SlurmdPort has changed" in away


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


@pytest.mark.long
def test_a_controller_that_does_not_answer_is_told_of_and_the_way_back(site: Site) -> None:
    site.edit(r"^KillWait=.*$", "KillWait=8")
    site.cluster.kill("ctl")
    try:
        done = site.install(host="login")
        assert done.returncode == 1
        assert "wrote /etc/slurm/slurm.conf" in done.stdout
        assert "slurmkit site rollback --reconfigure takes it back" in done.stderr
        back = site.run("rollback", "--reconfigure", host="login")
        assert back.returncode == 1
        assert "scontrol reconfigure tells Slurm" in back.stderr
        assert "takes it back" not in back.stderr  # it is; one more would go further back
        assert site.cluster.layout.slurm_conf_path.read_text() == site.original
    finally:
        site.cluster.heal("ctl")
