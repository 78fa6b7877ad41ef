"""slurmkit elastic and the programs that Slurm calls, with a driver and without Slurm."""

import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from slurmkit.api.schemas import schema_of
from slurmkit.cli.app import app
from slurmkit.elastic.depth import depth
from slurmkit.errors import SlurmkitError
from slurmkit.slurm.inventory import DeclaredNode
from slurmkit.slurm.power import WaitingJob

PLUGINS = Path(__file__).parents[3] / "plugins" / "elastic"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site whose machines are files: a machine runs when its file is there."""
    machines = tmp_path / "machines"
    machines.mkdir()
    driver = tmp_path / "driver"
    driver.write_text(
        "#!/bin/sh\n"
        'action=$1; shift\nfor host in "$@"; do case $action in\n'
        '  start) : >"$DIR/$host"; echo "$host ok" ;;\n'
        '  stop) rm -f "$DIR/$host"; echo "$host ok" ;;\n'
        '  list) state=stopped; [ ! -e "$DIR/$host" ] || state=running; echo "$host $state" ;;\n'
        "esac; done\n"
    )
    driver.chmod(0o755)
    path = tmp_path / "site.yaml"
    path.write_text(
        f"elastic: {{driver: {driver}, nodes: 'n[1-3]', log: {tmp_path}/elastic.log,"
        f" env: {{DIR: {machines}}}}}\n"
    )
    return path


def run(site: Path, *words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["elastic", *words, "--site", str(site)])
    if isinstance(done.exception, SlurmkitError):  # what the program's outermost edge makes of it
        return done.exception.exit_code, done.stdout, str(done.exception)
    return done.exit_code, done.stdout, done.stderr


def test_start_list_and_stop(site: Path) -> None:
    assert run(site, "resume", "n[1-2]") == (0, "started n[1-2]\n", "")
    code, printed, _ = run(site, "list", "--json")
    assert json.loads(printed) == {"n1": "running", "n2": "running", "n3": "stopped"}
    assert code == 0
    assert run(site, "resume", "n[1-3]") == (0, "started n3\nn[1-2]: nothing to do\n", "")
    assert run(site, "suspend", "n[1-3]") == (0, "stopped n[1-3]\n", "")
    log = site.with_name("elastic.log").read_text()
    actions = [json.loads(line)["action"] for line in log.splitlines()]
    assert actions == ["start", "start", "stop"]


def test_hosts_that_are_not_elastic_are_refused(site: Path) -> None:
    code, _, said = run(site, "suspend", "n1,login")
    assert code == 2
    assert "login may not be started or stopped" in said


def test_a_site_without_elastic_nodes_says_so(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("name: x\n")
    code, _, said = run(path, "list")
    assert code == 2
    assert "has no section 'elastic'" in said


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("resume.sh", "resume n1"),
        ("suspend.sh", "suspend n1"),
        ("resume-failed.sh", "resume-failed n1"),
    ],
)
def test_slurms_programs_call_slurmkit(tmp_path: Path, program: str, words: str) -> None:
    slurmkit = tmp_path / "slurmkit"
    slurmkit.write_text('#!/bin/sh\necho "$@ $SLURMKIT_SITE"\nexit 3\n')
    slurmkit.chmod(0o755)
    for name in ("call.sh", program):
        (tmp_path / name).write_bytes((PLUGINS / name).read_bytes())
        (tmp_path / name).chmod(0o755)
    log = tmp_path / "log"
    settings = f"SLURMKIT={slurmkit}\nSLURMKIT_SITE=/etc/here\nELASTIC_LOG={log}\n"
    (tmp_path / "settings").write_text(settings)
    env = {"PATH": os.environ["PATH"]}
    done = subprocess.run([tmp_path / program, "n1"], env=env, timeout=20, check=False)
    assert done.returncode == 3
    assert log.read_text() == f"elastic {words} /etc/here\n"
    nothing = subprocess.run(
        [tmp_path / program], env=env, timeout=20, check=False, capture_output=True
    )
    assert nothing.returncode == 2


def test_the_report_is_as_its_schema_says() -> None:
    job = WaitingJob("1", ("gpu",), "Resources", 4, 4, 8)
    node = DeclaredNode("n1", gpus=8, cpus=8, state="MIXED", partitions=("gpu",))
    report = json.loads(json.dumps(asdict(depth([job], [node], 0.0))))
    jsonschema.validate(report, schema_of("elastic-report"))
    assert report["add"] == 4
