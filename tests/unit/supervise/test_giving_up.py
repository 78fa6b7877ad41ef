"""Slurm's own words for a step that cannot go on, as 22.05 writes them."""

from slurmkit.rundir.logs import AttemptLogs
from slurmkit.supervise.giving_up import gave_up
from slurmkit.supervise.record import Recorder

SAID = (
    b"slurmstepd-node2: error:  mpi/pmix_v4: pmixp_p2p_send: node2 [1]: pmixp_utils.c:467:"
    b" send failed, rc=1001, exceeded the retry limit\n"
)


def test_the_node_that_could_not_send_is_named() -> None:
    found = gave_up(b"step 3\n[rank 1] " + SAID + b"step 4\n")
    assert found
    assert found.host == "node2"
    assert "PMIx on node2" in found.why


def test_a_program_may_use_the_same_words() -> None:
    assert gave_up(b"[rank 0] upload: exceeded the retry limit\n") is None
    assert gave_up(b"pmixp_p2p_send: node1 [0]: sent\n") is None


def test_lines_that_come_in_pieces_are_heard_once(tmp_path) -> None:
    recorder = Recorder(AttemptLogs(tmp_path), "srun", ["node1", "node2"], lambda _exit: None)
    data = b"0: begin\n1: " + SAID + b"0: " + SAID.replace(b"node2", b"node1")
    for place in range(0, len(data), 7):
        recorder.output(data[place : place + 7])
    assert recorder.gave_up
    assert recorder.gave_up.host == "node2"
