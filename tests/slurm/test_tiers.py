"""Tiers and accounts in a real slurmdbd: the difference, preemption, and who may do what."""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import jsonschema
import pytest

from slurmkit.api.schemas import schema_of
from slurmkit.sandbox import Sandbox, SandboxUnavailableError
from slurmkit.site.generate.release import Release
from slurmkit.site.models import Site
from slurmkit.site.tiers import slurm_conf_lines
from slurmkit.yamlfile.reader import read_document
from slurmkit.yamlfile.validate import build

pytestmark = pytest.mark.slurm
SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))

TRAINER = Path(__file__).parents[1] / "faults/programs/trainer.py"

SITE = """\
name: test
slurm: {{cluster: {cluster}, database: dbd}}
tiers:
  production: {{qos: production, usage_factor: 2, limits: {{total: {{cpus: 16}}}}}}
  training: {{qos: training, preemptible: true, grace_s: 20}}
  experiment:
    qos: experiment
    preemptible: true
    grace_s: 5
    limits: {{per_user: {{cpus: 4, nodes: 1, memory: 1T}}, max_time: 30m, jobs_per_user: 3}}
accounts:
  lab:
    description: The lab
    fair_share: 10
    limits: {{gpu_hours: 1000}}
    tiers: [production, training, experiment]
  vision:
    parent: lab
    tiers: [production, training, experiment]
    default_tier: training
    users: [root, daemon]
    coordinators: [daemon]
  speech: {{parent: lab, tiers: [experiment], users: [daemon, bin]}}
roles: {{operators: [bin, games]}}
billing: {{cpu: 0.5, gpu: 4, by_largest: true, half_life: 7d}}
"""


def _lines(release: str) -> list[str]:
    """Return what the generator writes into slurm.conf for this site."""
    text = SITE.format(cluster="any")
    site = build(Site, read_document(text.encode(), "site.yaml"))
    written = {"host": "22.05", "trixie": "24.11"}[release]
    lines = slurm_conf_lines(site, Release.parse(written))
    return [line for line in lines if not line.startswith("#")]


def _up(release: str) -> Iterator[Sandbox]:
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    try:
        sandbox = Sandbox.up(
            f"test-tiers-{os.getpid()}",
            nodes=2,
            gpus=0,
            cpus=8,
            accounting=True,
            release=release,
            slurm_conf=[*_lines(release), "PartitionName=billed Nodes=node[1-2] State=UP"],
        )
    except SandboxUnavailableError as error:
        pytest.skip(f"no {release} sandbox cluster with accounting: {error.message}")
    with sandbox:
        (sandbox.shared_dir / "site.yaml").write_text(SITE.format(cluster=sandbox.layout.name))
        yield sandbox


