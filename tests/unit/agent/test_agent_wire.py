"""Lines, proofs and the control file."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.supervise.agent_wire import (
    MAX_LINE_BYTES,
    Control,
    Lines,
    ProtocolError,
    decode,
    encode,
    new_secret,
    proof,
    proves,
    read_control,
    write_control,
)


@given(
    st.lists(st.dictionaries(st.text(), st.integers() | st.text()), max_size=8),
    st.lists(st.integers(1, 40), min_size=1),
)
def test_messages_survive_any_cutting(messages: list[dict[str, object]], cuts: list[int]) -> None:
    data = b"\n".join(encode(message) for message in messages) + b"\n"
    lines, found, position, turn = Lines(), [], 0, 0
    while position < len(data):
        step = cuts[turn % len(cuts)]
        found += lines.feed(data[position : position + step])
        position += step
        turn += 1
    assert [decode(line) for line in found] == messages


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(ProtocolError):
        Lines().feed(b"x" * (MAX_LINE_BYTES + 1))


@pytest.mark.parametrize("line", [b"[1]", b"{", b"\xff", b"3"])
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(line)


def test_a_proof_needs_the_secret_and_every_word() -> None:
    secret = new_secret()
    given_ = proof(secret, "agent", "n", "h")
    assert proves(given_, secret, "agent", "n", "h")
    assert not proves(given_, new_secret(), "agent", "n", "h")
    assert not proves(given_, secret, "agent", "n", "other")
    assert not proves(given_, secret, "agent", "nh", "")
    assert not proves(None, secret, "agent", "n", "h")
    assert not proves("\udc00", secret, "agent", "n", "h")


def test_the_control_file_is_private_and_complete(tmp_path: Path) -> None:
    path = tmp_path / "control" / "agents-1.json"
    control = Control("1.0.a", ("n1",), 17, new_secret(), num_gpus=8, successor=True)
    write_control(path, control)
    assert read_control(path) == control
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert control.secret not in repr(control)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"hosts": 3}'])
def test_something_else_is_no_control_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c"
    path.write_text(text)
    with pytest.raises(ProtocolError):
        read_control(path)
