"""A small training program on slurmkit.train.Session, which can be told to break down.

Rank 0 writes result.json at the end: a digest of weights and optimizer. Each rank writes down each
step with the samples that it saw, so that the order of samples can be compared, too.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from slurmkit.train import Session

NUM_SAMPLES = 48


class Numbers(torch.utils.data.Dataset):
    """Samples that know their number."""

    def __len__(self) -> int:
        return NUM_SAMPLES

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor]:
        generator = torch.Generator().manual_seed(index)
        return index, torch.randn(16, generator=generator)


def digest(model: nn.Module, optimizer: torch.optim.Optimizer) -> str:
    """Return the SHA-256 of weights and optimizer."""
    sha = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(name.encode() + tensor.numpy().tobytes())
    for index, values in sorted(optimizer.state_dict()["state"].items()):
        for name, value in sorted(values.items()):
            sha.update(f"{index} {name}".encode() + torch.as_tensor(value).numpy().tobytes())
    return sha.hexdigest()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--pace", type=float, default=0.04)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--size", type=int, default=64, help="width of the model")
    parser.add_argument("--fault", default="", help="KIND:RANK:STEP, once; KIND! for every time")
    return parser.parse_args()


def main() -> int:
    args = parse()
    torch.manual_seed(0)
    with Session() as run:
        rank = dist.get_rank() if dist.is_initialized() else 0
        model = nn.Sequential(
            nn.Linear(16, args.size), nn.Dropout(0.1), nn.ReLU(), nn.Linear(args.size, 1)
        )
        parallel = nn.parallel.DistributedDataParallel(model) if dist.is_initialized() else model
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        loader = run.loader(
            Numbers(), batch_size=args.batch, shuffle=True, seed=0, num_workers=args.workers
        )
        state = run.state(model=model, optimizer=optimizer, loader=loader)
        log = os.open(args.folder / f"steps-{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        who = f"{os.environ.get('SLURMKIT_FENCE', '-')} {os.uname().nodename}"
        for numbers, values in state.batches(epochs=args.epochs):
            loss = (parallel(values) - values.sum(1, keepdim=True)).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            step = state.step + 1
            time.sleep(args.pace)
            seen = ",".join(str(number) for number in numbers.tolist())
            os.write(log, f"{time.time():.3f} {step} {seen} {who}\n".encode())
            break_down(args.fault, rank, step, args.folder)
            run.log(loss=loss)
        if rank == 0:
            result = {"digest": digest(model, optimizer), "step": state.step}
            (args.folder / "result.json").write_text(json.dumps(result))
    return 0


def break_down(fault: str, rank: int, step: int, folder: Path) -> None:
    """Do what the test asks for."""
    for one in fault.split(";") if fault else []:
        kind, its_rank, its_step = one.split(":")
        if rank != int(its_rank) or step != int(its_step):
            continue
        if not kind.endswith("!"):
            try:
                (folder / f"done-{kind}-{step}").touch(exist_ok=False)
            except FileExistsError:
                continue
        match kind.rstrip("!"):
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "raise":
                raise ValueError(f"bad value at step {step}")
            case "hang":
                while True:
                    time.sleep(60)
            case "connection":
                raise ConnectionResetError("NCCL error: remote process exited, connection reset")
            case _:
                damage(Path(os.environ["SLURMKIT_CHECKPOINT_DIR"]), kind)
                os.kill(os.getpid(), signal.SIGKILL)


def damage(checkpoints: Path, kind: str) -> None:
    """Damage the newest committed checkpoint, as a disk might."""
    *_, before, newest = sorted(p for p in checkpoints.glob("step-*") if "." not in p.name)
    files = sorted(
        (p for p in newest.rglob("*") if p.is_file() and p.name != "manifest.json"),
        key=lambda path: path.stat().st_size,
    )
    path = files[-1]
    match kind:
        case "flip":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 4
            path.write_bytes(data)
        case "truncate":
            os.truncate(path, path.stat().st_size // 2)
        case "missing":
            path.unlink()
        case "swap":
            path.write_bytes((before / path.relative_to(newest)).read_bytes())


if __name__ == "__main__":
    sys.exit(main())
