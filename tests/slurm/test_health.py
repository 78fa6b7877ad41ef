"""Health on real nodes: drains, jobs that move, foreign drains, a prolog that refuses."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from slurmkit.health.reason import PREFIX, is_ours
from slurmkit.sandbox import Sandbox, SandboxUnavailableError

pytestmark = pytest.mark.slurm
ROOT = Path(__file__).parents[2]
SLURMKIT = Path(sys.executable).with_name("slurmkit")
INTERVAL_S = 2
OTHERS = [pytest.param(release, marks=pytest.mark.long) for release in ("trixie", "forky")]
# What the driver writes when a GPU is lost; the time is that of the test.
XID = "NVRM: Xid (PCI:0000:1b:00): 79, pid=1234, GPU has fallen off the bus."


class Cluster:
    """A cluster whose nodes check themselves every two seconds.

    Args:
        sandbox: the cluster.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.folder = sandbox.shared_dir / "health"

    def run(self, host: str, *argv: str | Path, check: bool = True) -> str:
        return self.sandbox.exec(host, argv, check=check, timeout=90).stdout.strip()

    def configure(self, **changes: Any) -> None:
        """Write the nodes' configuration: quick to drain and quick to put back."""
        kind = {"num_gpus": 2, "checks": {"gpu-xid": {"action": "drain"}}, **changes}
        drains = {"fail_after": 1, "pass_after": 1, "max_share": 0.4, "admin_s": 0.0}
        drains |= kind.pop("drains", {})
        value = {
            "format": "slurmkit-health",
            "version": 1,
            "kinds": [{"name": "gpu", **kind}],
            "drains": {"max_drains": 50, **drains},
            "state_dir": "/run/slurmkit/health",
            "within_s": 20,
        }
        path = self.folder / "health.json"
        path.with_suffix(".new").write_text(json.dumps(value))
        path.with_suffix(".new").replace(path)

    def plant(self, node: str, text: str = XID) -> None:
        """Let a node's kernel log say something, now."""
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
        (self.folder / f"kmsg-{node}").write_text(f"3,1,{int(uptime_s * 1e6)},-;{text}\n")

    def mend(self, node: str) -> None:
        (self.folder / f"kmsg-{node}").write_text("")

    def node(self, node: str) -> str:
        """Return state and reason of a node, such as ``drained|a reason``."""
        words = ["sinfo", "-h", "-N", "-p", "debug", "-n", node, "-o", "%T|%E"]
        return self.run("login", *words)

    def until(self, true: Callable[[], object], timeout_s: float = 45.0) -> float:
        started = time.monotonic()
        while not true():
            assert time.monotonic() - started < timeout_s, self.said()
            time.sleep(0.1)
        return time.monotonic() - started

    def said(self) -> str:
        lines = [self.run("login", "squeue"), self.run("login", "sinfo", "-N", "-o", "%N %T %E")]
        for node in self.sandbox.nodes:
            log = self.run(node, "tail", "-n", "5", "/run/slurmkit/health/log", check=False)
            lines.append(f"{node}: {log}")
        return "\n".join(lines)

    def submit(self, *options: str, script: str = "sleep 600") -> str:
        words = ["sbatch", "--parsable", "--requeue", "--output", "/dev/null", *options]
        return self.run("login", *words, "--wrap", script)

    def job(self, job: str) -> list[str]:
        """Return state, node and number of restarts of a job."""
        said = self.run("login", "scontrol", "-o", "show", "job", job).split()
        values = dict(word.split("=", 1) for word in said if "=" in word)
        return [values["JobState"], values.get("NodeList", ""), values["Restarts"]]

    def started(self, *options: str, script: str = "sleep 600") -> tuple[str, str]:
        """Submit a job; return it and its node once its script runs.

        Before that Slurm calls it RUNNING, too, while the prolog is still looking.
        """
        mark = self.folder / f"started-{time.monotonic_ns()}"
        job = self.submit(*options, script=f"touch {mark}; {script}")
        self.until(mark.exists)
        return job, self.job(job)[1]

    def checked(self, *nodes: str, times: int = 2) -> None:
        """Wait until the health program of each node has run to its end so many times."""
        for _ in range(times):
            before = {node: self._last_check(node) for node in nodes}
            self.until(partial(self._all_checked_since, before))

    def _all_checked_since(self, before: Mapping[str, float]) -> bool:
        return all(self._last_check(node) > at for node, at in before.items())

    def _last_check(self, node: str) -> float:
        words = ["stat", "-c", "%.Y", "/run/slurmkit/health.json"]
        return float(self.run(node, *words, check=False) or 0)


