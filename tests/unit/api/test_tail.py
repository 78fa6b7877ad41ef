"""Files that grow while they are read."""

from pathlib import Path

import pytest

from slurmkit.api.tail import Tail


def test_only_whole_lines_come_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.read() == b""  # the file is not there yet
    path.write_bytes(b"one\ntw")
    assert tail.read() == b"one\n"
    with path.open("ab") as file:
        file.write(b"o\nthree")
    assert tail.read() == b"two\n"
    assert tail.read() == b""
    assert tail.read(final=True) == b"three"


def test_every_line_has_the_prefix_and_no_byte_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\xff\xfe one\n\ntwo\r\n")
    assert Tail(path, b"[task 3] ").read() == b"[task 3] \xff\xfe one\n[task 3] \n[task 3] two\r\n"


@pytest.mark.parametrize("text", [b"a\nb\nc\nd\n", b"a\nb\nc\nd", b"", b"\n\n"])
@pytest.mark.parametrize("num_lines", range(6))
def test_the_last_lines_are_those_that_tail_shows(
    tmp_path: Path, text: bytes, num_lines: int
) -> None:
    path = tmp_path / "log"
    path.write_bytes(text)
    tail = Tail(path)
    tail.skip_to_last(num_lines)
    lines = text.splitlines(keepends=True)
    assert tail.read() + tail.read(final=True) == b"".join(
        lines[len(lines) - num_lines :][:num_lines] if num_lines < len(lines) else lines
    )


def test_a_large_file_comes_whole_in_blocks(tmp_path: Path) -> None:
    path = tmp_path / "log"
    data = b"".join(b"%d %s\n" % (number, b"x" * 50) for number in range(60_000))
    path.write_bytes(data)
    tail = Tail(path)
    found = b""
    while chunk := tail.read():
        found += chunk
    assert found == data
