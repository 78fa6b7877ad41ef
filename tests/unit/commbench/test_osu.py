"""What OSU's programs print; the formats are those of versions 5 and 7."""

import pytest

from slurmkit.bench.order import Order
from slurmkit.bench.osu import osu_arguments, osu_library, osu_program, osu_rows
from slurmkit.errors import SlurmkitError, UsageError

_FULL = """
# OSU MPI Allreduce Latency Test v7.4
# Datatype: MPI_CHAR.
# Size       Avg Latency(us)   Min Latency(us)   Max Latency(us)  Iterations  Validation
4                       2.00              1.00              3.00        1000        Pass
1048576               500.00            400.00            600.00         100        Pass
"""
_SHORT = """
# OSU MPI Latency Test v5.9
# Size          Latency (us)
4                       1.50
8                       1.60
"""


def test_full_output() -> None:
    rows = osu_rows(_FULL, "allreduce", 4)
    assert [row.size_bytes for row in rows] == [4, 1048576]
    last = rows[-1]
    assert (last.times.mean_s, last.times.min_s, last.times.max_s) == pytest.approx(
        (500e-6, 400e-6, 600e-6)
    )
    assert last.repetitions == 100
    assert last.algorithm_bytes_per_s == pytest.approx(1048576 / 500e-6)
    assert last.bus_bytes_per_s == pytest.approx(1.5 * 1048576 / 500e-6)
    assert osu_library(_FULL) == "OSU micro-benchmarks v7.4"


def test_short_output() -> None:
    rows = osu_rows(_SHORT, "p2p", 2)
    assert [row.times.mean_s for row in rows] == pytest.approx([1.5e-6, 1.6e-6])
    assert rows[0].times.p99_s is None


def test_sizes_of_an_allgather_are_per_rank() -> None:
    text = "# Size       Avg Latency(us)\n1024    10.0\n"
    row = osu_rows(text, "allgather", 8)[0]
    assert row.size_bytes == 8192
    assert row.bus_bytes_per_s == pytest.approx(8192 / 10e-6 * 7 / 8)
    order = Order("allgather", (8192, 65536), repetitions=10)
    words = osu_arguments(order, 8, validates=True)
    assert words == ["-m", "1024:8192", "-x", "5", "-i", "10", "-f", "-c"]


def test_a_wrong_result_is_no_result() -> None:
    with pytest.raises(SlurmkitError, match="wrong result: osu_allreduce of 1048576 bytes"):
        osu_rows(_FULL.replace("100        Pass", "100        Fail"), "allreduce", 4)


@pytest.mark.parametrize("text", [_SHORT.replace("Latency (us)", "Time (ns)"), _SHORT + "9  -"])
def test_columns_that_nobody_knows_are_named(text: str) -> None:
    with pytest.raises(SlurmkitError, match=r"osu_latency printed '[49] .*' under Size, "):
        osu_rows(text, "p2p", 2)


def test_silence_is_no_result() -> None:
    with pytest.raises(SlurmkitError, match="printed no sizes"):
        osu_rows("srun: error: nothing here\n", "allreduce", 4)


def test_there_is_no_matrix() -> None:
    with pytest.raises(UsageError, match="no matrix"):
        osu_program("matrix")
