"""The Lua plugins in a real slurmctld and in the real sbatch and srun."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurmkit.sandbox import Sandbox, SandboxUnavailableError
from slurmkit.sandbox.rootfs import rootfs_dir

pytestmark = pytest.mark.slurm

PLUGIN = Path(__file__).parents[2] / "plugins" / "lua"
USER = 65534  # nobody: not an operator
POLICY = """
return {
  tiers = {
    train = { partition = "long", default_time = "02:00:00", max_time = "1-00", requeue = true,
              cpus_per_gpu = 4, memory_per_gpu = "8G" },
  },
  gpu_time_limit = "%(time)s",
  gpus_per_task = "%(task)s",
  gpu_partitions = { "debug" },
  gpu_partition_without_gpu = "%(partition)s",
  operators = { uids = { 0 } },
}
"""


class Site:
    """A cluster with the plugins, and what its policy is."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.etc = sandbox.layout.slurm_conf_path.parent
        self._stamp = int(time.time())

    def install(self, policy: str | None = None, *, cli: bool = False, **choices: str) -> None:
        """Put the plugins and a policy in place; the controller reads them at the next submit."""
        for name in ("slurmkit_rules.lua", "job_submit.lua"):
            shutil.copy(PLUGIN / name, self.etc)
        chosen = {"time": "require", "task": "refuse", "partition": "refuse"} | choices
        (self.etc / "slurmkit_policy.lua").write_text(policy or POLICY % chosen)
        text = (PLUGIN / "cli_filter.lua").read_text() if cli else _IDLE_FILTER
        (self.etc / "cli_filter.lua").write_text(text)
        # slurmctld compares whole seconds of this file's time.
        self._stamp += 1
        os.utime(self.etc / "job_submit.lua", (self._stamp, self._stamp))

    def run(self, *argv: str, operator: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a program on the login host, as somebody without rights unless told otherwise."""
        prefix = (
            [] if operator else ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        )
        return self.sandbox.exec("login", [*prefix, *argv], cwd=self.sandbox.shared_dir)

    def submit(self, *options: str, operator: bool = False) -> subprocess.CompletedProcess[str]:
        """Submit a held job."""
        return self.run("sbatch", "--hold", *options, "--wrap", "true", operator=operator)

    def fields(self, done: subprocess.CompletedProcess[str]) -> dict[str, str]:
        """Return what scontrol shows of a submitted job, which is then cancelled."""
        job = self.job_id(done)
        shown = self.sandbox.exec("login", ["scontrol", "show", "job", job], check=True).stdout
        self.sandbox.exec("login", ["scancel", job], check=True)
        return dict(word.split("=", 1) for word in shown.split() if "=" in word)

    @staticmethod
    def job_id(done: subprocess.CompletedProcess[str]) -> str:
        """Return the id of a submitted job."""
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[-1]

    def move(self, job: str, *, operator: bool = False) -> subprocess.CompletedProcess[str]:
        """Move a job into the GPU partition.

        Plain 26.05, without any plugin, answers some moves with EAGAIN and takes them later.
        """
        argv = ["scontrol", "update", f"JobId={job}", "Partition=debug"]
        deadline = time.monotonic() + 10
        while True:
            done = self.run(*argv, operator=operator)
            again = "Resource temporarily unavailable" in done.stderr
            if not again or time.monotonic() > deadline:
                return done
            time.sleep(0.2)

    def log(self) -> str:
        """Return the controller's log."""
        return (self.sandbox.layout.log_dir / "slurmctld.log").read_text(errors="replace")


_IDLE_FILTER = """
function slurm_cli_setup_defaults() return slurm.SUCCESS end
function slurm_cli_pre_submit() return slurm.SUCCESS end
function slurm_cli_post_submit() return slurm.SUCCESS end
return slurm.SUCCESS
"""


@pytest.fixture(
    scope="module", params=["host", pytest.param("trixie", marks=pytest.mark.long), "forky"]
)
def running(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A small cluster of each release, with both plugins switched on."""
    with _site(request.param) as site:
        yield site


@contextlib.contextmanager
def _site(release: str, *, accounting: bool = False) -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    if release == "trixie" and not rootfs_dir(release).is_dir():
        pytest.skip("no root file system of Debian trixie on this machine")
    try:
        sandbox = Sandbox.up(
            f"test-lua{'acct' if accounting else release}-{os.getpid()}",
            nodes=2,
            gpus=4,
            cpus=16,
            release=release,
            accounting=accounting,
        )
    except SandboxUnavailableError as error:
        pytest.skip(f"no {release} sandbox cluster on this machine: {error.message}")
    with sandbox:
        root = sandbox.layout.root_dir or Path("/")
        if not list(root.glob("usr/lib/*/slurm-wlm/job_submit_lua.so")):
            pytest.skip(f"the Slurm of {release} has no Lua plugins")
        site = Site(sandbox)
        site.install()
        with sandbox.layout.slurm_conf_path.open("a") as conf:
            conf.write("JobSubmitPlugins=lua\nCliFilterPlugins=lua\n")
        sandbox.exec("ctl", ["scontrol", "reconfigure"], check=True)
        # From 23.11 on a reconfigured controller starts anew.
        deadline = time.monotonic() + 20
        while "policy loaded" not in site.log():
            assert time.monotonic() < deadline, site.log()[-2000:]
            time.sleep(0.1)
            site.run("sbatch", "--test-only", "--wrap", "true")
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    """The same with the usual policy, whatever the test before has left."""
    running.install()
    return running


GPU = "--gres=gpu:1"


def test_a_job_without_trouble_is_left_alone(site: Site) -> None:
    done = site.submit(GPU, "--time=10", "--cpus-per-task=2", "--no-requeue")
    assert done.stderr == ""
    shown = site.fields(done)
    assert shown["TimeLimit"] == "00:10:00"
    assert shown["Requeue"] == "0"
    assert shown["Partition"] == "debug"


@pytest.mark.parametrize("option", [GPU, "--gpus=1", "--gpus-per-node=1", "--gres=gpu:h100:2"])
def test_gpu_job_without_time_is_refused(site: Site, option: str) -> None:
    done = site.submit(option)
    assert done.returncode == 1
    assert "sbatch: error: slurmkit: a GPU job needs a time limit: add --time" in done.stderr
    assert "Time limit specification required" in done.stderr
    assert done.stdout == ""


def test_everything_wrong_is_said_at_once(site: Site) -> None:
    done = site.submit("--gpus-per-task=1", "--ntasks=2")
    assert done.returncode == 1
    assert done.stderr.count("slurmkit: ") == 2
    assert "--gres=gpu:N" in done.stderr
    assert "CUDA IPC" in done.stderr


def test_tier_fills_in_what_is_missing(site: Site) -> None:
    site.install(time="default")
    done = site.submit("--partition=long", "--gres=gpu:2")
    assert "sbatch: slurmkit: --time=02:00:00 was filled in (tier train)" in done.stderr
    assert "--cpus-per-gpu=4 was filled in" in done.stderr
    shown = site.fields(done)
    assert shown["TimeLimit"] == "02:00:00"
    assert shown["Requeue"] == "1"
    assert shown["CpusPerTres"] in {"gres:gpu:4", "gres/gpu:4"}
    assert shown["MemPerTres"] in {"gres:gpu:8192", "gres/gpu:8192"}


def test_tier_filled_in_job_runs(site: Site) -> None:
    out = site.sandbox.shared_dir / "cores.out"
    done = site.run(
        "sbatch", "--wait", "--partition=long", "--gres=gpu:2", "--time=1", f"--output={out}",
        "--wrap", "echo $SLURM_CPUS_ON_NODE $CUDA_VISIBLE_DEVICES",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert out.read_text().split() == ["8", "0,1"]


def test_requeue_is_forced_on_for_training(site: Site) -> None:
    done = site.submit("--partition=long", GPU, "--time=10", "--no-requeue", "-c1", "--mem=1G")
    assert "slurmkit: --no-requeue was overruled" in done.stderr
    assert site.fields(done)["Requeue"] == "1"


def test_longer_than_the_tier_may_is_refused(site: Site) -> None:
    for given in ("1-00:01:00", "UNLIMITED"):
        done = site.submit("--partition=long", GPU, f"--time={given}")
        assert done.returncode == 1
        assert "use at most --time=1-00:00:00" in done.stderr


def test_cpu_job_in_a_gpu_partition(site: Site) -> None:
    for options in (["--partition=debug"], []):  # named, and as the cluster's default
        done = site.submit(*options)
        assert done.returncode == 1
        assert "slurmkit: partition debug is for GPU jobs" in done.stderr
    site.install(partition="warn")
    done = site.submit()
    assert "sbatch: slurmkit: partition debug is for GPU jobs" in done.stderr
    assert site.fields(done)["Partition"] == "debug"


SHOW = "srun --ntasks=2 bash -c 'echo rank$SLURM_PROCID:$CUDA_VISIBLE_DEVICES' | sort"


def test_gpus_per_task_is_fixed_up_to_the_ranks(site: Site) -> None:
    out = site.sandbox.shared_dir / "ranks.out"
    options = ["--gpus-per-task=1", "--nodes=1", "--ntasks-per-node=2", "--time=1"]
    batch = ["sbatch", "--wait", *options, f"--output={out}", "--wrap", SHOW]
    site.install(task="allow")
    assert site.run(*batch).returncode == 0
    hidden = out.read_text().split()
    out.unlink()
    site.install(task="fix")
    done = site.run(*batch)
    assert done.returncode == 0, done.stderr + out.read_text()
    assert "slurmkit: --gpus-per-task=1 was made --gres=gpu:2" in done.stderr
    assert out.read_text().split() == ["rank0:0,1", "rank1:0,1"]
    assert hidden != ["rank0:0,1", "rank1:0,1"]


def test_gpus_per_task_of_srun_cannot_be_fixed(site: Site) -> None:
    site.install(task="fix")
    done = site.run("srun", "--gpus-per-task=1", "--ntasks=2", "--time=1", "true")
    assert done.returncode != 0
    assert "slurmkit: --gpus-per-task hides" in done.stderr


def test_operators_may_override(site: Site) -> None:
    word = "--comment=slurmkit:override"
    refused = site.submit(GPU, word)
    assert refused.returncode == 1
    assert "a GPU job needs a time limit" in refused.stderr
    assert site.submit(GPU, operator=True).returncode == 1
    done = site.submit(GPU, word, operator=True)
    assert site.fields(done)["TimeLimit"] == "00:10:00"
    assert "slurmkit: policy overridden by uid 0" in site.log()


def test_changes_of_a_job_are_judged(site: Site) -> None:
    job = site.job_id(site.submit("--partition=long", "--time=10"))
    moved = site.move(job)
    assert moved.returncode != 0
    if not site.sandbox.slurm_version.startswith("22."):  # whose scontrol tells nothing
        assert "slurmkit: partition debug is for GPU jobs" in moved.stderr
    allowed = site.run("scontrol", "update", f"JobId={job}", "TimeLimit=5")
    assert allowed.returncode == 0, allowed.stderr
    by_operator = site.move(job, operator=True)
    assert by_operator.returncode == 0, by_operator.stderr
    shown = site.sandbox.exec("login", ["scontrol", "show", "job", job]).stdout
    assert "Partition=debug" in shown
    assert "TimeLimit=00:05:00" in shown
    gpu = site.job_id(site.submit("--partition=long", GPU, "--time=10"))
    moved = site.move(gpu)
    assert moved.returncode == 0, moved.stderr
    site.run("scancel", job, gpu)


BROKEN: dict[str, Callable[[Site], None]] = {
    "syntax": lambda site: site.install("return {"),
    "typo": lambda site: site.install("return { gpus_per_tsk = 'fix' }"),
    "error": lambda site: site.install("error('no such host')"),
    "at run time": lambda site: site.install(
        "return { operators = setmetatable({}, { __index = function() error('boom') end }) }"
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_policy_lets_jobs_through(site: Site, how: str) -> None:
    BROKEN[how](site)
    before = len(site.log())
    done = site.submit(GPU)
    assert "slurmkit" not in done.stderr
    assert site.fields(done)["TimeLimit"] == "00:10:00"
    assert "goes through without the policy" in site.log()[before:]


def test_missing_rules_let_jobs_through(site: Site) -> None:
    (site.etc / "slurmkit_rules.lua").unlink()
    before = len(site.log())
    site.fields(site.submit(GPU))
    assert "slurmkit_rules.lua" in site.log()[before:]


def test_cli_filter_refuses_before_anything_is_sent(site: Site) -> None:
    site.install(cli=True)
    (site.etc / "job_submit.lua").write_text(_IDLE_SUBMIT)
    done = site.submit(GPU)
    assert done.returncode == 1
    assert "sbatch: error: slurmkit: a GPU job needs a time limit: add --time" in done.stderr
    for options in (["--gpus=1"], ["--gpus-per-node=h100:1"]):
        assert "needs a time limit" in site.submit(*options).stderr
    assert "use at most" in site.submit("--partition=long", GPU, "--time=UNLIMITED").stderr
    assert "asks for no GPU" in site.submit("--partition=debug", "--time=1").stderr
    per_task = site.submit("--gpus-per-task=1", "--ntasks=1", "--time=1")
    assert "slurmkit: --gpus-per-task hides" in per_task.stderr
    assert "--gres=gpu:1 (GPUs per node)" in per_task.stderr
    site.fields(site.submit(GPU, "--time=1"))
    site.fields(site.submit("--partition=long"))


_IDLE_SUBMIT = """
function slurm_job_submit() return slurm.SUCCESS end
function slurm_job_modify() return slurm.SUCCESS end
return slurm.SUCCESS
"""


def test_cli_filter_sees_steps(site: Site) -> None:
    site.install(cli=True)
    out = site.sandbox.shared_dir / "step.out"
    script = "srun --gpus-per-task=1 --ntasks=1 echo hidden; srun --ntasks=1 echo seen"
    done = site.run("sbatch", "--wait", GPU, "--time=1", f"--output={out}", "--wrap", script)
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    assert "srun: error: slurmkit: --gpus-per-task hides" in text
    assert "hidden\n" not in text
    assert "seen\n" in text


def test_cli_filter_with_a_broken_policy_lets_jobs_through(site: Site) -> None:
    site.install("return {", cli=True)
    site.fields(site.submit(GPU))


def test_tiers_by_qos() -> None:
    with _site("host", accounting=True) as site:
        site.install(
            "return {"
            " tiers = { train = { qos = 'high', partition = 'long', default_time = '30' } },"
            " gpu_time_limit = 'default' }"
        )
        by_qos = site.submit("--qos=high", GPU, operator=True)
        assert "sbatch: slurmkit: --partition=long was filled in (tier train)" in by_qos.stderr
        by_partition = site.submit("--partition=long", GPU, operator=True)
        for done in (by_qos, by_partition):
            shown = site.fields(done)
            assert (shown["QOS"], shown["Partition"]) == ("high", "long")
            assert shown["TimeLimit"] == "00:30:00"
        other = site.submit("--partition=long", "--qos=normal", GPU, operator=True)
        assert "needs a time limit" in other.stderr
