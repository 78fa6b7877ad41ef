"""Log files: exact bytes, few open at a time, and no end of the run when the disk is full."""

from pathlib import Path

from slurmkit.rundir.logs import AttemptLogs, tail


def _num_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_thousand_ranks_need_few_open_files(tmp_path: Path) -> None:
    before = _num_open()
    logs = AttemptLogs(tmp_path, max_open=16)
    for turn in range(3):
        for rank in range(1000):
            logs.write_rank(rank, b"%d-%d\n" % (rank, turn))
        assert _num_open() <= before + 17
    logs.close()
    assert _num_open() == before
    assert (tmp_path / "rank-00999.log").read_bytes() == b"999-0\n999-1\n999-2\n"
    assert len(list(tmp_path.iterdir())) == 1000


def test_an_attempt_that_goes_on_appends(tmp_path: Path) -> None:
    for text in (b"one\n", b"\xfftwo"):
        logs = AttemptLogs(tmp_path)
        logs.write_merged(text)
        logs.close()
    assert (tmp_path / "merged.log").read_bytes() == b"one\n\xfftwo"


def test_a_full_disk_loses_lines_but_does_not_raise(tmp_path: Path) -> None:
    (tmp_path / "rank-00000.log").symlink_to("/dev/full")
    logs = AttemptLogs(tmp_path)
    logs.write_rank(0, b"lost")
    logs.write_rank(1, b"kept")
    logs.close()
    assert logs.lost_bytes == 4
    assert logs.problem is not None
    assert "No space" in str(logs.problem)
    assert (tmp_path / "rank-00001.log").read_bytes() == b"kept"


def test_node_names_are_made_safe(tmp_path: Path) -> None:
    logs = AttemptLogs(tmp_path)
    logs.write_node("node-1", b"a")
    logs.write_node("../x", b"b")
    logs.close()
    assert all(path.name.startswith("node-") for path in tmp_path.iterdir())
    assert (tmp_path / "node-node-1.log").exists()


def test_tail_starts_at_a_line(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"".join(b"line %d\n" % n for n in range(1000)))
    assert tail(path, 25) == b"line 998\nline 999\n"
    assert tail(path, 1 << 20).startswith(b"line 0\n")
    assert tail(tmp_path / "none") == b""
