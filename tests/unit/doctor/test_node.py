"""How a host's answers travel, and what the command does with them."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from slurmkit.api.doctor import What, Where, doctor
from slurmkit.api.schemas import schema_of
from slurmkit.cli.app import app
from slurmkit.doctor.checks import kernel, mtu
from slurmkit.doctor.link import Answer, fail, passed
from slurmkit.doctor.node import (
    HostReport,
    Request,
    examine,
    from_json,
    from_lines,
    last_of,
    to_lines,
)
from slurmkit.errors import UsageError
from slurmkit.site.fabric_presets import Expectation

texts = st.text(max_size=30)
answers = st.builds(
    Answer,
    st.sampled_from(["pass", "warn", "fail", "skipped"]),
    texts,
    st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    texts,
)


@settings(deadline=None)
@given(st.dictionaries(st.text("abc-", min_size=1), answers, max_size=4))
def test_a_report_survives_the_way(found: dict[str, Answer]) -> None:
    report = HostReport("node1", 12.5, ("node1", "node2"), found)
    assert from_lines(to_lines(report)) == [report]


def test_lines_of_hosts_may_be_mixed_and_among_others() -> None:
    noise = random.Random(1)
    text = "".join(chr(noise.randrange(32, 127)) for _ in range(5000))
    long = {"mpi": passed(text, {"MPI": text[::-1]})}
    sent = [HostReport(f"node{at}", float(at), ("node1",), long) for at in range(1, 5)]
    lines = [line for report in sent for line in to_lines(report)]
    assert all(len(line) < 1000 for line in lines)
    lines += ["a motd", "slurmkit-doctor but not ours", ""]
    random.Random(7).shuffle(lines)
    assert sorted(from_lines(lines), key=lambda report: report.host) == sent


def test_a_report_that_is_not_whole_does_not_count() -> None:
    noise = random.Random(2)
    text = "".join(chr(noise.randrange(32, 127)) for _ in range(3000))
    lines = to_lines(HostReport("node1", 1.0, ("node1",), {"mpi": passed(text)}))
    assert len(lines) > 3
    assert from_lines(lines[:-1]) == []
    assert from_lines(lines[1:]) == []
    assert [last_of(line) for line in lines][-1] == "node1"
    assert not any(last_of(line) for line in lines[:-1])


def test_a_request_survives_the_way() -> None:
    fabric = Expectation("roce-400", True, 400.0, 9000, "10.1.0.0/16", 26, 3)
    request = Request("t", ("mtu",), ("a", "b"), ("10.0.0.1", "b"), "a", fabric, "/s", ("ssh",))
    assert from_json(request.to_json()) == request


def test_a_host_knows_the_others_from_slurm_or_from_the_request() -> None:
    request = Request("t", ("kernel",))
    env = {"SLURMD_NODENAME": "node2", "SLURM_STEP_NODELIST": "node[1-3]"}
    report = examine(request, env)
    assert (report.host, report.hosts) == ("node2", ("node1", "node2", "node3"))
    named = request.replace(hosts=("alpha", "beta"), addresses=("203.0.113.7", "127.0.0.1"))
    assert examine(named, {}).host == "beta"


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["doctor", "--here", "--shared", "", *arguments])
    return done.exit_code, done.output


def test_the_command_prints_a_table_and_what_is_published() -> None:
    code, text = run("--only", "kernel", "--only", "os")
    assert code == 0
    assert text.splitlines()[0].split() == ["LINK", "VERDICT", "WHAT"]
    assert "1 host, 2 links: 2 pass" in text
    code, text = run("--only", "limits", "--json")
    Draft202012Validator(schema_of("doctor")).validate(json.loads(text))


def test_a_failure_says_what_to_do_and_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = kernel.LINK.replace(look=lambda _place: fail("broken"), todo="mend it with care")
    monkeypatch.setattr(kernel, "LINK", broken)
    code, text = run("--only", "kernel")
    assert code == 1
    assert "kernel: mend it with care" in text


def test_nodes_of_another_partition_are_not_held_against_the_fabric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their HCA has the MTU of its own network."""
    path = tmp_path / "site.yaml"
    path.write_text("fabric: {preset: roce-400, partitions: [gpu]}\n")
    seen = mtu.LINK.replace(look=lambda place: passed(place.fabric.preset or "no fabric"))
    monkeypatch.setattr(mtu, "LINK", seen)
    monkeypatch.delenv("SLURM_JOB_PARTITION", raising=False)
    for partition, words in (("", "roce-400"), ("gpu", "roce-400"), ("cpu", "no fabric")):
        monkeypatch.setenv("SLURM_JOB_PARTITION", partition)
        report = doctor(Where(here=True), What(only=("mtu",), shared_dir="", site=str(path)))
        assert report.links[0].hosts[0].detail == words


def test_a_job_examines_its_own_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with pytest.raises(UsageError, match="inside job 7"):
        doctor(Where(nodes=2), What(only=("kernel",), shared_dir=""))
    with pytest.raises(UsageError, match="exclude each other"):
        doctor(Where(nodes=2, here=True))
    with pytest.raises(UsageError, match="--partition and --account") as refused:
        doctor(Where(partition="gpu"), What(only=("kernel",)))
    assert "--nodes 2" in refused.value.hint
    with pytest.raises(UsageError, match="no link 'nothing'"):
        doctor(Where(here=True), What(only=("nothing",)))
