"""Installing a site's files: what is refused, what comes back, and what a kill leaves."""

import hashlib
import json
import os
import random
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmkit.errors import InvalidInputError, SlurmkitError, UsageError
from slurmkit.site.deploy import Machine, audit, read_folder
from slurmkit.site.deploy.folder import secret_problems


def write(root: Path, files: dict[str, str], mode: int = 0o644) -> None:
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)


def picture(root: Path) -> dict[str, tuple[bytes, int]]:
    """Everything but slurmkit's own folder: content and mode of files, mode of folders."""
    found = {}
    for path in sorted(root.rglob("*")):
        if not path.is_relative_to(root / "var"):
            content = path.read_bytes() if path.is_file() else b""
            found[str(path.relative_to(root))] = (content, path.stat().st_mode)
    return found


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder where fsync costs nothing: these tests call it thousands of times."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "dgx"
    write(folder / "files", {"/etc/slurm/slurm.conf": "new\n", "/etc/slurm/gres.conf": "gpu\n"})
    write(folder / "files", {"/usr/local/sbin/prolog": "#!/bin/sh\n"}, 0o755)
    return folder


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    root = tmp_path / "root"
    write(root, {"/etc/slurm/gres.conf": "gpu\n", "/etc/hosts": "localhost\n"})
    return Machine(root)


def kinds(machine: Machine, site: Path) -> dict[str, str]:
    return {change.path: change.kind for change in machine.changes(read_folder(site))}


def test_install_twice_and_roll_back(machine: Machine, site: Path) -> None:
    before = picture(machine.root)
    expected = {"/etc/slurm/slurm.conf": "create", "/usr/local/sbin/prolog": "create"}
    assert kinds(machine, site) == expected
    machine.install(read_folder(site))
    assert machine.content("/etc/slurm/slurm.conf") == b"new\n"
    prolog = machine.root / "usr/local/sbin/prolog"
    assert stat.S_IMODE(prolog.stat().st_mode) == 0o755
    assert kinds(machine, site) == {}
    assert machine.install(read_folder(site)) == []
    machine.rollback()
    assert picture(machine.root) == before
    with pytest.raises(UsageError, match="nothing to take back"):
        machine.rollback()


def test_each_rollback_goes_one_install_back(machine: Machine, site: Path) -> None:
    pictures = [picture(machine.root)]
    for text in ("one", "two", "three"):
        write(site / "files", {"/etc/slurm/slurm.conf": text})
        if text == "two":
            (site / "files/etc/slurm/gres.conf").unlink()  # what a site has no more goes
        machine.install(read_folder(site))
        pictures.append(picture(machine.root))
    assert "etc/slurm/gres.conf" not in pictures[2]
    for expected in reversed(pictures[:-1]):
        machine.rollback()
        assert picture(machine.root) == expected


def test_a_file_of_another_hand_is_refused_until_told(machine: Machine, site: Path) -> None:
    write(machine.root, {"/etc/slurm/slurm.conf": "by hand\n"}, 0o600)
    before = picture(machine.root)
    with pytest.raises(SlurmkitError, match=r"slurm\.conf: it was there before"):
        machine.install(read_folder(site))
    assert picture(machine.root) == before
    machine.install(read_folder(site), force=True)
    assert machine.content("/etc/slurm/slurm.conf") == b"new\n"
    machine.rollback()
    assert picture(machine.root) == before


@pytest.mark.parametrize("how", ["content", "mode"])
def test_an_edit_after_the_install_is_refused_until_told(
    machine: Machine, site: Path, how: str
) -> None:
    before = picture(machine.root)
    machine.install(read_folder(site))
    path = machine.root / "etc/slurm/slurm.conf"
    if how == "content":
        path.write_text("by hand\n")
    else:
        path.chmod(0o666)
    edited = picture(machine.root)
    with pytest.raises(SlurmkitError, match="after"):
        machine.rollback()
    write(site / "files", {"/etc/slurm/slurm.conf": "newer\n"})
    with pytest.raises(SlurmkitError, match="after"):
        machine.install(read_folder(site))
    assert picture(machine.root) == edited
    machine.rollback(force=True)
    assert picture(machine.root) == before


