"""What one of several ranks does in a test; run by `on_ranks` of conftest.py."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from slurmkit.checkpoint.errors import CorruptCheckpointError
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.checkpoint.tensors import (
    PerRank,
    SpoiledStateError,
    TensorCheckpointer,
    UnsupportedStateError,
)

TOLD: dict = globals().get("TOLD", {})
RANK, NUM_RANKS = TOLD.get("rank", 0), TOLD.get("num_ranks", 1)
FOLDER = Path(TOLD.get("folder", "."))


def checkpointer(**options) -> TensorCheckpointer:
    return TensorCheckpointer(CheckpointStore(FOLDER / "ckpt", keep=9), **options)


def values(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


SHAPES = {"w": (13, 7), "b": (5,), "e": (64, 33), "one": (1, 9), "scalar": ()}


def sharded(placements: dict[str, list], seed: int | None) -> dict:
    """Return DTensors of known values (seed), or of zeros."""
    mesh = init_device_mesh("cpu", (NUM_RANKS,))
    state = {}
    for number, (key, shape) in enumerate(SHAPES.items()):
        full = torch.zeros(shape) if seed is None else values(shape, seed + number)
        how = placements.get(key, [Replicate()])
        state[key] = distribute_tensor(full, mesh, how)
    return state


def assert_values(state: dict, seed: int) -> None:
    for number, (key, shape) in enumerate(SHAPES.items()):
        found = state[key].full_tensor() if isinstance(state[key], DTensor) else state[key]
        assert torch.equal(found, values(shape, seed + number)), key


BY_ROWS = {"w": [Shard(0)], "b": [Shard(0)], "e": [Shard(0)], "one": [Shard(0)]}
BY_COLUMNS = {"w": [Shard(1)], "e": [Shard(1)], "one": [Shard(1)]}


def save_shards() -> None:
    """Save rows, and per rank something of its own."""
    with_saves = checkpointer(asynchronous=TOLD.get("asynchronous", True))
    state = {"m": sharded(BY_ROWS, 7), "rng": PerRank({"n": RANK, "t": torch.full((3,), RANK)})}
    handle = with_saves.save(5, state, {"by": NUM_RANKS})
    result = handle.result or with_saves.wait(60)
    assert result is not None
    assert result.error is None, result.error
    assert (result.manifest is not None) == (RANK == 0 or handle.result is not None)
    dist.barrier()
    with_saves.close()


def load_shards() -> None:
    """Load on another number of ranks: rows, columns, replicated, and plain."""
    with_saves = checkpointer()
    found = with_saves.newest()
    assert found is not None
    assert found.step == 5
    for placements in (BY_ROWS, BY_COLUMNS, {}):
        state = sharded(placements, None)
        with_saves.load(5, {"m": state})
        assert_values(state, 7)
    plain = {key: torch.zeros(shape) for key, shape in SHAPES.items()}
    loaded = with_saves.load(5, {"m": plain, "rng": PerRank("nothing")})
    assert_values(plain, 7)
    if found.extra["by"] > RANK:
        assert loaded["rng"]["n"] == RANK
        assert loaded["rng"]["t"].eq(RANK).all()
    else:
        assert loaded["rng"] == "nothing"
    with_saves.close()


def _model() -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Linear(12, 33), torch.nn.LayerNorm(33), torch.nn.Linear(33, 5, bias=False)
    )


def _trained(kind: str, steps: int):
    model = _model()
    if kind == "fsdp2":
        for layer in model:
            fully_shard(layer, mesh=init_device_mesh("cpu", (NUM_RANKS,)))
        fully_shard(model, mesh=init_device_mesh("cpu", (NUM_RANKS,)))
    elif kind == "ddp":
        model = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(steps):
        optimizer.zero_grad()
        data = values((8, 12), 100 + step)  # the same on all ranks: then every kind computes alike
        model(data).pow(2).mean().backward()
        optimizer.step()
    return model, optimizer


def _full(tensor):
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def train_and_save() -> None:
    model, optimizer = _trained(TOLD["kind"], 3)
    weights, optim = get_state_dict(model, optimizer)
    with_saves = checkpointer()
    with_saves.save(3, {"model": weights, "optim": optim}, {})
    result = with_saves.wait(60)
    assert result.error is None, result.error
    full = {f"model.{k}": _full(v) for k, v in weights.items()}
    for name, moments in optim["state"].items():
        full |= {f"optim.{name}.{k}": _full(v) for k, v in moments.items()}
    if RANK == 0:
        torch.save(full, FOLDER / "expected.pt")
    dist.barrier()
    with_saves.close()


def load_trained() -> None:
    model, optimizer = _trained(TOLD["kind"], 0)
    weights, optim = get_state_dict(model, optimizer)
    with_saves = checkpointer()
    loaded = with_saves.load(3, {"model": weights, "optim": optim})
    set_state_dict(
        model, optimizer, model_state_dict=loaded["model"], optim_state_dict=loaded["optim"]
    )
    weights, optim = get_state_dict(model, optimizer)
    expected = torch.load(FOLDER / "expected.pt")
    found = {f"model.{k}": _full(v) for k, v in weights.items()}
    for name, moments in optim["state"].items():
        found |= {f"optim.{name}.{k}": _full(v) for k, v in moments.items()}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert optim["param_groups"][0]["lr"] == 1e-2
    with_saves.close()


def replicas_spread() -> None:
    """Values that all ranks have are written once, by different ranks."""
    with_saves = checkpointer()
    state = {f"w{n}": torch.full((1 << 16,), float(n)) for n in range(9)}
    with_saves.save(1, state, {})
    assert with_saves.wait(60).error is None
    dist.barrier()
    manifest = with_saves.newest()
    sizes = [f.size_bytes for f in manifest.files if f.name.endswith(".safetensors")]
    assert sum(sizes) < 1.1 * 9 * (1 << 18)
    assert max(sizes) < 1.1 * min(sizes)
    target = {key: torch.zeros_like(value) for key, value in state.items()}
    with_saves.load(1, target)
    assert all(torch.equal(target[key], state[key]) for key in state)
    with_saves.close()


def corrupt_for_all() -> None:
    """One rank alone reads the damaged file; all raise alike, and all take the step before."""
    with_saves = checkpointer()
    for step in (1, 2):
        with_saves.save(step, {"m": sharded(BY_ROWS, step)}, {})
        assert with_saves.wait(60).error is None
    dist.barrier()
    damaged = [2, 1] if TOLD["both"] else [2]
    if RANK == 0:
        for step in damaged:
            path = FOLDER / f"ckpt/step-000000000{step}/rank-0000{NUM_RANKS - 1}.safetensors"
            data = bytearray(path.read_bytes())
            data[-40] ^= 4
            path.write_bytes(data)
    dist.barrier()
    for step in damaged:
        assert with_saves.newest().step == step
        with pytest.raises(CorruptCheckpointError, match=f"rank-0000{NUM_RANKS - 1}") as caught:
            with_saves.load(step, {"m": sharded(BY_ROWS, None)})
        assert caught.value.step == step
    if TOLD["both"]:
        with pytest.raises(SpoiledStateError):
            with_saves.newest()
    else:
        assert with_saves.newest().step == 1
        state = sharded(BY_ROWS, None)
        with_saves.load(1, {"m": state})
        assert_values(state, 1)
    with_saves.close()


def unsupported_for_all() -> None:
    """A rank that cannot save its state makes all ranks raise, and the next save works."""
    with_saves = checkpointer()
    device = "meta" if RANK == 1 else "cpu"
    with pytest.raises(UnsupportedStateError, match=r"rank 1.*meta"):
        with_saves.save(1, {"w": torch.zeros(3, device=device)}, {})
    with pytest.raises(UnsupportedStateError, match="different steps"):
        with_saves.save(1 + RANK, {"w": torch.zeros(3)}, {})
    with_saves.save(2, {"w": torch.zeros(3)}, {})
    assert with_saves.wait(60).error is None
    dist.barrier()
    with_saves.close()


def writer_killed() -> None:
    """The writer of one rank is killed in mid-save: that save fails, the next works."""
    with_saves = checkpointer()
    with_saves.save(1, {"m": sharded(BY_ROWS, 1)}, {})
    assert with_saves.wait(60).error is None
    dist.barrier()
    victim = TOLD["victim"]
    if victim == RANK:
        os.kill(with_saves.writer_pid, signal.SIGSTOP)  # so that the kill comes before the end
    with_saves.save(2, {"m": sharded(BY_ROWS, 2)}, {})
    if victim == RANK:
        os.kill(with_saves.writer_pid, signal.SIGKILL)
    result = with_saves.wait(60)
    if victim == RANK:
        assert "signal 9" in result.error.message, result
    elif RANK == 0:
        assert f"rank {victim}" in result.error.message, result
    dist.barrier()
    assert with_saves.newest().step == 1
    with_saves.save(3, {"m": sharded(BY_ROWS, 3)}, {})
    result = with_saves.wait(60)
    assert result.error is None, result.error
    dist.barrier()
    assert with_saves.newest().step == 3
    assert with_saves.store.dir.temporaries() == []
    with_saves.close()


def ignores_term(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(ignored.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def rank_dies() -> None:
    """A rank dies after it staged its part, and its writer with it; nothing is committed."""
    with_saves = checkpointer()
    with_saves.save(1, {"m": sharded(BY_ROWS, 1)}, {})
    assert with_saves.wait(60).error is None
    dist.barrier()
    with_saves.close()
    with_saves = checkpointer(timeout_s=2)
    if RANK == 1:
        # A stopped process cannot ask to be killed with its parent: it has to be up before
        while not ignores_term(with_saves.writer_pid):
            time.sleep(0.01)
        os.kill(with_saves.writer_pid, signal.SIGSTOP)
    with_saves.save(2, {"m": sharded(BY_ROWS, 2)}, {})
    (FOLDER / f"writer-{RANK}").write_text(str(with_saves.writer_pid))
    if RANK == 1:
        os._exit(9)
    result = with_saves.wait(60)
    assert "rank 1 did not finish" in result.error.message, result
    assert with_saves.store.dir.steps() == [1]
    os._exit(9)  # the other rank is gone: there is nobody to take leave of


def train_until_killed() -> None:
    """Save without end, until somebody kills this rank."""
    with_saves = checkpointer()
    (FOLDER / f"writer-{RANK}").write_text(str(with_saves.writer_pid))
    step = 0
    while True:
        step += 1
        with_saves.save(step, {"w": torch.full((1 << 20,), step)}, {})
        if with_saves.poll():
            (FOLDER / f"saving-{RANK}").touch()
        time.sleep(0.01)


def main() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    if NUM_RANKS > 1 or TOLD.get("group", True):
        dist.init_process_group(
            "gloo", init_method=f"file://{TOLD['meeting']}", rank=RANK, world_size=NUM_RANKS
        )
    globals()[TOLD["what"]]()
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "scenario":
    sys.stdout.reconfigure(line_buffering=True)
    print(json.dumps(TOLD))
    main()
