"""Starting and stopping nodes by a driver, the log, and what the queue's depth says."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from slurmkit.elastic import record
from slurmkit.elastic.actions import Actions
from slurmkit.elastic.depth import Depth, counts, depth, nodes_needed, why
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
from slurmkit.slurm.inventory import DeclaredNode
from slurmkit.slurm.power import WaitingJob, read_waiting
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
    with pytest.raises(DriverError, match="the driver says 'sleeping' of a"):
        states_of("a sleeping\n", ["a"])


def test_a_program_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    hangs = driver(tmp_path, f"sleep 1000 & echo $! >{pid}; wait", timeout_s=0.5)
    with pytest.raises(DriverError, match=r"took longer than 0\.5 s and was killed"):
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
        Actions(machines, told, log, clock=lambda at=moment: at).start(["n1"])  # type: ignore[misc]
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


# -- the queue ------------------------------------------------------------------------------------


def node(name: str, state: str = "IDLE", partitions: tuple[str, ...] = ("gpu",)) -> DeclaredNode:
    return DeclaredNode(name, 2, 4, 1, 8, 1000, 8, "h100", (), state, partitions)


def job(number: int, nodes: int = 1, gpus: int = 8, reason: str = "Resources") -> WaitingJob:
    return WaitingJob(
        str(number), ("gpu",), reason, nodes, nodes, gpus, 3600, 1000.0, False, 100 - number
    )


def look(jobs: Sequence[WaitingJob], *states: str) -> Depth:
    return depth(jobs, [node(f"n{i}", state) for i, state in enumerate(states)], now=1600.0)


def test_states_of_nodes() -> None:
    states = (
        "IDLE", "MIXED", "ALLOCATED", "IDLE+CLOUD+POWERED_DOWN", "MIXED+CLOUD+POWERING_UP",
        "IDLE+DRAIN", "DOWN*", "IDLE+POWERING_DOWN", "DOWN+POWERED_DOWN", "IDLE*",
    )  # fmt: skip
    found = counts(node(str(index), state) for index, state in enumerate(states))
    assert (found.total, found.idle, found.busy, found.stopped, found.starting, found.out) == (
        10, 1, 2, 2, 1, 4,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Resources", "nodes"),
        ("(Priority)", "nodes"),
        ("Dependency", "another job"),
        ("JobHeldUser", "held by a person"),
        ("QOSMaxGRESPerUser", "a limit of QOS or account"),
        ("AssocGrpGRES", "a limit of QOS or account"),
        ("BeginTime", "its time"),
        ("PartitionDown", "its partition"),
        ("ReqNodeNotAvail, UnavailableNodes:n1", "nodes that are down or drained"),
        ("SomethingNew", "SomethingNew"),
    ],
)
def test_why_jobs_wait(reason: str, words: str) -> None:
    assert why(job(1, reason=reason)) == words


@pytest.mark.parametrize(
    ("jobs", "nodes"),
    [
        ([], 0),
        ([job(1, 4)], 4),
        ([job(1, 1, 4), job(2, 1, 4)], 1),
        ([job(1, 1, 4), job(2, 1, 4), job(3, 1, 1)], 2),
        ([job(1, 2, 4), job(2, 2, 4)], 2),
        ([job(1, 1, 0)] * 8, 1),
        # Nodes of one job are different ones, however little it takes of each.
        ([job(1, 4, 1)], 4),
        ([job(1, 4, 1), job(2, 1, 8), job(3, 2, 2)], 5),
    ],
)
def test_jobs_share_nodes_where_they_can(jobs: list[WaitingJob], nodes: int) -> None:
    assert nodes_needed(jobs, gpus=8, cpus=8) == nodes


def test_what_slurm_will_start_by_itself_need_not_be_added() -> None:
    found = look([job(1, 2)], "ALLOCATED", "IDLE+POWERED_DOWN", "MIXED+POWERING_UP")
    assert found.add == 0
    assert "2 of them stopped or starting: no node need be added" in found.advice[0]


def test_nodes_to_add() -> None:
    found = look([job(1, 2), job(2, 1)], "ALLOCATED", "ALLOCATED", "IDLE")
    (gpu,) = found.partitions
    assert (gpu.jobs, gpu.needed, gpu.add, gpu.first, found.add) == (2, 3, 2, 1, 2)
    assert (gpu.longest_wait_s, gpu.node_hours) == (600, 3.0)
    assert "2 more would let all of them start" in found.advice[0]


def test_limits_are_no_reason_to_add_nodes() -> None:
    found = look([job(1, 9, reason="QOSMaxNodePerJobLimit")], "ALLOCATED")
    assert (found.add, found.partitions) == (0, [])
    assert found.reasons == {"a limit of QOS or account": 1}


def test_a_job_that_is_larger_than_its_partition_is_named() -> None:
    found = look([job(7, 4)], "ALLOCATED", "IDLE")
    assert found.partitions[0].impossible == ["7"]
    assert "1 can never start" in found.advice[0]
    assert "2 more would do" in found.advice[0]


def test_a_small_share_of_more_nodes_than_are_in_service_is_counted_as_nodes() -> None:
    found = look([job(1, 3, 1)], "IDLE", "DOWN", "DOWN")
    assert (found.partitions[0].first, found.partitions[0].add) == (2, 2)


def test_broken_nodes_come_before_new_ones() -> None:
    found = look([job(1, 2)], "ALLOCATED", "IDLE+DRAIN")
    assert "1 are out of service: mend these first" in found.advice[0]


def test_partitions_of_the_same_nodes_count_once() -> None:
    jobs = [job(1, 1), WaitingJob("2", ("urgent",), "Resources", 1, 1, 8)]
    nodes = [node("n1", "ALLOCATED", ("gpu", "urgent")), node("n2", "IDLE", ("gpu", "urgent"))]
    assert depth(jobs, nodes, 0.0).add == 1


def test_squeue_is_read_in_order_of_priority() -> None:
    printed = (
        "12_1|gpu,long|Priority|2|16|gres/gpu:8|1-02:00:00|2026-01-05T10:00:00|OK|50\n"
        "9|gpu|Resources|1-4|8|gres:gpu:h100:4|10:00|2026-01-05T11:00:00|NO|70\n"
        "10|cpu|Dependency|1|1|N/A|UNLIMITED|2026-01-05T11:00:00|OK|1\n"
    )
    first, second, third = read_waiting(printed)
    assert (first.id, first.num_nodes, first.gpus_per_node, first.limit_s, first.exclusive) == (
        "9", 1, 4, 600, True,
    )  # fmt: skip
    assert (second.partitions, second.gpus_per_node, second.limit_s) == (
        ("gpu", "long"), 8, 93600,
    )  # fmt: skip
    assert (third.gpus_per_node, third.limit_s) == (0, None)
