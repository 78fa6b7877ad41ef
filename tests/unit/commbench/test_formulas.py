"""Sizes, formulas, patterns and statistics: values to values."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.bench import patterns
from slurmkit.bench.formulas import bus_factor, rated_bytes_per_s
from slurmkit.bench.order import Order, read_order
from slurmkit.bench.sizes import (
    format_rate,
    format_size,
    parse_rate,
    parse_rated,
    parse_size,
    parse_sizes,
    whole_elements,
)
from slurmkit.bench.statistics import num_repetitions, over_ranks, quantile, times_of
from slurmkit.bench.transport import WrongResultError, compare
from slurmkit.bench.values import Rated
from slurmkit.errors import UsageError


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("8:128", (8, 32, 128)),
        ("1K:4K:2", (1024, 2048, 4096)),
        ("1K:5K:x2", (1024, 2048, 4096, 5120)),
        ("8,4K,8", (8, 4096)),
        ("1GiB", (1024**3,)),
    ],
)
def test_sweeps(text: str, sizes: tuple[int, ...]) -> None:
    assert parse_sizes(text) == sizes


@pytest.mark.parametrize("text", ["", "0", "8:4", "1K:2K:1", "1:2:3:4", "ten", "8,", "-8"])
def test_what_is_no_sweep_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_sizes(text)


@given(st.integers(1, 2**40))
def test_a_printed_size_reads_as_itself(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "rate"),
    [("400Gb/s", 50e9), ("400Gbit/s", 50e9), ("50GB/s", 50e9), ("0.1Tbps", 12.5e9)],
)
def test_bits_and_bytes_are_told_apart(text: str, rate: float) -> None:
    assert parse_rate(text) == pytest.approx(rate)


def test_links_per_node() -> None:
    assert parse_rated("8x400Gb/s") == (50e9, 8)
    assert parse_rated("400Gb/s") == (50e9, None)
    for text in ("400", "x400Gb/s", "0x400Gb/s", "400GB"):
        with pytest.raises(UsageError):
            parse_rated(text)


@pytest.mark.parametrize(
    ("operation", "ranks", "factor"),
    [
        ("allreduce", 2, 1.0),
        ("allreduce", 8, 1.75),
        ("allgather", 2, 0.5),
        ("allgather", 8, 0.875),
        ("p2p", 2, 1.0),
        ("matrix", 64, 1.0),
    ],
)
def test_bus_factors_are_those_of_nccl_tests(operation: str, ranks: int, factor: float) -> None:
    assert bus_factor(operation, ranks) == factor


def test_a_collective_uses_all_links_and_a_message_one() -> None:
    rated = Rated(50e9, 8, "test")
    assert rated_bytes_per_s("allreduce", rated) == 400e9
    assert rated_bytes_per_s("p2p", rated) == 50e9


@given(st.integers(1, 300), st.integers(1, 400))
def test_sums_are_exact_and_in_place(num_ranks: int, elements: int) -> None:
    given_by = [
        struct.unpack(f"<{elements}f", patterns.give(rank, elements * 4))
        for rank in range(num_ranks)
    ]
    summed = struct.unpack(f"<{elements}f", patterns.summed(num_ranks, elements * 4))
    assert summed == tuple(map(sum, zip(*given_by, strict=True)))
    assert summed[0] < 2**24


def test_gathered_is_one_after_the_other() -> None:
    assert patterns.gathered(3, 24) == b"".join(patterns.give(rank, 8) for rank in range(3))


def test_a_wrong_byte_is_found() -> None:
    right = patterns.summed(4, 4096)
    compare(bytearray(right), right, "here")
    wrong = bytearray(right)
    wrong[1234] ^= 1
    with pytest.raises(WrongResultError, match=r"here: byte 1234 "):
        compare(wrong, right, "here")
    with pytest.raises(WrongResultError, match="byte 4092 "):
        compare(right[:-4], right, "here")


@given(st.integers(1, 10**9), st.integers(1, 1000))
def test_every_rank_has_whole_numbers(size: int, parts: int) -> None:
    rounded = whole_elements(size, parts)
    assert rounded % (4 * parts) == 0
    assert 0 <= rounded - size < 4 * parts


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_quantiles_were_seen(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_statistics() -> None:
    assert over_ranks([[1.0, 2.0], [3.0, 4.0]]) == [2.0, 3.0]
    times = times_of([float(i) for i in range(1, 101)])
    assert (times.min_s, times.median_s, times.p95_s, times.p99_s, times.max_s) == (
        1.0,
        50.5,
        95.0,
        99.0,
        100.0,
    )
    assert num_repetitions(1e-6, 0.5, None) == 1000
    assert num_repetitions(10.0, 0.5, None) == 5
    assert num_repetitions(0.01, 0.5, None) == 50
    assert num_repetitions(0.01, 0.5, 7) == 7


def test_ranks_read_what_they_are_told() -> None:
    order = Order("allgather", (8, 1024), 3, 17, 0.25, "8x400Gb/s", "site.yaml", "nccl")
    assert read_order(order.arguments()) == order
    plain = Order("p2p", (8,))
    assert read_order(plain.arguments()) == plain


def test_rates_for_people() -> None:
    assert [format_rate(rate) for rate in (5e3, 5e6, 5e9)] == [
        "5.00 kB/s",
        "5.00 MB/s",
        "5.00 GB/s",
    ]
