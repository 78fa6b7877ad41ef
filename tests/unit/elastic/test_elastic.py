"""Starting and stopping nodes by a driver, the log, and slurm.conf."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from slurmkit.elastic import record
from slurmkit.elastic.actions import Actions
from slurmkit.elastic.driver import (
    CommandDriver,
    DriverError,
    State,
    failures_of,
    load_driver,
    states_of,
)
from slurmkit.elastic.record import Entry
from slurmkit.errors import SlurmError, UsageError
from slurmkit.site.elastic import slurm_conf_lines
from slurmkit.site.generate.release import Release
from slurmkit.site.models import Site
from slurmkit.yamlfile.reader import read_document
from slurmkit.yamlfile.validate import build

# -- a driver program -----------------------------------------------------------------------------


def program(tmp_path: Path, body: str) -> str:
    path = tmp_path / "driver"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def driver(tmp_path: Path, body: str, timeout_s: float = 20.0) -> CommandDriver:
    return CommandDriver(program(tmp_path, body), {"REGION": "west"}, timeout_s)


def test_a_program_gets_its_hosts_and_environment(tmp_path: Path) -> None:
    out = tmp_path / "out"
    driver(tmp_path, f'echo "$@ $REGION ${{SLURM_CONF-none}}" >{out}').start(["a", "b"])
    assert out.read_text() == "start a b west none\n"


@pytest.mark.parametrize(
    ("printed", "code", "failed"),
    [
        ("", 0, {}),
        ("a ok\nb ok\n", 0, {}),
        ("b failed no capacity\n", 0, {"b": "no capacity"}),
        ("b failed\n", 0, {"b": "it does not say why"}),
        ("a ok\n", 1, {"b": "boom"}),
        ("", 1, {"a": "boom", "b": "boom"}),
        ("x failed stranger\nstarting a ...\n", 0, {}),
    ],
)
def test_what_a_program_says_of_failures(
    printed: str, code: int, failed: Mapping[str, str]
) -> None:
    assert failures_of(printed, ["a", "b"], code, "boom") == failed


def test_states_that_nobody_told_are_unknown() -> None:
    assert states_of("a running\n", ["a", "b"]) == {"a": "running", "b": "unknown"}
    # One machine whose controller does not answer says nothing of the others.
    assert states_of("a failed no answer\nb stopped\n", ["a", "b"]) == {
        "a": "unknown",
        "b": "stopped",
    }
    with pytest.raises(DriverError, match="the driver says 'sleeping' of a"):
        states_of("a sleeping\n", ["a"])


def test_a_program_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    hangs = driver(tmp_path, f"sleep 1000 & echo $! >{pid}; wait", timeout_s=2.0)
    with pytest.raises(DriverError, match=r"took longer than 2 s and was killed"):
        hangs.start(["a"])
    stat = Path(f"/proc/{pid.read_text().strip()}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_drivers_are_found_by_path_or_name(tmp_path: Path) -> None:
    assert isinstance(load_driver(program(tmp_path, "true"), {}, 1.0), CommandDriver)
    with pytest.raises(UsageError, match="does not exist"):
        load_driver(str(tmp_path / "none"), {}, 1.0)
    with pytest.raises(UsageError, match="there is no driver 'cloud'"):
        load_driver("cloud", {}, 1.0)


def test_a_python_driver_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "machines_of_mine.py").write_text(
        "class Driver:\n"
        "    def __init__(self, env): self.env = env\n"
        "    def list(self, hosts): return {host: self.env['STATE'] for host in hosts}\n"
    )
    package = tmp_path / "machines_of_mine-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: machines-of-mine\nVersion: 1.0\n"
    )
    (package / "entry_points.txt").write_text(
        "[slurmkit.elastic]\nmine = machines_of_mine:Driver\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = load_driver("mine", {"STATE": "running"}, 1.0)
    assert found.list(["n1"]) == {"n1": "running"}
    with pytest.raises(UsageError, match="there is no driver 'other': mine"):
        load_driver("other", {}, 1.0)


# -- what is done around a call -------------------------------------------------------------------


class Machines:
    """A driver whose machines are a mapping; some cannot be started."""

    def __init__(self, states: dict[str, State], broken: Sequence[str] = ()) -> None:
        self.states = states
        self.broken = set(broken)
        self.calls: list[tuple[str, tuple[str, ...]]] = []

    def start(self, hosts: Sequence[str]) -> Mapping[str, str]:
        self.calls.append(("start", tuple(hosts)))
        self.states.update({host: "running" for host in hosts if host not in self.broken})
        return {host: "no capacity" for host in hosts if host in self.broken}

    def stop(self, hosts: Sequence[str]) -> Mapping[str, str]:
        self.calls.append(("stop", tuple(hosts)))
        self.states.update(dict.fromkeys(hosts, "stopped"))
        return {}

    def list(self, hosts: Sequence[str]) -> Mapping[str, State]:
        return {host: self.states.get(host, "stopped") for host in hosts}


class Told:
    """What Slurm was told; it may refuse."""

    def __init__(self, refuses: bool = False) -> None:
        self.refuses = refuses
        self.nodes: list[tuple[str, str, bool]] = []

    def give_up(self, host: str, reason: str, *, keep_down: bool) -> None:
        if self.refuses:
            raise SlurmError("scontrol says no")
        self.nodes.append((host, reason, keep_down))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log" / "elastic.log"


def test_what_is_as_wanted_is_left_alone(log: Path) -> None:
    machines = Machines({"a": "running", "b": "starting", "c": "stopped"})
    outcome = Actions(machines, Told(), log).start(["a", "b", "c", "c"])
    assert machines.calls == [("start", ("c",))]
    assert (outcome.done, outcome.skipped) == (("c",), ("a", "b"))
    Actions(machines, Told(), log).stop(["a", "c"])
    again = Actions(machines, Told(), log).stop(["a", "c"])
    assert machines.calls[1:] == [("stop", ("a", "c"))]
    assert again.skipped == ("a", "c")


def test_every_action_is_logged(log: Path) -> None:
    machines = Machines({}, broken=["n2"])
    Actions(machines, Told(), log, clock=lambda: 1000.0).start(["n1", "n2"])
    (line,) = [json.loads(text) for text in log.read_text().splitlines()]
    assert (line["action"], line["hosts"]) == ("start", "n[1-2]")
    assert line["failed"] == {"n2": "no capacity"}
    assert (line["time"], line["pid"]) == ("1970-01-01T00:16:40Z", os.getpid())
    assert record.read_tail(log)[0] == Entry(
        1000.0, "start", ("n1", "n2"), (("n2", "no capacity"),)
    )


def test_slurm_is_told_at_once_of_what_cannot_start(log: Path) -> None:
    told = Told()
    outcome = Actions(Machines({}, broken=["n2"]), told, log).start(["n1", "n2"])
    assert told.nodes == [("n2", "slurmkit elastic: start failed: no capacity", False)]
    assert outcome.done == ("n1",)


def test_a_slurm_that_does_not_hear_holds_up_nothing(log: Path) -> None:
    outcome = Actions(Machines({}, broken=["n1", "n2"]), Told(refuses=True), log).start(
        ["n1", "n2"]
    )
    assert [host for host, _ in outcome.failed] == ["n1", "n2"]
    assert "Slurm was not told: scontrol says no" in outcome.failed[0][1]


def test_a_node_that_fails_again_and_again_stays_down(log: Path) -> None:
    told = Told()
    machines = Machines({}, broken=["n1"])
    for _ in range(3):
        Actions(machines, told, log).start(["n1"])
    assert [keep for _, _, keep in told.nodes] == [False, False, True]


def test_failures_to_register_count_too_and_a_good_start_forgets_them(log: Path) -> None:
    told = Told()
    machines = Machines({})
    actions = Actions(machines, told, log)
    for _ in range(2):
        actions.start(["n1"])
        actions.start_failed(["n1"])
    assert [keep for _, _, keep in told.nodes] == [False, False]
    assert machines.states["n1"] == "stopped"
    actions.start(["n1"])
    actions.stop(["n1"])  # it came up, worked, and was stopped
    actions.start(["n1"])
    actions.start_failed(["n1"])
    assert [keep for _, _, keep in told.nodes] == [False, False, False]


def test_old_failures_are_forgotten(log: Path) -> None:
    told = Told()
    machines = Machines({}, broken=["n1"])
    for moment in (0.0, 10.0, 9000.0):
        Actions(machines, told, log, clock=lambda at=moment: at).start(["n1"])
    assert [keep for _, _, keep in told.nodes] == [False, False, False]


def test_a_driver_that_breaks_fails_all_hosts(log: Path, tmp_path: Path) -> None:
    told = Told()
    broken = driver(tmp_path, 'echo "no route to the cloud" >&2; exit 3')
    outcome = Actions(broken, told, log).start(["n1", "n2"])
    assert {why for _, why in outcome.failed} == {"no route to the cloud"}
    assert len(told.nodes) == 2


# -- slurm.conf -----------------------------------------------------------------------------------


def site(text: str) -> Site:
    return build(Site, read_document(text.encode(), "site.yaml"))


def test_lines_of_slurm_conf() -> None:
    described = site(
        "node_types: {a: {nodes: 'n[1-4]'}}\n"
        "elastic: {driver: /bin/machines, nodes: 'n[3-4]', idle_s: 60, keep: 1}\n"
    )
    lines = slurm_conf_lines(described, Release.parse("22.05"))
    assert "SuspendTime=60" in lines
    assert "ResumeProgram=/etc/slurm/elastic/resume.sh" in lines
    # Slurm wants the lists with a count first.
    assert "SuspendExcNodes=n[3-4]:1,n[1-2]" in lines
    assert not any("SuspendExcStates" in line for line in lines)
    assert "PrivateData=cloud" not in lines
    cloud = site("elastic: {driver: /bin/machines, nodes: n1, present: false}\n")
    assert "PrivateData=cloud" in slurm_conf_lines(cloud, Release.parse("22.05"))
    assert "PrivateData=cloud" not in slurm_conf_lines(cloud, Release.parse("24.11"))
    newer = slurm_conf_lines(described, Release.parse("24.11"))
    assert "SuspendExcStates=DRAIN,FAIL,MAINTENANCE" in newer
    assert slurm_conf_lines(site("name: x\n"), Release.parse("24.11")) == []
