"""Starts ranks of a small training by the dozen, and kills them: one process that forks them all.

Importing torch takes seconds and forking takes none, so this module is run as a program of its own,
imports torch once, and does what it is told on its standard input: one JSON object per line, each
answered by another. Each rank is a process of its own with its own gloo, session and writer.
"""

import hashlib
import json
import mmap
import os
import random
import resource
import signal
import socket
import struct
import sys
import time
import traceback
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import nn

from slurmkit.checkpoint.fence import write_fence
from slurmkit.checkpoint.layout import CheckpointDir
from slurmkit.train import PerRank, Session
from slurmkit.train import session as _session  # noqa: F401 - imported here, before the forks

DATA_SIZE = 203
STEPS = mmap.mmap(-1, 4096)  # each rank writes how far it is; shared with its parent


class Data:
    """Random numbers of all three kinds, as augmentation would draw them."""

    def __len__(self):
        return DATA_SIZE

    def __getitem__(self, index):
        noise = random.random() + float(np.random.rand())
        return torch.randn(16) + index / DATA_SIZE + noise, index


class Diary:
    """A digest of everything that a rank has been given, in order."""

    def __init__(self):
        self.digest = ""

    def write(self, batch):
        inputs, indices = batch
        text = self.digest + str(indices.tolist())
        self.digest = hashlib.sha256(text.encode() + inputs.numpy().tobytes()).hexdigest()

    def state_dict(self):
        return {"digest": self.digest}

    def load_state_dict(self, state):
        self.digest = state["digest"]


def train(task):
    """The program: what a user would write, with a diary."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    diary = Diary()
    with Session(**task.get("session", {})) as run:
        model = nn.Sequential(nn.Linear(16, 32), nn.Dropout(0.1), nn.Linear(32, 1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.9)
        parallel = nn.parallel.DistributedDataParallel(model)
        loader = run.loader(
            Data(), shuffle=True, seed=1, num_workers=task["workers"], **task["loader"]
        )
        objects = {} if task.get("any_world") else {"diary": PerRank(diary)}
        state = run.state(
            model=parallel,
            optimizer=optimizer,
            scheduler=scheduler,
            loader=loader,
            seen={},
            **objects,
        )
        for batch in state.batches(epochs=task["epochs"]):
            noise = random.random() + float(np.random.rand())  # the program's own random numbers
            (parallel(batch[0]) + noise).square().mean().backward()
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            diary.write(batch)
            if task.get("any_world"):
                note_seen(state, batch[1].tolist(), run.world_size)
            run.log(loss=0.0)
            struct.pack_into("i", STEPS, 4 * run.rank, state.step + 1)
            time.sleep(task.get("step_s", 0))
        digest = hashlib.sha256(diary.digest.encode())
        for tensor in model.state_dict().values():
            digest.update(tensor.numpy().tobytes())
        for moments in optimizer.state_dict()["state"].values():
            for tensor in moments.values():
                digest.update(tensor.numpy().tobytes())
        digest.update(json.dumps(scheduler.state_dict(), sort_keys=True).encode())
        digest.update(struct.pack("d", random.random()) + torch.rand(1).numpy().tobytes())
        return {"digest": digest.hexdigest(), "step": state.step, "seen": state["seen"]}


def note_seen(state, indices, world_size):
    """Keep which samples all ranks have seen, per epoch, as the committed steps know it."""
    everyone = [None] * world_size
    torch.distributed.all_gather_object(everyone, indices)
    seen = dict(state["seen"])
    seen[str(state.epoch)] = [*seen.get(str(state.epoch), []), *chain(*everyone)]
    state["seen"] = seen


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(task, attempt, rank, port):
    """Fork one rank; it writes its result beside the checkpoints and ends as a program would."""
    pid = os.fork()
    if pid:
        return pid
    folder = Path(task["folder"])
    code = 1
    try:
        sys.stdin.close()
        errors = os.open(folder / f"rank-{rank}.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(errors, 1)
        os.dup2(errors, 2)
        os.environ.update(
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(task["world"]),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
            GLOO_SOCKET_IFNAME="lo",
            SLURMKIT_CHECKPOINT_DIR=str(folder / "checkpoints"),
            SLURMKIT_CHECKPOINT_EVERY=str(task.get("every", 3)),
            SLURMKIT_FENCE=f"test/{attempt}",
            SLURMKIT_WARNING_SIGNAL="USR2",
            **task.get("env", {}),
        )
        if limit := task.get("file_limit"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        result = train(task)
        (folder / f"result-{rank}.json").write_text(json.dumps(result))
        code = 0
    except SystemExit as stopped:
        code = stopped.code
    except BaseException:  # noqa: BLE001 - the outermost edge of a rank
        traceback.print_exc()
    finally:
        os._exit(code)


def attempt(task, number):
    """Run all ranks once; kill or signal them as told; return their exit codes."""
    STEPS[:] = bytes(len(STEPS))
    folder = Path(task["folder"])
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    write_fence(folder / "checkpoints", f"test/{number}")
    CheckpointDir(folder / "checkpoints").sweep()
    port = free_port()
    pids = [start(task, number, rank, port) for rank in range(task["world"])]
    alive = dict(enumerate(pids))
    codes = {}
    orders = [dict(order) for order in task.get("orders", [])]
    deadline = time.monotonic() + task.get("timeout_s", 60)
    while alive:
        step = max(struct.unpack_from(f"{task['world']}i", STEPS))
        while orders and step >= orders[0]["step"]:
            order = orders.pop(0)
            time.sleep(order.get("after_s", 0))
            for rank in order["ranks"]:
                if rank in alive:
                    os.kill(alive[rank], getattr(signal, order["signal"]))
        if step >= task.get("steal_fence_at", 1 << 30):
            write_fence(folder / "checkpoints", "test/another")
        for rank, pid in list(alive.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                codes[rank] = os.waitstatus_to_exitcode(status)
                del alive[rank]
        # As a launcher does it: when one has failed, the others go, too.
        failed = any(code not in (0, 75) for code in codes.values())
        if failed or time.monotonic() > deadline:
            for pid in alive.values():
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    steps = CheckpointDir(folder / "checkpoints").steps()
    results = [folder / f"result-{rank}.json" for rank in range(task["world"])]
    return {
        "codes": [codes[rank] for rank in range(task["world"])],
        "reached": step,
        "steps": steps,
        "results": [json.loads(path.read_text()) if path.exists() else None for path in results],
    }


def main():
    torch.set_num_threads(1)
    torch.optim.AdamW(nn.Linear(1, 1).parameters())  # imports half a second's worth of modules
    for number, line in enumerate(sys.stdin, start=1):
        print(json.dumps(attempt(json.loads(line), number)), flush=True)


if __name__ == "__main__":
    main()
