"""However output is cut into chunks, every rank's bytes come out as the rank wrote them."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from slurmkit.launch.labels import LAUNCHER, Labels, Source
from slurmkit.supervise.splitter import MAX_LINE_BYTES, SRUN_PIECE_BYTES, Batch, Splitter


def _srun(rank: int, data: bytes, width: int) -> list[bytes]:
    """Return the labelled lines that srun makes of what a rank wrote: cut at 1024 bytes."""
    label = f"{rank:>{width}}: ".encode()
    lines = []
    while data:
        line, newline, data = data.partition(b"\n")
        line += newline
        pieces = [line[i : i + SRUN_PIECE_BYTES] for i in range(0, len(line), SRUN_PIECE_BYTES)]
        lines += [label + piece.removesuffix(b"\n") + b"\n" for piece in pieces]
    return lines


def _feed(splitter: Splitter, data: bytes, cuts: list[int]) -> dict[Source, bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    batches = [splitter.feed(data[a:b]) for a, b in itertools.pairwise(places)]
    return _joined([*batches, splitter.flush()])


def _joined(batches: list[Batch]) -> dict[Source, bytes]:
    parts: dict[Source, bytes] = {}
    for batch in batches:
        for source, data in batch.parts.items():
            parts[source] = parts.get(source, b"") + data
    return parts


_LINES = st.lists(
    st.one_of(
        st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"")),
        st.integers(1000, 1050).map(lambda size: b"y" * size),
        st.sampled_from([2047, 2048, 2049, 20000, 40000]).map(lambda size: b"z" * size),
        st.sampled_from([b"", b"7: looks like a label", b"\r 50%", b"[3]: nor this"]),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(st.lists(_LINES, min_size=1, max_size=12), st.lists(st.integers(0, 10**6)), st.randoms())
def test_srun_lines_come_back_exactly(
    ranks: list[list[bytes]], cuts: list[int], random: object
) -> None:
    written = {rank: b"".join(x + b"\n" for x in lines) for rank, lines in enumerate(ranks)}
    width = len(str(len(ranks) - 1))
    streams = [_srun(rank, data, width) for rank, data in written.items()]
    mixed = []
    while any(streams):  # ranks interleave line by line, each in its own order
        mixed.append(random.choice([s for s in streams if s]).pop(0))
    parts = _feed(Splitter("srun", []), b"".join(mixed), cuts)
    assert parts == {Source("rank", rank): data for rank, data in written.items() if data}


@settings(deadline=None)
@given(st.lists(_LINES, min_size=1, max_size=4), st.lists(st.integers(0, 10**6)))
def test_torchrun_lines_come_back_exactly(workers: list[list[bytes]], cuts: list[int]) -> None:
    """Two workers per node, labelled by torchrun and then, with the node's number, by srun."""
    mixed = []
    for rank, lines in enumerate(workers):
        labelled = b"".join(b"[%d]: %s\n" % (rank, line) for line in lines)
        mixed += _srun(rank // 2, labelled, 1)
    parts = _feed(Splitter("torchrun", ["n1", "n2"]), b"".join(mixed), cuts)
    written = {rank: b"".join(x + b"\n" for x in lines) for rank, lines in enumerate(workers)}
    assert parts == {Source("rank", rank): data for rank, data in written.items() if data}


def _merged(labels: Labels, data: bytes) -> bytes:
    splitter = Splitter(labels, ["n1", "n2"])
    return splitter.feed(data).merged + splitter.flush().merged


def test_the_merged_stream_says_whose_line_it_is() -> None:
    assert _merged("srun", b" 3: a\n12: b\nsrun: error: c\n") == (
        b"[rank 3] a\n[rank 12] b\nsrun: error: c\n"
    )
    assert _merged("torchrun", b"1: [3]: a\n0: starting\n9: x\nsrun: y\n") == (
        b"[rank 3] a\n[node n1] starting\n[node 9] x\nsrun: y\n"
    )
    assert _merged("openmpi", b"[1,3]<stdout>: a\nmpirun: b\n") == b"[rank 3] a\nmpirun: b\n"


def test_a_cut_line_is_whole_in_the_merged_stream() -> None:
    pieces = b"0: " + b"x" * 1024 + b"\n1: other\n0: end\n"
    assert _merged("srun", pieces) == b"[rank 1] other\n[rank 0] " + b"x" * 1024 + b"end\n"


def test_without_labels_everything_passes_at_once() -> None:
    splitter = Splitter("none", [])
    batch = splitter.feed(b"half a line")
    assert batch.merged == b"half a line"
    assert not splitter.has_pending


def test_labels_of_two_widths_in_one_stream() -> None:
    parts = _feed(Splitter("srun", []), b" 3: a\n3: b\n12: c\n 3: d\n", [])
    assert parts == {Source("rank", 3): b"a\nb\nd\n", Source("rank", 12): b"c\n"}


def test_launcher_lines_are_given_out_whole() -> None:
    splitter = Splitter("srun", [])
    assert splitter.feed(b"srun: error: n1: task 0: Ex").launcher_lines == []
    batch = splitter.feed(b"ited with exit code 1\n0: x\n")
    assert batch.launcher_lines == [b"srun: error: n1: task 0: Exited with exit code 1"]
    assert batch.parts[LAUNCHER] == batch.launcher_lines[0] + b"\n"


def test_a_line_that_never_ends_takes_little_memory() -> None:
    splitter = Splitter("srun", [])
    pieces = [splitter.feed(b"0: " + b"x" * 1024 + b"\n") for _ in range(1000)]
    passed = sum(len(batch.parts.get(Source("rank", 0), b"")) for batch in pieces)
    assert passed > 1000 * 1024 - 2 * MAX_LINE_BYTES
    assert _joined([*pieces, splitter.flush()])[Source("rank", 0)] == b"x" * 1024 * 1000


def test_an_unended_line_is_passed_on_when_nothing_follows() -> None:
    splitter = Splitter("openmpi", [])
    assert splitter.feed(b"[1,0]<stdout>: prompt> ").parts == {}
    assert splitter.has_pending
    assert splitter.flush().merged == b"[rank 0] prompt> "
    after = splitter.feed(b"answer\n[1,1]<stdout>: x\n")
    assert after.merged == b"answer\n[rank 1] x\n"
    assert after.parts[Source("rank", 0)] == b"answer\n"
