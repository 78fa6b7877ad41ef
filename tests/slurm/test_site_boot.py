"""The shipped sites boot and run jobs on real Slurm: 22.05 (this machine's), 24.11 and 26.05.

Accounts and tiers run on 22.05, and in the long suite on 24.11, whose root file system with MariaDB
takes a while to make. slurmdbd 26.05.5 of Debian forky ends at once with its MariaDB 11.8.9.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurmkit.sandbox import Sandbox, SandboxUnavailableError
from slurmkit.site.generate import Release
from slurmkit.site.generate.versions import LINES, state, table

pytestmark = pytest.mark.slurm
SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))
# The job's `python` is the one with torch, whatever the tests were started by.
_ENV = {"USER": "root", "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin:/usr/sbin:/sbin"}
SITES = Path(__file__).parents[2] / "site-configs"
# What Slurm says of a configuration that it does not like.
_COMPLAINTS = re.compile(
    r"unrecognized|defunct|deprecated|no policy|[Ii]nvalid|fatal|must be less|not stored|duplicate"
)
# slurm.conf: what a sandbox changes, and nothing else of a site.
_CHANGED = {
    *("AccountingStorageHost", "AccountingStoragePass", "AuthInfo", "ClusterName", "MailProg"),
    *("JobAcctGatherType", "ProctrackType", "PrologFlags", "TaskPlugin", "MpiDefault"),
    *("NodeName", "PartitionName", "SlurmUser", "SlurmctldHost", "SlurmdParameters"),
    *("SlurmctldLogFile", "SlurmdLogFile", "SlurmdSpoolDir", "StateSaveLocation", "JobCompLoc"),
    "slurm.conf",
}
# Without slurmdbd all of accounting goes.
_ACCOUNTING = {
    *("AccountingStorageEnforce", "AccountingStorageTRES", "AccountingStorageType"),
    *("AccountingStoreFlags", "JobAcctGatherFrequency", "JobCompType", "PreemptMode"),
    *("PreemptType", "PriorityDecayHalfLife", "PriorityType"),
    *("PriorityWeightAge", "PriorityWeightFairshare", "PriorityWeightQOS"),
}


def _boot(site: str, *, release: str = "host", nodes: int = 2, accounting: bool = False) -> Sandbox:
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    name = f"test-site-{os.getpid()}"
    try:
        return Sandbox.up(
            name, site=str(SITES / site), nodes=nodes, release=release, accounting=accounting
        )
    except SandboxUnavailableError as error:
        pytest.skip(f"no {release} sandbox cluster on this machine: {error.message}")


def _complaints(sandbox: Sandbox) -> list[str]:
    logs = sandbox.layout.log_dir.glob("slurm*.log")
    return [
        line
        for log in logs
        for line in log.read_text(errors="replace").splitlines()
        if _COMPLAINTS.search(line)
    ]


def _values(sandbox: Sandbox) -> dict[str, str]:
    text = sandbox.exec("login", ["scontrol", "show", "config"], check=True).stdout
    return dict(re.findall(r"^(\S+)\s+= (.*?)\s*$", text, re.MULTILINE))


def _assert_table(sandbox: Sandbox) -> None:
    """Let this Slurm read every keyword that any release knows: it refuses what the table says."""
    release = Release.parse(sandbox.slurm_version)
    names = [entry.name for entry in table().values() if entry.file == "slurm.conf"]
    # Each of these begins a line with words of its own, or is an older name of SlurmctldHost.
    other = {*LINES, "frontendname", "slurmctldhost", "clustername", "include"}
    other |= {"controlmachine", "controladdr", "backupcontroller", "backupaddr"}
    asked = [name for name in names if name.lower() not in other]
    path = sandbox.shared_dir / "every-keyword.conf"
    path.write_text("".join(f"{name}=1\n" for name in asked))
    done = sandbox.exec(
        "login", ["scontrol", "show", "config"], env={"SLURM_CONF": str(path)}, cwd="/"
    )
    refused = {name.lower() for name in re.findall(r"unrecognized key: (\w+)", done.stderr)}
    said = {name.lower() for name in asked if state("slurm.conf", name, release) == "unknown"}
    assert refused == said


@pytest.mark.parametrize("release", ["host", "trixie", "forky"])
@pytest.mark.parametrize("site", ["hgx-b300-roce", "sandbox", "dgx-h100"])
def test_a_shipped_site_boots_and_runs_a_job(site: str, release: str) -> None:
    if (site, release) == ("dgx-h100", "host"):
        pytest.skip("the tests below run on this one")
    with _boot(site, release=release) as sandbox:
        hosts = sandbox.exec("login", ["srun", "-N2", "-t1", "--gres=gpu:1", "hostname"])
        assert sorted(hosts.stdout.split()) == sorted(sandbox.nodes), hosts.stderr
        assert _complaints(sandbox) == []
        keys = {change.split(": ")[1] for change in sandbox.site_changes if "slurm.conf:" in change}
        assert keys <= (_CHANGED if sandbox.layout.accounting else _CHANGED | _ACCOUNTING)
        _assert_table(sandbox)
        shown = sandbox.exec("login", ["scontrol", "show", "topology"], check=True).stdout
        if site != "sandbox":
            assert all(f"Nodes={host}" in shown for host in sandbox.nodes), shown


@pytest.mark.long
@pytest.mark.parametrize("site", ["dgx-h100", "hgx-b300-roce"])
def test_tiers_of_a_site_work_on_24_11(site: str) -> None:
    with _boot(site, release="trixie", accounting=True) as sandbox:
        show = ["srun", "-t1", "--gres=gpu:1", "--qos=production", "printenv", "SLURM_JOB_QOS"]
        assert sandbox.exec("login", show).stdout.split() == ["production"]
        assert _complaints(sandbox) == []


@pytest.mark.long
def test_idle_nodes_of_a_site_are_stopped_and_started(tmp_path: Path) -> None:
    text = (SITES / "sandbox/site.yaml").read_text()
    lines = "lines: ['SlurmctldParameters=power_save_interval=1,power_save_min_interval=0']"
    text = text.replace("  confine: false\n", f"  confine: false\n  {lines}\n")
    elastic = "{driver: /sbin/bmc, nodes: 'node[3-4]', idle_s: 4, stop_timeout_s: 1}"
    (tmp_path / "site.yaml").write_text(f"{text}elastic: {elastic}\n")
    with _boot(str(tmp_path), nodes=4) as sandbox:
        _wait(lambda: _killed(sandbox) == ["node3", "node4"], 60)
        hosts = sandbox.exec("login", ["srun", "-N4", "-t1", "--gres=gpu:1", "hostname"])
        assert sorted(hosts.stdout.split()) == ["node1", "node2", "node3", "node4"]


def test_a_site_of_several_node_types_boots_and_one_may_be_in_no_partition(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(
        "name: mixed\nslurm: {confine: false}\nnode_types:\n"
        "  cpu: {nodes: 'c[1-9]', cores: 4, memory: 8G}\n"
        "  gpu: {nodes: 'g[1-9]', cores: 8, gpus: 4, memory: 80G}\n"
        "  spare: {nodes: s1, cores: 4, memory: 8G}\n"
        "partitions: {cpu: {node_type: cpu}, gpu: {node_type: gpu, default_time: 1h}}\n"
    )
    with _boot(str(tmp_path), nodes=1) as sandbox:
        states = {host.name: host.slurm_state for host in sandbox.status()}
        assert [states[node] for node in ("c1", "g1", "s1")] == ["idle", "idle", "idle"]
        hosts = sandbox.exec("login", ["srun", "-pgpu", "--gres=gpu:4", "-t1", "hostname"])
        assert hosts.stdout.split() == ["g1"], hosts.stderr


def _killed(sandbox: Sandbox) -> list[str]:
    return [host.name for host in sandbox.status() if host.condition == "killed"]


@pytest.fixture(scope="module")
def dgx() -> Iterator[Sandbox]:
    with _boot("dgx-h100", nodes=4) as sandbox:
        yield sandbox


def test_the_sites_configuration_is_what_slurm_runs(dgx: Sandbox) -> None:
    assert dgx.nodes == ("dgx01", "dgx22", "dgx43", "dgx64")
    values = _values(dgx)
    for name, value in {
        "KillOnBadExit": "1",
        "JobSubmitPlugins": "lua",
        "Prolog": "/etc/slurm/prolog.d/*",
        "TaskProlog": "/etc/slurm/task-prolog.sh",
        "HealthCheckProgram": "/etc/slurm/slurmkit-health.sh",
        "PreemptType": "preempt/qos",
        "TopologyPlugin": "topology/tree",
        "SlurmdTimeout": "300 sec",
    }.items():
        assert values[name] == value, name
    assert _complaints(dgx) == []


def test_each_change_of_the_site_is_told(dgx: Sandbox) -> None:
    changes = dgx.site_changes
    assert "slurm.conf: SlurmUser: slurm -> root" in changes
    assert len(changes) < 45, changes  # it is little: where files are, what one machine lacks
    keys = {change.split(": ")[1] for change in changes if "slurm.conf:" in change}
    assert keys <= _CHANGED


def test_the_policy_of_the_site_holds(dgx: Sandbox) -> None:
    refused = dgx.exec("login", ["srun", "-t1", "true"])
    assert refused.returncode != 0
    assert "partition gpu is for GPU jobs" in refused.stderr


def test_the_tiers_of_the_site_hold(dgx: Sandbox) -> None:
    show = ["srun", "-t1", "--gres=gpu:1", "printenv", "SLURM_JOB_QOS"]
    assert dgx.exec("login", show).stdout.split() == ["training"]  # its account's default
    show.insert(1, "--qos=production")
    assert dgx.exec("login", show).stdout.split() == ["production"]
    rows = dgx.exec(
        "login", ["sacctmgr", "-nP", "show", "qos", "format=name,preempt,gracetime"], check=True
    ).stdout
    assert "production|experiment,training|00:00:00" in rows
    assert "training|experiment|00:02:00" in rows


def test_the_site_is_found_on_its_hosts(dgx: Sandbox) -> None:
    shown = dgx.exec("dgx22", [SLURMKIT, "site", "show", "--json"], cwd="/", check=True)
    keys = json.loads(shown.stdout)["keys"]
    assert keys["affinity.mode"]["value"] == "strict"
    assert keys["node_types.dgx.gpus"]["value"] == dgx.layout.size.gpus
    assert not Path("/etc/slurmkit/site.yaml").exists()  # nothing of it shows on the machine


def test_health_is_looked_at_on_the_nodes(dgx: Sandbox) -> None:
    assert dgx.exec("dgx01", ["/etc/slurm/prolog.d/50-slurmkit.sh"], cwd="/").returncode == 0
    checked = dgx.exec("dgx01", [SLURMKIT, "health", "check"], cwd="/")
    rows = dict(line.split()[:2] for line in checked.stdout.splitlines())
    assert rows["gpu-count"] == "pass", checked.stdout
    assert rows["cpu-count"] == "pass", checked.stdout


def _init(dgx: Sandbox, name: str, steps: int) -> tuple[Path, list[str]]:
    """Return a folder with the training in it, and the command that submits it."""
    folder = dgx.shared_dir / name
    folder.mkdir()
    dgx.exec("login", [SLURMKIT, "init", "llama-finetune"], cwd=folder, check=True)
    job = folder / "llama-finetune.yaml"
    job.write_text(job.read_text().replace("--steps=60", f"--steps={steps}"))
    changes = ["resources.gpus_per_node=2", "resources.memory=1G/gpu", "env.OMP_NUM_THREADS=1"]
    words = [word for change in changes for word in ("--set", change)]
    return folder, [SLURMKIT, "submit", "llama-finetune.yaml", "--json", *words]


def test_a_training_runs_with_strict_affinity(dgx: Sandbox) -> None:
    """What the site promises: ranks bound beside their GPUs, or no job."""
    folder, command = _init(dgx, "training", steps=8)
    done = dgx.exec("login", [*command, "--wait"], cwd=folder, env=_ENV, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    run = next((dgx.shared_dir / "runs/root/llama-finetune").iterdir())
    script = (run / "job.sbatch").read_text()
    assert "export SLURMKIT_AFFINITY=strict" in script
    logs = "".join(path.read_text() for path in (run / "logs").rglob("*") if path.is_file())
    assert "loss 5" in logs
    asked = ["sacct", "-nXP", "-o", "State,NNodes"]  # slurmdbd hears of it a moment later
    _wait(lambda: "COMPLETED|2" in dgx.exec("login", asked, check=True).stdout.split(), 60)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_training_gives_way_to_production_and_finishes(dgx: Sandbox) -> None:
    """Two minutes of it are the wait that 22.05 has for a requeued job."""
    folder, command = _init(dgx, "preempted", steps=40)
    command += ["--set", "resilience=true"]
    sent = dgx.exec("login", command, cwd=folder, env=_ENV, check=True)
    (job,) = json.loads(sent.stdout)
    run = Path(job["run_dir"])
    _wait(lambda: "step    5" in _text(run / "logs"), 120)
    urgent = ["sbatch", "--qos=production", "--gres=gpu:1", "-N4", "-t1", "--wrap=true"]
    dgx.exec("login", urgent, cwd=folder, check=True)
    _wait(lambda: "40/40" in _text(run / "logs"), 600)
    assert "saved step" in _text(run / "logs")
    asked = ["sacct", "-nXDP", "-j", job["job_id"], "-o", "State"]
    _wait(lambda: "COMPLETED" in dgx.exec("login", asked, check=True).stdout, 60)
    assert "REQUEUED" in dgx.exec("login", asked, check=True).stdout


def _text(folder: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


def _wait(done: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.5)
