"""Saves and loads of 512 MiB of tensors: against memcpy, raw writes and reads, and torch's own."""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
import torch.distributed as dist  # noqa: E402
import torch.distributed.checkpoint as dcp  # noqa: E402
from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType  # noqa: E402

from slurmkit.checkpoint.store import CheckpointStore  # noqa: E402
from slurmkit.checkpoint.tensors import TensorCheckpointer  # noqa: E402

_TENSORS, _TENSOR_BYTES = 128, 4 << 20
_ROUNDS = 7
State = dict[str, dict[str, torch.Tensor]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def state() -> State:
    return {"model": {f"w{n}": torch.randn(_TENSOR_BYTES // 4) for n in range(_TENSORS)}}


@pytest.fixture
def memcpy(state) -> Callable[[], float]:
    """Copy the state to memory that was touched before, and return the seconds."""
    sources = list(state["model"].values())
    targets = [source.clone() for source in sources]

    def copy() -> float:
        start = time.perf_counter()
        torch._foreach_copy_(targets, sources)
        return time.perf_counter() - start

    return copy


@pytest.fixture
def checkpointer(tmp_path) -> Iterator[TensorCheckpointer]:
    made = TensorCheckpointer(CheckpointStore(tmp_path / "ckpt", keep=1))
    yield made
    made.close()


@pytest.fixture
def group(tmp_path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def finished(checkpointer: TensorCheckpointer) -> None:
    result = checkpointer.wait(120)
    assert result is not None
    assert result.error is None


def test_stall_of_an_asynchronous_save(checkpointer, state, memcpy, figure):
    memcpy()
    checkpointer.prepare(state, wait_s=60)
    copies, stalls = [], []
    for step in range(1 + _ROUNDS):
        copies.append(memcpy())
        stalls.append(checkpointer.save(step, state, {}).stall_s)
        finished(checkpointer)
    first = stalls[0] / statistics.median(copies)
    steady = statistics.median(a / b for a, b in zip(stalls[1:], copies[1:], strict=True))
    what = "asynchronous save, 512 MiB: stall / memcpy"
    figure(f"{what}, first (prepared)", f"{first:.2f} ({stalls[0] * 1e3:.0f} ms)", "at most 2.0")
    figure(
        f"{what}, steady",
        f"{steady:.2f} ({statistics.median(stalls[1:]) * 1e3:.0f} ms)",
        "at most 1.15",
    )


def test_stall_of_a_save_that_nobody_prepared(checkpointer, state, memcpy, figure):
    memcpy()
    copy_s = statistics.median(memcpy() for _ in range(5))
    stall_s = checkpointer.save(0, state, {}).stall_s
    finished(checkpointer)
    figure(
        "asynchronous save, 512 MiB: stall / memcpy, first (not prepared)",
        f"{stall_s / copy_s:.1f} ({stall_s * 1e3:.0f} ms)",
        "none: call prepare",
    )


@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.filterwarnings("ignore")
def test_stall_of_torchs_asynchronous_save(group, tmp_path, state, memcpy, figure, kind):
    how = {"thread": AsyncCheckpointerType.THREAD, "process": AsyncCheckpointerType.PROCESS}[kind]
    memcpy()
    copies, stalls = [], []
    for step in range(4):
        copies.append(memcpy())
        start = time.perf_counter()
        future = dcp.async_save(
            state, checkpoint_id=str(tmp_path / f"dcp-{step}"), async_checkpointer_type=how
        )
        stalls.append(time.perf_counter() - start)
        getattr(future, "upload_completion", future).result()
    ratios = [a / b for a, b in zip(stalls, copies, strict=True)]
    figure(
        f"the same by torch's async_save ({kind}), steady",
        f"{statistics.median(ratios[1:]):.2f} (first {ratios[0]:.1f})",
        "the rival",
    )


def test_step_time_while_a_save_runs(checkpointer, state, figure):
    weights = torch.randn(512, 512)

    def step() -> float:
        start = time.perf_counter()
        value = weights
        for _ in range(8):
            value = value @ weights / 23
        return time.perf_counter() - start

    checkpointer.prepare(state, wait_s=60)
    checkpointer.save(0, state, {})
    finished(checkpointer)
    ratios = []
    for number in range(1, _ROUNDS):
        without = [step() for _ in range(20)]
        checkpointer.save(number, state, {})
        during = []
        while checkpointer.in_flight is not None:
            during.append(step())
            checkpointer.poll()
        without += [step() for _ in range(20)]
        ratios.append(statistics.median(during) / statistics.median(without))
    figure(
        "step time while a save runs / without",
        f"{statistics.median(ratios):.3f}",
        "at most 1.05",
    )


def test_synchronous_save(tmp_path, state, in_turn, figure):
    checkpointer = TensorCheckpointer(CheckpointStore(tmp_path / "s", keep=1), asynchronous=False)
    arrays = [tensor.numpy() for tensor in state["model"].values()]
    steps = iter(range(1000))

    def ours() -> None:
        result = checkpointer.save(next(steps), state, {}).result
        assert result is not None
        assert result.error is None

    def raw() -> None:  # removes the one before when the new one is there, as retention does
        number = next(steps)
        with (tmp_path / f"raw-{number}").open("wb", buffering=0) as file:
            for array in arrays:
                file.write(array.data)
            os.fsync(file.fileno())
        for path in tmp_path.glob("raw-*"):
            if path.name != f"raw-{number}":
                path.unlink()

    pair = in_turn(ours, raw, rounds=5)
    figure(
        "synchronous save of tensors with digests / raw write + fsync",
        f"{pair.ratio:.2f} ({pair.ours_s:.2f} s)",
        "at most 1.25",
    )


def test_verified_load(tmp_path, state, in_turn, figure):
    checkpointer = TensorCheckpointer(CheckpointStore(tmp_path / "l"), asynchronous=False)
    manifest = checkpointer.save(1, state, {}).result.manifest
    target = {"model": {key: torch.empty_like(value) for key, value in state["model"].items()}}
    path = Path(manifest.folder, "rank-00000.safetensors")
    memory = bytearray(path.stat().st_size)

    def ours() -> None:
        checkpointer.load(1, target)

    def raw() -> None:
        with path.open("rb", buffering=0) as file:
            assert file.readinto(memory) == len(memory)

    pair = in_turn(ours, raw, rounds=7)
    assert all(torch.equal(target["model"][k], v) for k, v in state["model"].items())
    figure(
        "verified load of tensors / raw read, from the page cache",
        f"{pair.ratio:.2f} ({pair.ours_s * 1e3:.0f} ms)",
        "at most 1.3",
    )