def test_100_random_states_come_back_identical(memory: Path) -> None:
    names = [f"/etc/{folder}/{name}" for folder in ("slurm", "x/y", "z") for name in "abc"]
    chosen = random.Random(6)
    for number in range(100):
        root, folder = memory / f"root{number}", memory / f"site{number}"
        root.mkdir()
        for name in chosen.sample(names, chosen.randint(0, 9)):
            write(root, {name: chosen.choice("12345")}, chosen.choice((0o600, 0o644, 0o755)))
        machine, pictures = Machine(root), []
        for _ in range(chosen.randint(1, 3)):
            for name in chosen.sample(names, chosen.randint(1, 9)):
                mode = chosen.choice((0o644, 0o755))
                write(folder / "files", {name: chosen.choice("12345")}, mode)
            if machine.changes(read_folder(folder)):
                pictures.append(picture(root))
                machine.install(read_folder(folder), force=True)
        for expected in reversed(pictures):
            machine.rollback()
            assert picture(root) == expected


def test_a_kill_at_every_write_leaves_old_or_new_and_is_finished(
    memory: Path, site: Path, machine: Machine
) -> None:
    write(machine.root, {"/etc/slurm/slurm.conf": "old\n"}, 0o600)
    script = Path(__file__).with_name("kill_at_every_write.py")
    done = subprocess.run(
        [sys.executable, script, machine.root, site, memory],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["install"] > 50
    assert told["rollback"] > 30
    assert told["finished"] > 20
    assert told["undone"] > 20


def test_modes_and_owners_of_install_yaml(machine: Machine, site: Path) -> None:
    user, group = os.geteuid(), os.getegid()
    write(machine.root, {"/etc/passwd": f"slurm:x:{user}:{group}::/:/bin/sh\n"})
    rules = 'permissions:\n  /etc/slurm/slurm.conf: {mode: "0600", owner: slurm}\n'
    (site / "install.yaml").write_text(rules)
    machine.install(read_folder(site))
    status = (machine.root / "etc/slurm/slurm.conf").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o600, user)
    (machine.root / "etc/passwd").write_text("")
    with pytest.raises(SlurmkitError, match="no user slurm"):
        machine.changes(read_folder(site))


def test_install_yaml_has_a_say_in_site_yaml_too(machine: Machine, site: Path) -> None:
    (site / "site.yaml").write_text("name: a\n")
    rules = 'permissions: {/etc/slurmkit/site.yaml: {mode: "0640"}}\n'
    (site / "install.yaml").write_text(rules)
    machine.install(read_folder(site))
    assert stat.S_IMODE((machine.root / "etc/slurmkit/site.yaml").stat().st_mode) == 0o640


def test_a_user_that_the_image_lacks_is_named(machine: Machine, site: Path) -> None:
    (site / "install.yaml").write_text("permissions: {/etc/slurm/slurm.conf: {owner: nobody-here}}")
    with pytest.raises(SlurmkitError, match=r"no user nobody-here in .*/root/etc/passwd") as caught:
        machine.changes(read_folder(site))
    assert "install.yaml" in caught.value.hint


def test_secrets_are_judged_by_mode_and_owner_and_never_read(machine: Machine, site: Path) -> None:
    user, group = os.geteuid(), os.getegid()
    write(machine.root, {"/etc/passwd": f"munge:x:{user}:{group}::/:/bin/sh\n"})
    (site / "install.yaml").write_text(
        'secrets:\n  /etc/munge/munge.key: {mode: "0400", owner: munge}\n'
    )
    folder = read_folder(site)
    assert secret_problems(folder, machine.root) == [
        "/etc/munge/munge.key is missing; make it before Slurm starts"
    ]
    write(machine.root, {"/etc/munge/munge.key": "hush"}, 0o644)
    (problem,) = secret_problems(folder, machine.root)
    assert "has mode 0644" in problem
    (machine.root / "etc/munge/munge.key").chmod(0o400)
    assert secret_problems(folder, machine.root) == []
    write(site / "files", {"/etc/munge/munge.key": "hush"})
    with pytest.raises(UsageError, match="is a secret"):
        read_folder(site)


