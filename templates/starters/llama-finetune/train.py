"""Train or fine-tune a small Llama on any number of ranks, with DDP or FSDP2.

    slurmkit submit llama-finetune.yaml --follow     # on a cluster
    slurmkit run llama-finetune.yaml                 # the same ranks on this machine
    torchrun --nproc-per-node=2 train.py             # any launcher that sets RANK and the others
    python train.py                                  # one process

With no GPU it runs on the CPU over gloo, else on the GPUs over NCCL.
Needs torch >= 2.6 and safetensors.
"""

import argparse
import math
import os
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

import hf
from llama import Llama, LlamaConfig, initial_weights, load_weights


class StartError(Exception):
    """The run cannot start; the message says what is missing and what to do."""


@dataclass(frozen=True)
class World:
    """Who this process is among the ranks, and what it computes on."""

    rank: int
    local_rank: int
    size: int
    device: torch.device


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options; every one of them can be swept from the YAML file."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Train a small Llama.", allow_abbrev=False)
    add = parser.add_argument
    add("--steps", type=int, default=60, help="optimizer steps")
    add("--batch-size", type=int, default=8, help="sequences per rank and step")
    add("--seq-len", type=int, default=128, help="tokens per sequence")
    add("--lr", type=float, help="peak learning rate; 3e-3 from scratch, 2e-5 with --model")
    add("--strategy", choices=["ddp", "fsdp"], default="ddp")
    add("--dtype", choices=["auto", "bf16", "fp32"], default="auto", help="auto: bf16 on GPUs")
    add("--seed", type=int, default=0, help="of the weights and of the order of the data")
    add("--model", type=Path, metavar="DIR", help="Hugging Face-layout folder to start from")
    add("--save", type=Path, metavar="DIR", help="write the result there, in the same layout")
    add("--data", type=Path, default=here / "corpus.txt", metavar="FILE", help="text to learn")
    add("--log-every", type=int, default=5, metavar="N", help="steps between two lines")
    args = parser.parse_args(argv)
    for name in ("steps", "batch_size", "seq_len", "log_every"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if args.lr is None:
        args.lr = 2e-5 if args.model else 3e-3
    return args


def join_world() -> World:
    """Meet the other ranks, as the environment of the launcher describes them.

    Raises:
        StartError: the environment is incomplete, or there are fewer GPUs than ranks.
    """
    expected = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in expected if name not in os.environ]
    how = "start me through `slurmkit run`, `slurmkit submit` or torchrun"
    if "RANK" in os.environ and missing:
        raise StartError(f"RANK is set, but {', '.join(missing)} not: {how}")
    # A bare srun would otherwise train one whole model per task, each believing to be alone.
    if "RANK" not in os.environ and int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        raise StartError(f"srun started several tasks, but no RANK is set: {how}")

    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        # Slurm may show each task only its own GPU, which then is number 0 in every task.
        visible = torch.cuda.device_count()
        if visible > 1 and local_rank >= visible:
            raise StartError(f"local rank {local_rank} has no GPU, only {visible} are visible")
        device = torch.device("cuda", local_rank if visible > 1 else 0)
        torch.cuda.set_device(device)
    elif "OMP_NUM_THREADS" not in os.environ and "SLURM_CPUS_PER_TASK" in os.environ:
        # torch reads the first by itself; with neither, every rank would use all cores of the node.
        torch.set_num_threads(int(os.environ["SLURM_CPUS_PER_TASK"]))

    backend = "nccl" if device.type == "cuda" else "gloo"
    bound = device if device.type == "cuda" else None  # NCCL connects now, not in the first step
    patience = timedelta(minutes=10)  # for a rank that never comes, or stops answering
    if "RANK" in os.environ:
        dist.init_process_group(backend, init_method="env://", timeout=patience, device_id=bound)
    else:  # alone: a world of one, so that the rest of the program has one path
        store = dist.HashStore()
        dist.init_process_group(backend, store=store, rank=0, world_size=1, device_id=bound)
    return World(dist.get_rank(), local_rank, dist.get_world_size(), device)


def read_tokens(data: Path, model_dir: Path | None, vocab_size: int) -> Tensor:
    """Return the text as token ids, (count,): the model's own tokens if it has any, else bytes.

    Raises:
        StartError: the text cannot be read, or the model's tokenizer cannot be used.
    """
    try:
        text = data.read_bytes()
    except OSError as error:
        raise StartError(f"--data {data}: {error.strerror}") from None
    if model_dir is not None and (path := model_dir / "tokenizer.json").is_file():
        try:
            from tokenizers import Tokenizer  # noqa: PLC0415 - only models that bring one need it
        except ImportError:
            raise StartError(f"{path} needs the tokenizers package: pip install it") from None
        return torch.tensor(
            Tokenizer.from_file(str(path)).encode(text.decode(errors="replace")).ids
        )
    if vocab_size < 256:
        raise StartError(f"a vocabulary of {vocab_size} cannot hold the 256 bytes")
    return torch.frombuffer(bytearray(text), dtype=torch.uint8)


def batch_of(
    tokens: Tensor, step: int, args: argparse.Namespace, world: World
) -> tuple[Tensor, Tensor]:
    """Return this rank's inputs and targets of one step, each (batch, seq).

    The batch of all ranks is a function of seed and step alone, and each rank takes its part. So a
    run can go on at any step, and 4 ranks x 8 sequences read what 8 ranks x 4 sequences read.
    """
    generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
    total = world.size * args.batch_size
    starts = torch.randint(len(tokens) - args.seq_len, (total,), generator=generator)
    mine = starts[world.rank * args.batch_size :][: args.batch_size]
    windows = torch.stack([tokens[start : start + args.seq_len + 1] for start in mine.tolist()])
    windows = windows.long().to(world.device)
    return windows[:, :-1], windows[:, 1:]


