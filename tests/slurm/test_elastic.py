"""Power saving on real Slurm: nodes of a sandbox that are really stopped, and started for a job."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurmkit.sandbox import Sandbox, SandboxUnavailableError, machine
from slurmkit.sandbox import elastic as agent
from slurmkit.site.elastic import PROGRAMS_DIR, node_state, slurm_conf_lines
from slurmkit.site.generate.release import Release
from slurmkit.site.lookup import read_site
from slurmkit.site.models import Site

pytestmark = pytest.mark.slurm

PLUGINS = Path(__file__).parents[2] / "plugins" / "elastic"
SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))
PATIENCE_S = 60.0

# The driver of a sandbox, but for hosts that are named in a file: these have no capacity.
_DRIVER = """\
#!/bin/sh
action=$1
if [ "$action" = start ]; then
  shift
  for host in "$@"; do
    if grep -qsx "$host" {broken}; then echo "$host failed no capacity"; else good="$good $host"; fi
  done
  [ -z "$good" ] || exec {driver} start $good
  exit 0
fi
exec {driver} "$@"
"""


class Elastic:
    """A sandbox whose node2 and node3 are stopped when idle, or do not exist until started."""

    def __init__(self, sandbox: Sandbox, *, cloud: bool) -> None:
        self.sandbox = sandbox
        self.cloud = cloud
        self.broken = sandbox.shared_dir / "broken"
        self.log = sandbox.shared_dir / "actions.log"
        self.site = sandbox.shared_dir / "site.yaml"

    def turn_on(self) -> None:
        sandbox = self.sandbox
        driver = sandbox.shared_dir / "driver"
        program = agent.start_agent(sandbox.layout)
        driver.write_text(_DRIVER.format(broken=self.broken, driver=program))
        driver.chmod(0o755)
        self.site.write_text(
            "node_types: {a: {nodes: 'node[1-3]', cpus: 4, memory: 2G}}\n"
            f"elastic: {{driver: {driver}, nodes: 'node[2-3]', idle_s: 3, start_timeout_s: 30,"
            f" stop_timeout_s: 1, log: {self.log}, present: {str(not self.cloud).lower()}}}\n"
        )
        etc = sandbox.layout.slurm_conf_path.parent
        shutil.copytree(PLUGINS, etc / "elastic")
        (etc / "elastic" / "settings").write_text(
            f"SLURMKIT='{SLURMKIT}'\nSLURMKIT_SITE='{self.site}'\n"
            f"ELASTIC_LOG='{sandbox.shared_dir}/elastic.out'\n"
        )
        site = read_site(self.site).site
        lines = slurm_conf_lines(site, Release.parse(sandbox.slurm_version))
        if self.cloud:
            self._forget_nodes(site)
        with sandbox.layout.slurm_conf_path.open("a") as conf:
            for line in lines:
                conf.write(line.replace(PROGRAMS_DIR, str(etc / "elastic")) + "\n")
            conf.write("SlurmctldParameters=power_save_interval=1,power_save_min_interval=0\n")
        sandbox.kill("ctl")
        machine.plug(sandbox.layout, "ctl", connected=True)
        machine.start_hosts(sandbox.layout, ["ctl"])

    def _forget_nodes(self, site: Site) -> None:
        """Stop the nodes and declare them as they are in a cloud: not there."""
        conf = self.sandbox.layout.slurm_conf_path
        lines = conf.read_text().splitlines()
        for node in ("node2", "node3"):
            self.sandbox.kill(node)
            number = next(i for i, line in enumerate(lines) if line.startswith(f"NodeName={node} "))
            lines[number] += f" State={node_state(site, node)}"
        conf.write_text("\n".join(lines) + "\n")

    def login(self, *argv: str) -> str:
        return self.sandbox.exec("login", argv, check=True).stdout.strip()

    def state(self, node: str) -> str:
        # --all: cloud nodes that are off are hidden else. Not checked: slurmctld may be coming up.
        argv = ["scontrol", "--all", "--oneliner", "show", "node", node]
        said = self.sandbox.exec("login", argv).stdout
        return said.partition("State=")[2].split(" ")[0]

    def conditions(self) -> dict[str, str]:
        return {host.name: host.condition for host in self.sandbox.status()}

    def stopped(self, *nodes: str) -> bool:
        """Slurm counts the nodes as powered down, and not one of their processes is left."""
        conditions = self.conditions()
        return all(
            "POWERED_DOWN" in self.state(node) and conditions[node] == "killed" for node in nodes
        )

    def entries(self, action: str) -> list[dict[str, object]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [entry for entry in map(json.loads, lines) if entry["action"] == action]

    def until(self, what: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            if time.monotonic() > deadline:
                out = self.sandbox.shared_dir / "elastic.out"
                said = out.read_text() if out.exists() else "no program was called"
                states = [f"{node} {self.state(node)}" for node in self.sandbox.nodes]
                jobs = self.login("squeue", "--all", "--states=all")
                raise AssertionError(f"{what}: not in {PATIENCE_S:g} s\n{said}\n{states}\n{jobs}")
            time.sleep(0.2)


@pytest.fixture(
    scope="module",
    params=[
        ("host", False),
        pytest.param(("host", True), marks=pytest.mark.long),
        pytest.param(("trixie", False), marks=pytest.mark.long),
        pytest.param(("forky", True), marks=pytest.mark.long),
    ],
    ids=["22.05", "22.05-cloud", "24.11", "26.05-cloud"],
)
def elastic(request: pytest.FixtureRequest) -> Iterator[Elastic]:
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    release, cloud = request.param
    name = f"test-elastic-{os.getpid()}"
    try:
        sandbox = Sandbox.up(name, nodes=3, gpus=2, cpus=4, memory_mib=2048, release=release)
    except SandboxUnavailableError as error:
        pytest.skip(f"no sandbox cluster on this machine: {error.message}")
    try:
        lab = Elastic(sandbox, cloud=cloud)
        lab.turn_on()
        lab.until("idle nodes are stopped", lambda: lab.stopped("node2", "node3"))
        yield lab
    finally:
        sandbox.down()


def test_idle_nodes_are_stopped_and_others_left_alone(elastic: Elastic) -> None:
    elastic.until("node1 is known", lambda: elastic.state("node1").startswith("IDLE"))
    assert "POWERED" not in elastic.state("node1")
    stopped = elastic.entries("stop")
    assert elastic.cloud or str(stopped[0]["hosts"]).startswith("node")
    assert not any(entry["failed"] for entry in stopped)
    states = json.loads(
        elastic.login(SLURMKIT, "elastic", "list", "--site", str(elastic.site), "--json")
    )
    assert states == {"node2": "stopped", "node3": "stopped"}


def test_a_job_starts_the_nodes_that_it_needs_and_they_stop_again(elastic: Elastic) -> None:
    # srun, not sbatch: slurmctld looks after nodes that come up for a batch job every 30 s only.
    said = elastic.login(
        "srun", "--nodes=2", "--ntasks=2", "--cpus-per-task=1", "--nodelist=node[2-3]", "hostname"
    )
    assert sorted(said.split()) == ["node2", "node3"]
    # Newer releases ask for each node alone.
    started = {str(entry["hosts"]) for entry in elastic.entries("start")}
    assert started in ({"node[2-3]"}, {"node2", "node3"})
    assert not any(entry["failed"] for entry in elastic.entries("start"))
    elastic.until("they are stopped again", lambda: elastic.stopped("node2", "node3"))


@pytest.mark.long
def test_starting_twice_changes_nothing(elastic: Elastic) -> None:
    program = elastic.sandbox.layout.slurm_conf_path.parent / "elastic" / "resume.sh"
    elastic.sandbox.exec("ctl", [program, "node2"], check=True)
    before = len(elastic.entries("start"))
    elastic.sandbox.exec("ctl", [program, "node2"], check=True)
    entry = elastic.entries("start")[before]
    assert (entry["hosts"], entry["skipped"]) == ("", "node2")
    elastic.sandbox.exec("ctl", [program.with_name("suspend.sh"), "node2"], check=True)
    assert elastic.conditions()["node2"] == "killed"
    elastic.until("Slurm sees it gone", lambda: elastic.stopped("node2"))


def test_a_host_that_is_not_elastic_is_never_stopped(elastic: Elastic) -> None:
    program = elastic.sandbox.layout.slurm_conf_path.parent / "elastic" / "suspend.sh"
    done = elastic.sandbox.exec("ctl", [program, "node1"])
    assert done.returncode == 2
    assert (
        "node1 may not be started or stopped"
        in (elastic.sandbox.shared_dir / "elastic.out").read_text()
    )
    assert elastic.conditions()["node1"] == "up"


def test_a_node_that_cannot_start_is_reported_and_its_job_waits_again(
    elastic: Elastic,
) -> None:
    elastic.broken.write_text("node3\n")
    job = elastic.login(
        "sbatch", "--parsable", "--nodes=1", "--nodelist=node3", "--output=/dev/null",
        "--wrap", "true",
    )  # fmt: skip

    slurmctld = elastic.sandbox.layout.log_dir / "slurmctld.log"

    def told() -> bool:
        # Its state and reason are there for a moment only: it is to be tried again.
        return "slurmkit elastic: start failed: no capacity" in slurmctld.read_text()

    elastic.until("Slurm is told", told)

    def requeued() -> bool:
        return elastic.login("squeue", "-h", "-j", job, "-o", "%T %N") == "PENDING"

    elastic.until("the job waits again", requeued)
    assert elastic.entries("start")[-1]["failed"] == {"node3": "no capacity"}
    elastic.broken.unlink()
    elastic.until("the node can be tried again", lambda: elastic.state("node3").startswith("IDLE"))
    elastic.login("scancel", job)
    elastic.until("it is stopped", lambda: elastic.stopped("node3"))


def test_the_report_says_what_more_nodes_would_help(elastic: Elastic) -> None:
    held = elastic.login("sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap", "true")
    job = elastic.login(
        "sbatch", "--parsable", "--nodes=3", "--exclusive", "--output=/dev/null", "--hold",
        "--wrap", "true",
    )  # fmt: skip
    wide = elastic.login(
        "sbatch", "--parsable", "--nodes=2", "--gpus=4", "--output=/dev/null", "--hold",
        "--wrap", "true",
    )  # fmt: skip
    report = json.loads(elastic.login(SLURMKIT, "elastic", "report", "--json"))
    reader = (
        "from slurmkit.slurm.power import PowerDoor\n"
        "for j in PowerDoor().waiting(): print(j.id, j.num_nodes, j.gpus_per_node, j.exclusive)"
    )
    seen = elastic.login(sys.executable, "-c", reader).splitlines()
    elastic.login("scancel", held, job, wide)
    assert report["pending"] == 3
    assert report["reasons"] == {"held by a person": 3}
    assert report["add"] == 0
    # Releases say in other words who shares nodes.
    assert set(seen) == {f"{held} 1 0 False", f"{job} 3 0 True", f"{wide} 2 2 False"}