@pytest.fixture(scope="module", params=["host", *OTHERS])
def nodes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    name = f"test-health-{os.getpid()}"
    release = str(request.param)
    scripts = tmp_path_factory.mktemp("scripts")
    lines = []
    for key, script in (
        ("Prolog", ROOT / "plugins/prolog/slurmkit-prolog.sh"),
        ("HealthCheckProgram", ROOT / "plugins/health/slurmkit-health.sh"),
    ):
        path = scripts / script.name
        path.write_text(
            f"#!/bin/bash\nexport SLURMKIT_NODE_ENV={scripts}/node.env\nexec {script}\n"
        )
        path.chmod(0o755)
        lines.append(f"{key}={path}")
    lines += [
        f"HealthCheckInterval={INTERVAL_S}",
        "HealthCheckNodeState=ANY",
        "SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=3,"
        "nohold_on_prolog_fail",
    ]
    try:
        sandbox = Sandbox.up(
            name, nodes=3, gpus=2, cpus=8, slurm_conf=lines, share=[scripts, ROOT], release=release
        )
    except SandboxUnavailableError as error:
        pytest.skip(f"no sandbox cluster on this machine: {error.message}")
    try:
        found = Cluster(sandbox)
        found.folder.mkdir()
        (scripts / "node.env").write_text(
            f"SLURMKIT_PROGRAM={SLURMKIT}\n"
            f"export SLURM_CONF={sandbox.layout.slurm_conf_path}\n"
            f"export SLURMKIT_HEALTH_CONF={found.folder}/health.json\n"
        )
        found.configure()
        for node in sandbox.nodes:
            found.mend(node)
            # The nodes share /dev, and each gets a kernel log of its own over the machine's.
            sandbox.exec(node, ["touch", "/dev/kmsg"], check=True)
            argv: list[str | Path] = ["mount", "--bind", found.folder / f"kmsg-{node}", "/dev/kmsg"]
            sandbox.exec(node, argv, check=True)
        yield found
    finally:
        sandbox.down()


@pytest.fixture
def cluster(nodes: Cluster) -> Iterator[Cluster]:
    """The cluster, and afterwards as it was: no faults, no jobs, all nodes idle."""
    nodes.configure()
    yield nodes
    nodes.run("login", "scancel", "--me")
    nodes.configure()
    for node in nodes.sandbox.nodes:
        nodes.mend(node)
        if "drain" in nodes.node(node):
            nodes.run("login", "scontrol", "update", f"nodename={node}", "state=undrain")
    nodes.until(lambda: all(nodes.node(n).startswith("idle") for n in nodes.sandbox.nodes))


def test_a_sick_node_is_drained_with_our_reason_and_put_back(cluster: Cluster) -> None:
    cluster.plant("node2")
    cluster.until(lambda: "drained" in cluster.node("node2"))
    state, _, reason = cluster.node("node2").partition("|")
    assert state == "drained"
    assert reason.startswith(f"{PREFIX} gpu-xid: Xid 79")
    assert is_ours("node2", reason)
    cluster.mend("node2")
    cluster.until(lambda: cluster.node("node2").startswith("idle"))
    assert cluster.node("node1").startswith("idle")