@pytest.fixture(scope="module", params=["host", pytest.param("trixie", marks=pytest.mark.long)])
def dbd(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    yield from _up(request.param)


def run(dbd: Sandbox, *argv: str, user: str = "") -> "CompletedProcess[str]":
    words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    env = {"HOME": str(dbd.shared_dir), "SLURMKIT_RUN_ROOT": str(dbd.shared_dir / "runs")}
    return dbd.exec("login", [*words, *argv], cwd=dbd.shared_dir, env=env, timeout=120)


def tiers(dbd: Sandbox, *words: str, code: int = 0) -> "CompletedProcess[str]":
    root = str(dbd.shared_dir / "root")
    done = run(dbd, SLURMKIT, "site", "tiers", ".", "--root", root, *words)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def applied(dbd: Sandbox) -> "CompletedProcess[str]":
    """What the first call with --apply said."""
    (dbd.shared_dir / "root").mkdir()
    return tiers(dbd, "--apply")


def shown(dbd: Sandbox, *words: str) -> list[str]:
    done = run(dbd, "sacctmgr", "-nP", "show", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_cluster_without_slurmdbd_is_told_so(cluster: Sandbox) -> None:
    folder = cluster.shared_dir / "no-slurmdbd"
    folder.mkdir()
    (folder / "site.yaml").write_text("tiers: {one: {qos: one}}\n")
    done = cluster.exec("login", [SLURMKIT, "site", "tiers", "."], cwd=folder, timeout=60)
    assert done.returncode == 1
    assert "this cluster may have no slurmdbd: see AccountingStorageType" in done.stderr


def test_the_difference_is_shown_first(dbd: Sandbox) -> None:
    plan = json.loads(tiers(dbd, "--json", code=1).stdout)
    jsonschema.validate(plan, schema_of("site-tiers"))
    assert not plan["applied"]
    added = {(item["entity"], item["name"]) for item in plan["changes"] if item["action"] == "add"}
    assert {("qos", "production"), ("account", "vision"), ("member", "bin@speech")} <= added
    assert "kept: account research is not slurmkit's" in plan["notes"]
    assert shown(dbd, "qos", "where", "name=production", "format=name") == []


def test_apply_makes_it_so(dbd: Sandbox, applied: "CompletedProcess[str]") -> None:
    assert "+ qos production" in applied.stdout
    form = "format=name,priority,preempt,preemptmode,gracetime,usagefactor,maxwall,maxjobspu"
    rows = {row.split("|")[0]: row for row in shown(dbd, "qos", form)}
    assert rows["production"].startswith("production|300|experiment,training|cluster|00:00:00|2.0")
    assert rows["training"].startswith("training|200|experiment|requeue|00:00:20|1.0")
    assert rows["experiment"].endswith("|00:30:00|3")
    form = "format=account,parentname,user,fairshare,qos,defaultqos,grptresmins"
    links = shown(dbd, "association", "where", "account=lab,vision,speech", form)
    assert any(row.startswith("lab|root||10|") and row.endswith("gres/gpu=60000") for row in links)
    assert "vision|lab||1|experiment,production,training|training|" in links
    assert any(row.startswith("vision||daemon|") for row in links)
    coordinators = shown(dbd, "account", "withcoord", "format=account,coordinators")
    assert "vision|daemon" in coordinators
    users = shown(dbd, "user", "format=user,defaultaccount,adminlevel")
    assert {"daemon|vision|None", "bin|speech|Operator"} <= set(users)
    assert "games is in no account, and cannot be made operator" in applied.stderr


def test_slurmctld_takes_what_the_generator_writes(dbd: Sandbox) -> None:
    config = run(dbd, "scontrol", "show", "config").stdout
    for name, value in (
        ("PreemptType", "preempt/qos"),
        ("PreemptMode", "REQUEUE"),
        ("AccountingStorageEnforce", "associations,limits,qos,safe"),
        ("PriorityWeightQOS", "1000000"),
        ("PriorityDecayHalfLife", "7-00:00:00"),
        ("PriorityFlags", "MAX_TRES"),
    ):
        assert re.search(rf"^{name} *= {value}$", config, re.MULTILINE | re.IGNORECASE), name
    shown_partition = run(dbd, "scontrol", "show", "partition", "billed").stdout
    assert "TRESBillingWeights=CPU=0.5,GRES/gpu=4" in shown_partition


def test_a_second_apply_does_nothing(dbd: Sandbox, applied: object) -> None:
    assert tiers(dbd).stdout == "nothing to change\n"
    assert tiers(dbd, "--apply").stdout == "nothing to change\n"


def test_what_was_done_is_written_down(dbd: Sandbox, applied: object) -> None:
    log = dbd.shared_dir / "root/var/lib/slurmkit/site/log.jsonl"
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["action"] for entry in entries] == ["tiers"]
    assert entries[0]["user"] == "root"
    changes = entries[0]["details"]["changes"]
    assert "add member bin@speech" in changes
    assert any(line.startswith("add qos production: Description ") for line in changes)
    said = run(dbd, SLURMKIT, "site", "log", "--root", str(dbd.shared_dir / "root")).stdout
    assert "  add member bin@speech\n" in said


def test_what_others_change_is_seen_and_mended(dbd: Sandbox, applied: object) -> None:
    run(dbd, "sacctmgr", "-i", "modify", "qos", "training", "set", "Priority=7", "GrpTRES=cpu=3")
    plan = json.loads(tiers(dbd, "--json", code=1).stdout)
    settings = {item["name"]: item for item in plan["changes"][0]["settings"]}
    assert (settings["Priority"]["old"], settings["Priority"]["new"]) == ("7", "200")
    assert settings["GrpTRES"]["old"] == "cpu=3"
    tiers(dbd, "--apply")
    assert shown(dbd, "qos", "name=training", "format=priority,grptres") == ["200|"]
    tiers(dbd)


def test_an_account_without_tiers_has_those_of_its_parent_again(
    dbd: Sandbox, applied: object
) -> None:
    text = (dbd.shared_dir / "site.yaml").read_text()
    (dbd.shared_dir / "site.yaml").write_text(text.replace("lab, tiers: [experiment]", "lab"))
    try:
        tiers(dbd, "--apply")
        form = "format=account,user,qos,defaultqos"
        links = shown(dbd, "association", "where", "account=speech", form)
        assert "speech||experiment,production,training|experiment" in links
        assert tiers(dbd).stdout == "nothing to change\n"
    finally:
        (dbd.shared_dir / "site.yaml").write_text(text)
        tiers(dbd, "--apply")


def test_nothing_of_others_is_removed(dbd: Sandbox, applied: object) -> None:
    """Users that a coordinator added, accounts and QOS of others; and our own only when told."""
    added = run(dbd, "sacctmgr", "-i", "add", "user", "sync", "account=vision", user="daemon")
    assert added.returncode == 0, added.stdout + added.stderr
    for account in ("vision", "research"):  # the first one is the default
        words = ("add", "user", "mail", f"account={account}")
        assert run(dbd, "sacctmgr", "-i", *words).returncode == 0
    text = (dbd.shared_dir / "site.yaml").read_text()
    less = re.sub(r"  experiment:\n(    .*\n)+", "", text).replace(", experiment]", "]")
    less = re.sub(r"  speech:.*\n", "", less)
    (dbd.shared_dir / "site.yaml").write_text(less)
    try:
        plan = json.loads(tiers(dbd, "--json", code=1).stdout)
        assert {item["action"] for item in plan["changes"]} == {"modify"}
        assert "kept: sync is in account vision, which site.yaml does not say" in plan["notes"]
        assert "kept: QOS experiment is no tier of site.yaml any more" in plan["notes"]
        tiers(dbd, "--apply", "--prune")
        left = shown(dbd, "qos", "format=name")
        assert "experiment" not in left
        assert {"high", "short", "normal", "training"} <= set(left)
        assert shown(dbd, "account", "name=speech", "format=account") == []
        assert shown(dbd, "account", "name=research", "format=account") == ["research"]
        assert not [row for row in shown(dbd, "association", "format=user") if row == "sync"]
        assert "mail|research" in shown(dbd, "user", "format=user,defaultaccount")
        assert tiers(dbd, "--prune").stdout == "nothing to change\n"
    finally:
        (dbd.shared_dir / "site.yaml").write_text(text)
        tiers(dbd, "--apply")


def test_who_may_do_what(dbd: Sandbox, applied: object) -> None:
    add = ("sacctmgr", "-i", "add", "user", "man")
    foreign = run(dbd, *add, "account=speech", user="daemon")
    assert foreign.returncode != 0, "a coordinator adds users to an account of others"
    nobody = run(dbd, *add, "account=vision", user="lp")
    assert nobody.returncode != 0, "any user adds users"
    own = run(dbd, *add, "account=vision", user="daemon")
    assert own.returncode == 0, own.stdout + own.stderr
    out = ("sacctmgr", "-i", "delete", "user", "man", "account=vision")
    assert run(dbd, *out, user="daemon").returncode == 0


def test_who_may_not_apply(dbd: Sandbox, applied: object) -> None:
    """slurmkit asks slurmdbd as the user who runs it."""
    if run(dbd, SLURMKIT, "--version", user="lp").returncode:
        pytest.skip("this Python lies where only root may go")
    text = (dbd.shared_dir / "site.yaml").read_text()
    (dbd.shared_dir / "site.yaml").write_text(text.replace("fair_share: 10", "fair_share: 11"))
    try:
        words = ("site", "tiers", ".", "--apply", "--root")
        unseen = run(dbd, SLURMKIT, *words, str(dbd.shared_dir / "root"), user="lp")
        assert unseen.returncode == 1, "something is changed that cannot be written down"
        place = dbd.shared_dir / "of-lp"
        place.mkdir()
        place.chmod(0o777)
        refused = run(dbd, SLURMKIT, *words, str(place), user="lp")
        assert refused.returncode == 4, refused.stdout + refused.stderr
        assert "refuses sacctmgr" in refused.stderr
        assert "0 of 1 changes were made" in refused.stderr, refused.stderr
        log = (place / "var/lib/slurmkit/site/log.jsonl").read_text()
        assert [json.loads(line)["action"] for line in log.splitlines()] == [
            "tiers",
            "tiers-failed",
        ]
    finally:
        (dbd.shared_dir / "site.yaml").write_text(text)


def test_a_higher_tier_pushes_a_lower_one_aside(dbd: Sandbox, applied: object) -> None:
    """It saves, is requeued, and goes on to its end when the nodes are free again."""
    pytest.importorskip("torch")
    folder = dbd.shared_dir / "pushed"
    folder.mkdir()
    command = [sys.executable, str(TRAINER), "--folder", str(folder), "--epochs", "10"]
    (folder / "low.yaml").write_text(
        "name: low\n"
        "resources: {nodes: 2, tasks_per_node: 1, exclusive: true, time: 20m}\n"
        'env: {OMP_NUM_THREADS: "1"}\n'
        "checkpoint: {dir: ckpt, every: 1000 steps}\n"
        "resilience: {on_node_failure: requeue}\n"
        f"launch: {{kind: torch, command: {json.dumps([*command, '--pace', '0.05'])}}}\n"
    )
    done = run(dbd, SLURMKIT, "submit", str(folder / "low.yaml"), "--json")
    assert done.returncode == 0, done.stderr
    low = json.loads(done.stdout)[0]
    job, manifests = low["job_id"], Path(low["run_dir"]) / "ckpt"
    _until(lambda: len(_steps(folder)) > 3, 60, "the lower job trains", dbd, job)

    # Nobody names a tier: it is the account's default.
    assert _field(dbd, job, "QOS") == "training"
    words = ("--account=vision", "--qos=production", "-N2", "--ntasks-per-node=8")
    high = run(dbd, "sbatch", "--parsable", *words, "--output=/dev/null", "--wrap=sleep 2")
    assert high.returncode == 0, high.stderr
    _until(lambda: list(manifests.glob("step-*/manifest.json")), 60, "a save", dbd, job)
    _until(lambda: _field(dbd, job, "JobState") == "PENDING", 60, "a requeue", dbd, job)
    saved = json.loads(next(manifests.glob("step-*/manifest.json")).read_text())["step"]
    urgent = high.stdout.strip()
    _until(lambda: _field(dbd, urgent, "JobState") == "COMPLETED", 60, "the urgent job's end")

    def hurry() -> bool:
        run(dbd, "scontrol", "update", f"JobId={job}", "StartTime=now")  # else after 121 s
        return (folder / "result.json").exists()

    _until(hurry, 120, "the lower job's end", dbd, job)
    steps = [step for step, _ in _steps(folder)]
    assert steps == [*range(1, saved + 1), *range(saved + 1, steps[-1] + 1)]
    assert len({token for _, token in _steps(folder)}) == 2


def _steps(folder: Path) -> list[tuple[int, str]]:
    """The steps that rank 0 wrote down, and by which incarnation."""
    path = folder / "steps-0.log"
    rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [(int(row[1]), row[3]) for row in rows]


def _field(dbd: Sandbox, job: str, name: str) -> str:
    found = re.search(rf"\b{name}=(\S*)", run(dbd, "scontrol", "show", "job", job).stdout)
    return found[1] if found else ""


def _until(condition, seconds: float, what: str, dbd: Sandbox | None = None, job: str = "") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            state = run(dbd, "scontrol", "show", "job", job).stdout if dbd and job else ""
            pytest.fail(f"not within {seconds:g} s: {what}\n{state}")
        time.sleep(0.2)
