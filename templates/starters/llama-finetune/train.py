"""Train or fine-tune a small Llama on any number of ranks, with DDP or FSDP2.

    slurmkit submit llama-finetune.yaml --follow     # on a cluster
    slurmkit run llama-finetune.yaml                 # the same ranks on this machine
    torchrun --nproc-per-node=2 train.py             # any launcher that sets RANK and the others
    python train.py                                  # one process

With no GPU it runs on the CPU over gloo, else on the GPUs over NCCL. It saves as it goes, and a
second start goes on where the first one ended: in the run directory under slurmkit, else in
./checkpoints. Needs slurmkit[torch]: slurmkit, torch >= 2.6 and safetensors.
"""

import argparse
import hashlib
import math
import socket
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

import hf
from llama import Llama, LlamaConfig, initial_weights, load_weights
from slurmkit.train import Session, TrainError


class StartError(Exception):
    """The run cannot start; the message says what is missing and what to do."""


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
    add("--checkpoints", type=Path, metavar="DIR", help="save there instead")
    add("--digest", action="store_true", help="print a SHA-256 of the weights at the end")
    args = parser.parse_args(argv)
    for name in ("steps", "batch_size", "seq_len", "log_every"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if args.lr is None:
        args.lr = 2e-5 if args.model else 3e-3
    return args


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


class Windows:
    """The text as samples: the windows of length + 1 tokens, one from each position on."""

    def __init__(self, tokens: Tensor, length: int) -> None:
        self.tokens = tokens
        self.length = length

    def __len__(self) -> int:
        return len(self.tokens) - self.length

    def __getitem__(self, start: int) -> Tensor:
        return self.tokens[start : start + self.length + 1]


def build_model(config: LlamaConfig, args: argparse.Namespace, run: Session) -> Llama:
    """Return the model with its weights; under FSDP every rank holds its shard of them only."""
    with torch.device("meta"):  # shapes without memory: the whole model need not fit on one device
        model = Llama(config)
    if args.strategy == "fsdp":
        mesh = init_device_mesh(run.device.type, (run.world_size,))
        half = torch.bfloat16 if args.dtype == "bf16" else None
        # Weights travel and compute in bf16; gradients are summed in fp32, the optimizer's own copy
        # is fp32. The inputs stay as they are: RoPE's tables need their fp32.
        policy = MixedPrecisionPolicy(
            param_dtype=half, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
        for layer in model.model.layers:  # block by block: gathered before use, let go after
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(model, mesh=mesh, mp_policy=policy)
    model.to_empty(device=run.device)
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


def train(model: Llama, tokens: Tensor, args: argparse.Namespace, run: Session) -> list[float]:
    """Take the steps that are left; return the first and the last of the losses of the whole run.

    Each loss is the mean over all ranks.
    """
    parallel = DistributedDataParallel(model) if args.strategy == "ddp" else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, args.steps)
    )
    autocast = torch.autocast(
        run.device.type,
        dtype=torch.bfloat16,
        enabled=args.dtype == "bf16" and args.strategy == "ddp",  # FSDP's policy does this itself
    )
    # The order of the samples follows from the seed and is shared out to the ranks, so 4 ranks
    # x 8 sequences read what 8 ranks x 4 sequences read.
    windows = Windows(tokens, args.seq_len)
    loader = run.loader(windows, batch_size=args.batch_size, shuffle=True, seed=args.seed)
    # Here a run that was stopped or killed takes up the newest whole checkpoint.
    state = run.state(
        model=parallel, optimizer=optimizer, schedule=schedule, loader=loader, losses=[]
    )
    if run.is_main and state.resumed_from is not None:
        print(f"resumed at step {state.step}", flush=True)

    tokens_per_step = run.world_size * args.batch_size * args.seq_len
    last_step, last_time = state.step, time.perf_counter()
    for batch in state.batches(steps=args.steps):  # saves when it is time to, between two of them
        step = state.step + 1
        tokens_in = batch.long().to(run.device)
        with autocast:
            logits = parallel(tokens_in[:, :-1])
        loss = F.cross_entropy(logits.float().flatten(0, 1), tokens_in[:, 1:].flatten())
        loss.backward()  # the gradients are averaged over the ranks in here, by DDP and by FSDP
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        run.log(loss=loss)
        if step in (1, args.steps) or step % args.log_every == 0:
            mean = loss.detach().clone()
            dist.all_reduce(mean)  # a sum, because gloo knows no average
            mean_loss = (
                mean.item() / run.world_size
            )  # item() waits for the GPU: the clock is honest
            state["losses"] = [*state["losses"][:1], mean_loss]
            step_s = (time.perf_counter() - last_time) / (step - last_step)
            last_step, last_time = step, time.perf_counter()
            if run.is_main:
                print(
                    f"step {step:4d}/{args.steps}  loss {mean_loss:.4f}"
                    f"  {tokens_per_step / step_s:,.0f} tokens/s  {step_s * 1000:.1f} ms/step",
                    flush=True,
                )
    losses: list[float] = state["losses"]
    return losses


def digest_of(model: Llama) -> str:
    """Return a SHA-256 over all weights; every rank must call it, to gather what is sharded."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        whole = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
        raw = whole.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(name.encode() + raw.numpy().tobytes())
    return digest.hexdigest()


def run_rank(args: argparse.Namespace, config: LlamaConfig, tokens: Tensor, run: Session) -> None:
    """Do what one of the ranks does."""
    if args.dtype == "auto":
        args.dtype = "bf16" if run.device.type == "cuda" else "fp32"
    model = build_model(config, args, run)
    threads = f", {torch.get_num_threads()} threads" if run.device.type == "cpu" else ""
    print(
        f"rank {run.rank} of {run.world_size} on {socket.gethostname()}: {run.device}"
        f", local rank {run.local_rank}{threads}",
        flush=True,
    )
    if run.is_main:
        num_parameters = sum(parameter.numel() for parameter in model.parameters())
        print(
            f"{num_parameters / 1e6:.2f} million parameters, {args.strategy}, {args.dtype}"
            f", {dist.get_backend()}; {len(tokens):,} tokens of text",
            flush=True,
        )
    begin = time.perf_counter()
    losses = train(model, tokens, args, run)
    if args.save:
        hf.save(model, args.save, write=run.is_main)
    digest = digest_of(model) if args.digest else ""
    if run.is_main:
        print(
            f"done: {args.steps} steps in {time.perf_counter() - begin:.1f} s"
            f", loss {losses[0]:.2f} -> {losses[-1]:.2f}",
            flush=True,
        )
        if digest:
            print(f"weights sha256 {digest}", flush=True)


def main(args: argparse.Namespace) -> int:
    """Run one rank; return its exit code."""
    try:
        config = hf.read_config(args.model) if args.model else LlamaConfig()
        tokens = read_tokens(args.data, args.model, config.vocab_size)
        if args.seq_len >= len(tokens):
            raise StartError(f"--data {args.data} has {len(tokens)} tokens, fewer than --seq-len")
        if args.seq_len > config.max_position_embeddings:
            raise StartError(f"--seq-len is over the model's {config.max_position_embeddings}")
        with Session(folder=args.checkpoints) as run:
            run_rank(args, config, tokens, run)
    except (StartError, hf.ModelFolderError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except TrainError as error:
        print(f"train.py: {error.message}: {error.hint}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(parse_args()))
