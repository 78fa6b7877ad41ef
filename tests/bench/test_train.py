"""What a session adds to each step, with no save due: a training with and without it, in turn.

One and two ranks over gloo on one machine, in steps of a few milliseconds. Each round takes some
steps with the boundary of the session between them and as many without. On two cores one difference
varies by far more than what is looked for, so there are many rounds; what counts is the mean of the
middle four fifths, shown with its standard error.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

Figure = Callable[[str, str, str], None]

_PROGRAM = """
import json, os, statistics, sys, tempfile, time
# A core of its own for each rank and its threads, as under slurmkit exec.
cores = sorted(os.sched_getaffinity(0))
os.sched_setaffinity(0, {cores[int(os.environ.get("RANK", 0)) % len(cores)]})
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from slurmkit.train import Session

folder, width = sys.argv[1], int(sys.argv[2])
ROUNDS, STEPS = 240, 10


class Data:
    def __len__(self):
        return 1 << 24

    def __getitem__(self, index):
        return torch.full((8,), float(index % 100))


torch.set_num_threads(1)
torch.manual_seed(0)
with Session(folder=folder, every=10**9) as run:
    inner = nn.Linear(width, width)
    model = nn.Sequential(nn.Linear(8, width), nn.ReLU(), inner, nn.Linear(width, 1))
    parallel = DistributedDataParallel(model) if run.world_size > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    state = run.state(model=model, loader=run.loader(Data(), batch_size=16, shuffle=True))
    x = torch.randn(16, 8)

    def step():
        parallel(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    boundary = state._boundary

    def timed(between):
        begin, used = time.perf_counter(), time.process_time()
        for _ in range(STEPS):
            step()
            between()
        wall = time.perf_counter() - begin
        return wall / STEPS, (time.process_time() - used) / STEPS

    state._means.flags.install()
    for _ in range(30):
        step()
        boundary()
    loss = torch.ones(())

    def with_session():
        run.log(loss=loss)
        boundary()

    rounds = []
    for number in range(ROUNDS):
        pair = [with_session, lambda: None]
        if number % 2:  # whoever comes second finds warmer caches
            pair.reverse()
        times = [timed(between) for between in pair]
        rounds.append(times if not number % 2 else times[::-1])
        # Exchanges come so many times a second: only of those that have a session.
        state._saver._exchanged_at += rounds[-1][1][0] * STEPS

    def middle(differences):
        kept = sorted(differences)[ROUNDS // 10 : -ROUNDS // 10]
        return statistics.mean(kept), statistics.stdev(kept) / len(kept) ** 0.5

    added, error = middle(a[0] - b[0] for a, b in rounds)
    added_cpu, _ = middle(a[1] - b[1] for a, b in rounds)
    alone = statistics.median(b[0] for _, b in rounds)

    # The loader's own work per batch, against torch's DataLoader of the same data set.
    def loading(iterator):
        begin = time.perf_counter()
        for _ in range(200):
            next(iterator)
        return (time.perf_counter() - begin) / 200

    ours = iter(run.loader(Data(), batch_size=16, shuffle=True))
    plain = iter(torch.utils.data.DataLoader(Data(), batch_size=16))
    next(ours), next(plain)
    pairs = [(loading(ours), loading(plain)) for _ in range(9)]
    batch = statistics.median(a - b for a, b in pairs)
    if run.is_main:
        found = {"added_s": added, "error_s": error, "added_cpu_s": added_cpu}
        found |= {"step_s": alone, "batch_s": batch}
        print(json.dumps(found))
"""


def measured(folder: object, world: int, width: int) -> dict[str, float]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    env = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
    env |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    if world > 1:
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(folder), str(width)],
            env=env | ({"RANK": str(rank), "LOCAL_RANK": str(rank)} if world > 1 else {}),
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    outputs = [rank.communicate(timeout=250)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * world
    found: dict[str, float] = json.loads(outputs[0])
    return found


@pytest.mark.parametrize(("world", "width"), [(1, 512), (2, 256), (2, 768)])
def test_added_to_each_step(tmp_path: object, figure: Figure, world: int, width: int) -> None:
    found = measured(tmp_path, world, width)
    added, step = found["added_s"], found["step_s"]
    figure(
        f"Session on, no save due, {world} rank{'s' * (world > 1)}, step of {step * 1e3:.1f} ms",
        f"{added * 1e6:.0f} +- {found['error_s'] * 1e6:.0f} us ({added / step:.2%}),"
        f" {found['added_cpu_s'] * 1e6:.0f} us of processor time",
        "<= 0.5 % or 100 us",
    )
    if world == 1:
        figure(
            "run.loader without workers, added to torch's DataLoader per batch of 16",
            f"{found['batch_s'] * 1e6:.0f} us",
            "-",
        )