def test_what_is_no_site_is_refused(machine: Machine, site: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no site folder"):
        read_folder(tmp_path)
    (site / "install.yaml").write_text("permissions:\n  /nowhere: {mode: '0600'}\n")
    with pytest.raises(UsageError, match="no such file"):
        read_folder(site)
    (site / "install.yaml").write_text("permissions:\n  /etc/slurm/slurm.conf: {mode: '9'}\n")
    with pytest.raises(InvalidInputError):
        read_folder(site)
    (site / "install.yaml").unlink()
    (site / "files/etc/link").symlink_to("slurm")
    with pytest.raises(UsageError, match="no plain file"):
        read_folder(site)


def test_links_are_not_followed(machine: Machine, site: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (machine.root / "usr").symlink_to(outside)  # absolute: leads out of an image
    with pytest.raises(SlurmkitError, match="leads out of"):
        machine.install(read_folder(site))
    (machine.root / "usr").unlink()
    (machine.root / "etc/slurm/slurm.conf").symlink_to(outside / "there")
    with pytest.raises(SlurmkitError, match="no plain file"):
        machine.install(read_folder(site), force=True)
    assert list(outside.iterdir()) == []


def slurmkit(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).with_name("slurmkit")
    return subprocess.run(
        [program, "site", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command_line(machine: Machine, site: Path) -> None:
    root = ("--root", machine.root)
    write(machine.root, {"/etc/slurm/slurm.conf": "old\n"})
    (site / "site.yaml").write_text("name: dgx\n")
    done = slurmkit("diff", site, *root)
    assert done.returncode == 1
    assert "update /etc/slurm/slurm.conf" in done.stdout
    assert "-old\n+new\n" in done.stdout
    assert "conflict: /etc/slurm/slurm.conf" in done.stderr
    told = json.loads(slurmkit("diff", site, *root, "--json").stdout)
    assert {"path": "/etc/slurmkit/site.yaml", "kind": "create"} in told["changes"]
    assert [conflict["path"] for conflict in told["conflicts"]] == ["/etc/slurm/slurm.conf"]
    refused = slurmkit("install", site, *root)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "nothing was changed" in refused.stderr
    done = slurmkit("install", site, *root, "--force")
    assert done.returncode == 0
    assert "wrote /etc/slurmkit/site.yaml" in done.stdout
    assert slurmkit("diff", site, *root).stdout == "nothing would change\n"
    assert slurmkit("install", site, *root).stdout == "nothing changed\n"
    done = slurmkit("rollback", *root)
    assert (done.returncode, "removed /etc/slurmkit/site.yaml" in done.stdout) == (0, True)
    assert machine.content("/etc/slurm/slurm.conf") == b"old\n"
    assert slurmkit("rollback", *root).returncode == 2
    (site / "site.yaml").write_text("nam: dgx\n")
    assert slurmkit("diff", site, *root).returncode == 2


def test_who_did_what_is_written_down(
    machine: Machine, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "user1")
    machine.install(read_folder(site))
    machine.rollback()
    audit.record(machine.root, "tiers", {"qos": ["high"]})
    first, second, third = audit.entries(machine.root)
    assert (first.action, second.action, third.action) == ("install", "rollback", "tiers")
    assert audit.who(first).startswith("user1 (as ")
    assert (first.details["site"], second.details["site"]) == ("dgx", "dgx")
    new = {file["path"]: file["new"] for file in first.details["files"]}
    old = {file["path"]: file["old"] for file in second.details["files"]}
    assert new == old
    assert new["/etc/slurm/slurm.conf"] == hashlib.sha256(b"new\n").hexdigest()
    assert third.details == {"qos": ["high"]}
    assert stat.S_IMODE((machine.root / audit.LOG).stat().st_mode) == 0o600


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    kept = audit.record(tmp_path, "install", {})
    path = tmp_path / audit.LOG
    path.write_bytes(path.read_bytes() + b'{"id": "abc')
    later = audit.record(tmp_path, "rollback", {})
    audit.append(tmp_path, later)  # an interrupted step is finished once more
    assert audit.entries(tmp_path) == [kept, later]


def test_the_log_for_people_and_programs(machine: Machine, site: Path) -> None:
    root = ("--root", machine.root)
    assert slurmkit("log", *root).stdout == "nothing was changed here\n"
    slurmkit("install", site, *root)
    line, *rest = slurmkit("log", *root).stdout.splitlines()
    assert "install dgx" in line
    assert "  create /etc/slurm/slurm.conf" in rest
    (entry,) = json.loads(slurmkit("log", *root, "--json").stdout)
    assert entry["action"] == "install"
    assert {"path", "kind", "old", "new"} == set(entry["details"]["files"][0])