def test_jobs_lose_a_sick_node_and_go_on_elsewhere_within_ten_seconds(cluster: Cluster) -> None:
    cluster.configure(checks={"gpu-xid": {"action": "evict"}})
    half = ("--nodes=1", "--ntasks=1", "--cpus-per-task=4")
    (job, first), (other, shared) = cluster.started(*half), cluster.started(*half)
    assert shared == first, cluster.said()
    cluster.plant(first)
    started = time.monotonic()
    cluster.until(lambda: all(_runs_away_from(cluster, one, first) for one in (job, other)))
    took_s = time.monotonic() - started
    print(f"two jobs ran elsewhere after {took_s:.1f} s")
    assert took_s < 10.0
    assert [cluster.job(one)[2] for one in (job, other)] == ["1", "1"]
    log = "/run/slurmkit/health/log"
    cluster.until(lambda: f"job {job} of root: gpu-xid" in cluster.run(first, "cat", log))
    # It is not chosen again: a job that needs all nodes waits.
    whole = cluster.submit("--nodes=3", "--exclusive")
    cluster.checked(first)
    assert cluster.job(whole)[0] == "PENDING"
    assert is_ours(first, cluster.node(first).partition("|")[2])


def _runs_away_from(cluster: Cluster, job: str, node: str) -> bool:
    state, where, _ = cluster.job(job)
    return state == "RUNNING" and where != node


@pytest.mark.long
def test_a_job_that_ends_only_by_kill_goes_on_elsewhere_too(cluster: Cluster) -> None:
    cluster.configure(checks={"gpu-xid": {"action": "evict"}})
    stays = "trap '' TERM; while :; do sleep 1; done"
    job, first = cluster.started("--nodes=1", "--exclusive", script=stays)
    cluster.plant(first)
    cluster.until(lambda: _runs_away_from(cluster, job, first))
    assert cluster.job(job)[2] == "1"


def test_a_drain_of_somebody_else_is_never_touched(cluster: Cluster) -> None:
    update = ["scontrol", "update", "nodename=node1", "state=drain"]
    cluster.run("login", *update, "reason=bad fan; ticket 12")
    cluster.checked("node1")
    assert cluster.node("node1") == "drained|bad fan; ticket 12"
    # Also where our checks fail, and stop failing.
    cluster.plant("node1")
    cluster.checked("node1", times=1)
    cluster.mend("node1")
    cluster.checked("node1")
    assert cluster.node("node1") == "drained|bad fan; ticket 12"
    (shown,) = json.loads(cluster.run("login", SLURMKIT, "health", "drains", "--json"))
    assert (shown["node"], shown["by"], shown["by_slurmkit"]) == ("node1", "root", False)


def test_a_drain_of_ours_that_somebody_changes_is_theirs(cluster: Cluster) -> None:
    cluster.plant("node3")
    cluster.until(lambda: "drained" in cluster.node("node3"))
    reason = cluster.node("node3").partition("|")[2]
    changed = f"{reason} - keep it, ticket 13"
    cluster.run("login", "scontrol", "update", "nodename=node3", f"reason={changed}")
    cluster.mend("node3")
    cluster.checked("node3")
    assert cluster.node("node3") == f"drained|{changed}"


def test_no_more_than_a_share_is_drained(cluster: Cluster) -> None:
    for node in cluster.sandbox.nodes:
        cluster.plant(node)
    cluster.checked(*cluster.sandbox.nodes, times=3)
    drained = [n for n in cluster.sandbox.nodes if "drained" in cluster.node(n)]
    assert len(drained) == 1, cluster.said()  # 0.4 of 3
    others = [n for n in cluster.sandbox.nodes if n not in drained]
    said = cluster.run(others[0], "cat", "/run/slurmkit/health/log")
    assert "nodes are drained by us" in said or "taken back" in said, cluster.said()


def test_a_prolog_refuses_a_node_and_the_job_starts_elsewhere(cluster: Cluster) -> None:
    # gpu-xid only notes for the health program's sake: it is the prolog that has to see it.
    cluster.configure(checks={"gpu-xid": {"action": "refuse"}})
    others, _ = cluster.started("--nodelist=node[2-3]", "--exclusive")
    cluster.plant("node1")
    job = cluster.submit("--nodes=1", "--exclusive")
    cluster.until(lambda: is_ours("node1", cluster.node("node1").partition("|")[2]))
    assert cluster.job(job)[0] == "PENDING"
    # It is not put back for the job to be refused once more.
    reason = cluster.node("node1").partition("|")[2]
    cluster.checked("node1")
    state, _, still = cluster.node("node1").partition("|")  # draining, then drained
    assert ("drain" in state, still) == (True, reason), cluster.said()
    cluster.run("login", "scancel", others)
    cluster.until(lambda: cluster.job(job)[0] == "RUNNING")
    assert cluster.job(job)[1:] in (["node2", "1"], ["node3", "1"])
    assert "gpu-xid" in cluster.node("node1")
    cluster.mend("node1")
    cluster.until(lambda: cluster.node("node1").startswith("idle"))