def build_model(config: LlamaConfig, args: argparse.Namespace, world: World) -> Llama:
    """Return the model with its weights; under FSDP every rank holds its shard of them only."""
    with torch.device("meta"):  # shapes without memory: the whole model need not fit on one device
        model = Llama(config)
    if args.strategy == "fsdp":
        mesh = init_device_mesh(world.device.type, (world.size,))
        half = torch.bfloat16 if args.dtype == "bf16" else None
        # Weights travel and compute in bf16; gradients are summed in fp32, the optimizer's own copy
        # is fp32. The inputs stay as they are: RoPE's tables need their fp32.
        policy = MixedPrecisionPolicy(
            param_dtype=half, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
        for layer in model.model.layers:  # block by block: gathered before use, let go after
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(model, mesh=mesh, mp_policy=policy)
    model.to_empty(device=world.device)
    if args.model:
        hf.load(model, args.model)
    else:
        load_weights(model, initial_weights(config, args.seed))
    return model


def learning_rate_factor(step: int, steps: int) -> float:
    """Return the share of the peak rate: a tenth of the run to warm up, then a cosine to 10 %."""
    warmup = max(1, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def train(model: Llama, tokens: Tensor, args: argparse.Namespace, world: World) -> list[float]:
    """Take the steps; return the losses that were printed, each the mean over all ranks."""
    # Wrapped in here, so that DDP is gone before main() destroys the process group: if DDP is the
    # last to let go of a gloo group, both may wait for ever for Python's lock (torch 2.13).
    parallel = DistributedDataParallel(model) if args.strategy == "ddp" else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, args.steps)
    )
    autocast = torch.autocast(
        world.device.type,
        dtype=torch.bfloat16,
        enabled=args.dtype == "bf16" and args.strategy == "ddp",  # FSDP's policy does this itself
    )
    tokens_per_step = world.size * args.batch_size * args.seq_len
    losses = []
    last_step, last_time = 0, time.perf_counter()
    for step in range(1, args.steps + 1):
        inputs, targets = batch_of(tokens, step, args, world)
        with autocast:
            logits = parallel(inputs)
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        loss.backward()  # the gradients are averaged over the ranks in here, by DDP and by FSDP
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step in (1, args.steps) or step % args.log_every == 0:
            mean = loss.detach().clone()
            dist.all_reduce(mean)  # a sum, because gloo knows no average
            losses.append(mean.item() / world.size)  # item() waits for the GPU: the clock is honest
            step_s = (time.perf_counter() - last_time) / (step - last_step)
            last_step, last_time = step, time.perf_counter()
            if world.rank == 0:
                print(
                    f"step {step:4d}/{args.steps}  loss {losses[-1]:.4f}"
                    f"  {tokens_per_step / step_s:,.0f} tokens/s  {step_s * 1000:.1f} ms/step",
                    flush=True,
                )
    return losses


def main(args: argparse.Namespace) -> int:
    """Run one rank; return its exit code."""
    try:
        config = hf.read_config(args.model) if args.model else LlamaConfig()
        tokens = read_tokens(args.data, args.model, config.vocab_size)
        if args.seq_len >= len(tokens):
            raise StartError(f"--data {args.data} has {len(tokens)} tokens, fewer than --seq-len")
        if args.seq_len > config.max_position_embeddings:
            raise StartError(f"--seq-len is over the model's {config.max_position_embeddings}")
        world = join_world()
        if args.dtype == "auto":
            args.dtype = "bf16" if world.device.type == "cuda" else "fp32"
        model = build_model(config, args, world)
    except (StartError, hf.ModelFolderError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2

    threads = f", {torch.get_num_threads()} threads" if world.device.type == "cpu" else ""
    print(
        f"rank {world.rank} of {world.size} on {socket.gethostname()}: {world.device}"
        f", local rank {world.local_rank}{threads}",
        flush=True,
    )
    if world.rank == 0:
        num_parameters = sum(parameter.numel() for parameter in model.parameters())
        print(
            f"{num_parameters / 1e6:.2f} million parameters, {args.strategy}, {args.dtype}"
            f", {dist.get_backend()}; {len(tokens):,} tokens of text",
            flush=True,
        )

    begin = time.perf_counter()
    losses = train(model, tokens, args, world)
    if args.save:
        hf.save(model, args.save, write=world.rank == 0)
    if world.rank == 0:
        print(
            f"done: {args.steps} steps in {time.perf_counter() - begin:.1f} s"
            f", loss {losses[0]:.2f} -> {losses[-1]:.2f}",
            flush=True,
        )
    # Only at a good end: after an error the process must be gone at once, without a last word with
    # its peers, so that the launcher sees the exit code and stops them.
    dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    options = parse_args()
    try:
        code = main(options)
    except Exception:  # noqa: BLE001 - the outermost edge: the traceback is printed, nothing is hidden
        traceback.print_exc()
        code = 1
    # Past the interpreter's own clean-up: gloo's threads can outlive the process group, and then
    # abort or hang in the middle of it (torch 2.13, pytorch issue 190489).
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
