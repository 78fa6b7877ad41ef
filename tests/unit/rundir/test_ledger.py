"""The ledger survives torn writes and tells damage and stale writers apart."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurmkit.rundir.layout import ElementDir
from slurmkit.rundir.ledger import (
    LedgerError,
    LedgerWriter,
    StaleWriterError,
    new_incarnation,
    read_ledger,
)


def _writer(element: ElementDir, name: str = "1.0.aa") -> LedgerWriter:
    return LedgerWriter(element, name)


def test_records_come_back_in_order(tmp_path: Path) -> None:
    element = ElementDir(tmp_path / "array" / "0")
    writer = _writer(element)
    writer.append("attempt_started", 1, nodes="node[1-2]", command=["a b", "ü\n\u2028"])
    writer.append("attempt_ended", 1, exit_code=0)
    writer.close()
    first, second = read_ledger(element.ledger_path)
    assert (first.seq, second.seq) == (1, 2)
    assert first.event == "attempt_started"
    assert first.fields == {"nodes": "node[1-2]", "command": ["a b", "ü\n\u2028"]}
    assert second.incarnation == "1.0.aa"
    assert second.time >= first.time


def test_no_ledger_is_an_empty_one(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / "none") == []


def test_a_torn_last_line_is_skipped_wherever_it_tore(tmp_path: Path) -> None:
    element = ElementDir(tmp_path)
    writer = _writer(element)
    for number in range(3):
        writer.append("event", 1, number=number)
    writer.close()
    data = element.ledger_path.read_bytes()
    second_end = data.index(b"\n", data.index(b"\n") + 1) + 1
    for cut in range(second_end, len(data)):
        element.ledger_path.write_bytes(data[:cut])
        assert [record.seq for record in read_ledger(element.ledger_path)] == [1, 2]


def test_the_next_writer_goes_on_behind_a_torn_line(tmp_path: Path) -> None:
    element = ElementDir(tmp_path)
    _writer(element).append("event", 1)
    with element.ledger_path.open("ab") as file:
        file.write(b'{"v":1,"seq":2,"ev')
    _writer(element, "1.1.bb").append("event", 2)
    assert [record.seq for record in read_ledger(element.ledger_path)] == [1, 2]


@pytest.mark.parametrize("line", [b"garbage", b"{}", b"[]", b"null", b"\x00\x00", b"\xff\xfe", b""])
def test_damage_in_the_middle_names_the_line(tmp_path: Path, line: bytes) -> None:
    element = ElementDir(tmp_path)
    writer = _writer(element)
    for _ in range(3):
        writer.append("event", 1)
    lines = element.ledger_path.read_bytes().split(b"\n")
    lines[1] = line
    element.ledger_path.write_bytes(b"\n".join(lines))
    with pytest.raises(LedgerError, match=r"ledger\.jsonl:2: "):
        read_ledger(element.ledger_path)


def test_a_newer_version_is_said_to_be_one(tmp_path: Path) -> None:
    element = ElementDir(tmp_path)
    _writer(element).append("event", 1)
    values = json.loads(element.ledger_path.read_text())
    element.ledger_path.write_text(json.dumps({**values, "v": 2}) + "\n")
    with pytest.raises(LedgerError, match="newer slurmkit"):
        read_ledger(element.ledger_path)


def test_a_stale_writer_raises_and_writes_nothing(tmp_path: Path) -> None:
    element = ElementDir(tmp_path)
    old = _writer(element, "7.0.old")
    old.append("attempt_started", 1)
    new = _writer(element, "7.1.new")
    new.append("attempt_started", 2)
    with pytest.raises(StaleWriterError, match=r"7\.1\.new"):
        old.append("attempt_ended", 1)
    new.append("attempt_ended", 2)
    assert [record.incarnation for record in read_ledger(element.ledger_path)] == [
        "7.0.old",
        "7.1.new",
        "7.1.new",
    ]


def test_a_full_disk_is_an_error_and_leaves_the_ledger_whole(tmp_path: Path) -> None:
    # A limit of the file's size makes the kernel take a part of the record, as a full disk does.
    script = """
import os, resource, sys
from pathlib import Path
from slurmkit.rundir.layout import ElementDir
from slurmkit.rundir.ledger import LedgerWriter
element = ElementDir(Path(sys.argv[1]))
writer = LedgerWriter(element, "1.0.aa")
writer.append("event", 1)
size = element.ledger_path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
try:
    writer.append("event", 2)
except OSError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.append("event", 3)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
    )
    assert "no space left" in done.stdout
    records = read_ledger(tmp_path / "ledger.jsonl")
    assert [(record.seq, record.attempt) for record in records] == [(1, 1), (2, 3)]


def test_incarnations_differ() -> None:
    assert len({new_incarnation("12", 0) for _ in range(100)}) == 100
    assert new_incarnation("12", 3).startswith("12.3.")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.dictionaries(st.sampled_from(["reason", "host", "command"]), st.text()))
def test_any_text_stays_on_one_line(tmp_path: Path, fields: dict[str, str]) -> None:
    element = ElementDir(tmp_path / os.urandom(4).hex())
    _writer(element).append("event", 1, **fields)
    (record,) = read_ledger(element.ledger_path)
    assert record.fields == fields
    assert element.ledger_path.read_bytes().count(b"\n") == 1
