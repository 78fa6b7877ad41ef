"""Runs scenarios of several ranks: each rank a process of its own, joined by gloo."""

import multiprocessing
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

_SCENARIOS = Path(__file__).parent / "scenarios.py"
_TIMEOUT_S = 120
# torch loads the second one at the first DTensor, which takes a second
_PRELOAD = (
    "torch.distributed.fsdp",
    "torch._dynamo",
    "slurmkit.checkpoint.tensors.checkpointer",
    "pytest",
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Leave the other cores to the other tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def server() -> multiprocessing.context.ForkServerContext:
    """Start ranks from a process that has loaded torch once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOAD))
    return context


@pytest.fixture
def on_ranks(server, tmp_path) -> Callable[..., list[int | None]]:
    """Run a function of scenarios.py on so many ranks and return their exit codes."""
    count = 0

    def run(what: str, num_ranks: int, expect: int | None = 0, **told: object) -> list[int | None]:
        nonlocal count
        count += 1
        meeting = tmp_path / f"meeting-{count}"
        ranks = [
            server.Process(
                target=runpy.run_path,
                args=(str(_SCENARIOS),),
                kwargs={
                    "init_globals": {
                        "TOLD": {
                            "what": what,
                            "rank": rank,
                            "num_ranks": num_ranks,
                            "meeting": str(meeting),
                            "folder": str(tmp_path),
                            **told,
                        }
                    },
                    "run_name": "scenario",
                },
            )
            for rank in range(num_ranks)
        ]
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join(_TIMEOUT_S)
        codes = [rank.exitcode for rank in ranks]
        for rank in ranks:
            if rank.is_alive():
                rank.kill()
                rank.join()
        if expect is not None:
            assert codes == [expect] * num_ranks, f"{what}: exit codes {codes}; see stderr"
        return codes

    return run
