"""The roll call before a launch, and the count of tasks that still live."""

import asyncio

from slurmkit.health.verdict import DRAIN, FAIL, NOTE, REFUSE, WARN, Verdict
from slurmkit.supervise.nodes import LiveTasks, Roll

BAD_GPU = Verdict("gpu-count", FAIL, "7 of 8 GPUs", REFUSE)


def test_all_are_there() -> None:
    async def main() -> dict[str, str]:
        roll = Roll(["n1", "n2"])
        roll.up("n1", ())
        roll.up("n2", (Verdict("clock", WARN, "2 s off"), Verdict("disk", FAIL, "full", NOTE)))
        return await roll.complete(5)

    assert asyncio.run(main()) == {}


def test_a_failed_check_and_a_loss_and_silence_are_told_apart() -> None:
    async def main() -> dict[str, str]:
        roll = Roll(["n1", "n2", "n3", "n4"])
        roll.up("n1", (BAD_GPU, Verdict("ecc", FAIL, "3 errors", DRAIN)))
        roll.lost("n2", "silent")
        roll.up("n4", ())
        roll.lost("n4", "too late to count here: the policy hears of it itself")
        return await roll.complete(0.01)

    bad = asyncio.run(main())
    assert set(bad) == {"n1", "n2", "n3"}
    assert "gpu-count: 7 of 8 GPUs; ecc: 3 errors" in bad["n1"]
    assert bad["n2"] == "silent"
    assert "no agent of it has answered within 0.01 s" in bad["n3"]


def test_tasks_are_waited_for_but_not_those_of_dead_nodes() -> None:
    async def main() -> None:
        tasks = LiveTasks()
        tasks.up(0, "n1", 10)
        tasks.up(1, "n2", 11)
        assert tasks.hosts([1, 0, 7]) == ("n2", "n1")
        tasks.lost("n2")
        assert not await tasks.all_gone(0.01)
        asyncio.get_running_loop().call_later(0.05, tasks.gone, "n1", 10)
        assert await tasks.all_gone(5)
        tasks.gone("n9", 1)  # nobody knows it

    asyncio.run(main())


def test_nothing_to_wait_for() -> None:
    assert asyncio.run(LiveTasks().all_gone(0.0))
    assert asyncio.run(Roll(()).complete(0.0)) == {}