def test_a_driver_that_hangs_holds_up_no_job(cluster: Cluster) -> None:
    hung = cluster.folder / "nvidia-smi"
    hung.write_text("#!/bin/bash\ntrap '' TERM INT HUP\nwhile :; do sleep 600; done\n")
    hung.chmod(0o755)
    note = {"gpu-driver": {"action": "note"}}
    cluster.configure(nvidia_smi=str(hung), driver_s=3.0, checks=note)
    started = time.monotonic()
    job = cluster.submit("--nodes=3", "--exclusive", script="true")
    cluster.until(lambda: cluster.job(job)[0] == "COMPLETED")
    print(f"three prologs and a job took {time.monotonic() - started:.1f} s")
    cluster.until(lambda: "gpu-driver" in _failing(cluster, "node1"))
    # A node's programs are those of its process namespace; none is left behind by ended runs.
    found = cluster.run("node1", "pgrep", "-fc", str(hung), check=False)
    assert int(found or 0) <= 2


# -- jobs with a supervisor ---------------------------------------------------------------


def _lab(cluster: Cluster, name: str) -> Any:
    spec = util.spec_from_file_location("health_lab", ROOT / "tests/faults/lab.py")
    assert spec
    assert spec.loader
    module = util.module_from_spec(spec)
    sys.modules["health_lab"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    folder = cluster.folder / name
    folder.mkdir()
    return module.Lab(cluster.sandbox, folder, 1)


def test_a_supervised_job_leaves_a_sick_node_for_its_spare(cluster: Cluster) -> None:
    cluster.configure(checks={"gpu-xid": {"action": "evict"}})
    run = _lab(cluster, "spare").plain("plain", "--steps", 100000, "--pace", 0.05)
    run.until_step(5, rank=1)
    victim = run.nodes()[1]
    cluster.plant(victim)
    started = time.time()
    run.until_event("node_unfit", host=victim)
    run.until(lambda: victim not in run.nodes(), 60, "steps on other nodes")
    print(f"the ranks were at work on the spare after {time.time() - started:.1f} s")
    assert time.time() - started < 10.0
    assert run.decisions() == ["spare"]
    (excluded,) = run.events("node_excluded")
    assert "gpu-xid" in excluded.fields["reason"]
    # Slurm has not started the job again: its supervisor has moved it.
    assert cluster.job(run.job_id)[2] == "0"


def test_a_preflight_drains_a_node_where_the_site_lets_jobs_do_so(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURMKIT_DRAIN", "1")  # as a site's profile does for its operators
    cluster.configure(checks={"gpu-xid": {"action": "note"}}, drains={"pass_after": 50})
    cluster.plant("node2")
    run = _lab(cluster, "preflight").plain(
        "plain",
        "--steps",
        100000,
        "--pace",
        0.05,
        resilience="on_node_failure: spare, heartbeat_s: 1, preflight: quick",
    )
    run.until_step(2)
    run.until_step(2, rank=1)
    assert sorted(run.nodes()) == ["node1", "node3"]
    cluster.until(lambda: "drain" in cluster.node("node2"))
    reason = cluster.node("node2").partition("|")[2]
    assert "gpu-xid: Xid 79" in reason
    assert is_ours("node2", reason)


def _failing(cluster: Cluster, node: str) -> list[str]:
    text = cluster.run(node, "cat", "/run/slurmkit/health.json", check=False)
    checks = json.loads(text)["checks"] if text else []
    return [item["check"] for item in checks if item["verdict"] == "fail"]
