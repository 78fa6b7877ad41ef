"""The measurement itself over a world of one process, and what happens when bytes are wrong."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from slurmkit.bench import patterns, report
from slurmkit.bench.formulas import ALLREDUCE
from slurmkit.bench.measure import measure
from slurmkit.bench.order import Order
from slurmkit.bench.picture import draw
from slurmkit.bench.ranks import run_rank, world_size_told, write_result
from slurmkit.bench.rated import rated_ethernet, rated_of, rated_rdma
from slurmkit.bench.transport import WrongResultError
from slurmkit.bench.values import BenchResult, Pair, Rated, Row, Times, result_from_json
from slurmkit.errors import UsageError
from slurmkit.topology.profile import load_profile


class Alone:
    """A transport of one rank that claims a world, and may damage a byte."""

    rank, world_size, via, library, device = 0, 1, "alone", "nothing at all", "cpu"

    def __init__(self, damage: Callable[[bytearray], None] = lambda _: None) -> None:
        self.damage = damage
        self.aborted = False

    def barrier(self) -> None:
        pass

    def share(self, value: Any) -> list[Any]:
        return [value]

    def collective(self, operation: str, size_bytes: int) -> "Alone":
        make = patterns.summed if operation == ALLREDUCE else patterns.gathered
        self.right = make(1, size_bytes)
        return self

    def message(self, peer: int, size_bytes: int) -> Any:
        raise AssertionError("one rank has no peer")

    def reset(self) -> None:
        self.got = bytearray(len(self.right))

    def run(self) -> None:
        self.got[:] = self.right
        self.damage(self.got)

    def result(self) -> bytearray:
        return self.got

    def close(self) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize("operation", ["allreduce", "allgather"])
def test_rows(operation: str) -> None:
    rows: list[Row] = []
    order = Order(operation, (8, 100), repetitions=7)
    result = measure(Alone(), order, "node1", rows.append)
    assert result.rows == rows
    assert [(row.size_bytes, row.repetitions) for row in rows] == [(8, 7), (100, 7)]
    assert result.hosts == ["node1"]
    assert result.rated is None, "one node has no link to compare with"


@pytest.mark.parametrize("operation", ["p2p", "matrix"])
def test_a_message_needs_somebody_else(operation: str) -> None:
    with pytest.raises(UsageError, match="needs two ranks or more"):
        measure(Alone(), Order(operation, (8,)), "node1", lambda _: None)


def test_a_wrong_byte_ends_it_with_host_rank_and_size() -> None:
    def flip(got: bytearray) -> None:
        got[5] ^= 128

    with pytest.raises(WrongResultError, match=r"allreduce of 64 bytes on node7, rank 0: byte 5 "):
        measure(Alone(flip), Order("allreduce", (64,)), "node7", lambda _: None)


def test_a_rank_with_a_wrong_result_leaves_none_and_keeps_nobody_waiting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def flip(got: bytearray) -> None:
        got[0] ^= 1

    alone = Alone(flip)
    words = Order("allreduce", (64,)).arguments()
    env = {"SLURMD_NODENAME": "node7", "SLURMKIT_RUN_DIR": str(tmp_path)}
    assert run_rank(lambda _: alone, words, env) == 1
    assert alone.aborted
    assert "on node7, rank 0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_rank_that_fails_otherwise_keeps_nobody_waiting(tmp_path: Path) -> None:
    alone = Alone()
    words = Order("allgather", (64,), repetitions=3).arguments()
    with pytest.raises(FileNotFoundError):
        run_rank(lambda _: alone, words, {"SLURMKIT_RUN_DIR": str(tmp_path / "gone")})
    assert alone.aborted


def test_a_rank_writes_its_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = Order("allgather", (64,), repetitions=3).arguments()
    env = {"SLURMD_NODENAME": "node7", "SLURMKIT_RUN_DIR": str(tmp_path)}
    assert run_rank(lambda _: Alone(), words, env) == 0
    result = result_from_json(json.loads((tmp_path / "bench.json").read_text()))
    assert result.hosts == ["node7"]
    assert "(N-1)/N" in capsys.readouterr().out


def _result(**changes: Any) -> BenchResult:
    row = Row(65536, 9, Times(2e-3, 1e-3, 2e-3, 3e-3, 4e-3, 5e-3), 32e6, 48e6, 0.5)
    rated = Rated(50e9, 8, "--rated")
    values: dict[str, Any] = {
        "operation": "allreduce",
        "via": "gloo",
        "library": "gloo",
        "device": "cpu",
        "world_size": 4,
        "hosts": ["n1", "n2"],
        "formula": "f",
        "size_means": "s",
        "rows": [row],
        "rated": rated,
    }
    return BenchResult(**{**values, **changes})


def test_a_result_reads_as_it_was_written(tmp_path: Path) -> None:
    pair = Pair("n1", "n2", 0, 1e9, 1e-6)
    for result in (_result(), _result(operation="matrix", rows=[], pairs=[pair], rated=None)):
        path = write_result(result, tmp_path)
        assert result_from_json(json.loads(path.read_text())) == result
    with pytest.raises(KeyError):
        result_from_json({**asdict(_result()), "format": 2})


def test_tables() -> None:
    header, body = report.table_rows(_result().rows)
    assert dict(zip(header, body[0], strict=True)) == {
        "SIZE": "64K",
        "MEDIAN": "2.00 ms",
        "P95": "3.00 ms",
        "P99": "4.00 ms",
        "ALGORITHM": "32.00 MB/s",
        "BUS": "48.00 MB/s",
        "RATED": "50%",
        "COUNT": "9",
    }
    only_mean = Row(8, 0, Times(1e-6), 8e6, 8e6)
    header, body = report.table_rows([only_mean])
    assert header[1] == "MEAN"
    assert body[0][2:4] == ["-", "-"]


def test_bars_are_as_long_as_they_should_be() -> None:
    rows = [Row(8, 1, Times(1.0), 1.0, rate) for rate in (4e6, 2e6, 1.0)]
    lines = report.bars(rows)
    assert [len(line.split()[1]) for line in lines[1:]] == [30, 15, 1]
    assert report.bars([]) == []


def test_a_matrix_of_many_nodes_is_no_table() -> None:
    pairs = [Pair("a", f"n{i}", 0, 1e9, 1e-6) for i in range(40)]
    result = _result(operation="matrix", rows=[], pairs=pairs)
    assert report.matrix_tables(result) == []
    assert "median 1.00 GB/s" in report.matrix_summary(pairs)[0]


def test_rated_by_the_nics_of_a_node() -> None:
    found = rated_rdma(load_profile("dgx-h100"))
    assert found is not None
    assert (found.link_bytes_per_s, found.links_per_node) == (50e9, 8)
    down = load_profile("dgx-h100")
    nics = [
        nic.replace(ports=tuple(port.replace(state="DOWN") for port in nic.ports))
        for nic in down.nics
    ]
    assert rated_rdma(down.replace(nics=tuple(nics))) is None
    assert rated_rdma(down.replace(nics=())) is None


def test_rated_as_ordered() -> None:
    order = Order("allreduce", (8,), rated="8x400Gb/s", rated_source="site.yaml")
    assert rated_of(order, "nccl") == Rated(50e9, 8, "site.yaml")
    assert rated_of(order.replace(rated="100Gb/s"), "gloo") == Rated(12.5e9, 1, "site.yaml")


def test_rated_by_an_interface(tmp_path: Path) -> None:
    for name in ("eth0", "veth0", "down0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "speed").write_text("25000\n")
    (tmp_path / "eth0/device").mkdir()
    (tmp_path / "down0/device").mkdir()
    (tmp_path / "down0/speed").write_text("-1\n")
    assert rated_ethernet("eth0", tmp_path) == Rated(3.125e9, 1, "interface eth0")
    assert rated_ethernet("veth0", tmp_path) is None, "a virtual speed means nothing"
    assert rated_ethernet("down0", tmp_path) is None
    assert rated_ethernet("", tmp_path) is None


def test_how_many_ranks_were_started() -> None:
    assert world_size_told({"WORLD_SIZE": "4", "SLURM_NTASKS": "8"}) == 4
    assert world_size_told({"SLURM_NTASKS": "8"}) == 8
    assert world_size_told({}) is None


def test_pictures_need_a_known_ending(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown kind of picture"):
        draw([_result()], tmp_path / "x.gif")


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_pictures(tmp_path: Path, ending: str) -> None:
    pytest.importorskip("matplotlib")
    pairs = [Pair("n1", "n2", rail, 1e9, 1e-6) for rail in range(8)]
    for name, result in (
        ("sweep", _result()),
        ("matrix", _result(operation="matrix", rows=[], pairs=pairs)),
    ):
        path = tmp_path / f"{name}.{ending}"
        draw([result], path)
        first = path.read_bytes()
        draw([result], path)
        assert path.read_bytes() == first, "the same result gives other bytes"
