"""Storage that is full, slow, or gives back something else than was written."""

import re

import pytest

pytestmark = pytest.mark.slurm


def test_a_full_disk_fails_the_save_not_the_job(lab, undisturbed) -> None:
    disk = lab.cluster.make_disk("full", size_mib=64)
    run = lab.train(
        "train", "--pace", 0.1, checkpoint=f"dir: {disk.path}, every: 5 steps, keep: 1000"
    )
    run.disk = disk.view
    first = run.until_event("checkpoint_committed")
    disk.fill()
    failed = run.until_event("checkpoint_failed")
    assert re.search("0 left|[Nn]o space", failed.fields["error"])
    disk.free()
    run.until(
        lambda: run.events("checkpoint_committed")[-1].time > failed.time, 60, "a commit after it"
    )
    run.until_done()
    run.check_trained(undisturbed())
    assert run.decisions() == ["done"], "the job never noticed"
    assert first.fields["step"] < failed.fields["step"]
    assert not list(disk.view.glob("step-*.tmp-*"))


def test_a_slow_shared_folder_slows_nothing_else(lab, undisturbed) -> None:
    disk = lab.cluster.make_disk("slow-folder", slow=True)
    run = lab.train(
        "train",
        "--pace",
        0.1,
        checkpoint=f"dir: {disk.path}, every: 5 steps, keep: 1000",
        resilience="on_node_failure: spare, heartbeat_s: 1, hang: auto",
    )
    run.disk = disk.view
    run.until_event("checkpoint_committed")
    disk.slow(delay_s=0.05)
    run.until_step(50)
    disk.slow()
    run.until_done()
    run.check_trained(undisturbed())
    assert run.decisions() == ["done"], "slow is not dead"


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "kind",
    ["flip", pytest.param("truncate", marks=LONG), pytest.param("missing", marks=LONG), "swap"],
)
def test_a_damaged_step_is_set_aside(lab, undisturbed, kind: str) -> None:
    run = lab.train("train", "--fault", f"{kind}:0:38")
    run.until_done()
    run.check_trained(undisturbed())
    (record,) = run.events("checkpoint_quarantined")
    damaged = record.fields["step"]
    told = [r.fields["step"] for r in run.events("checkpoint_committed") if r.attempt == 1]
    assert damaged == told[-1]
    assert record.fields["why"]
    kept = list((run.path / "ckpt" / "quarantine").iterdir())
    assert [path.name.startswith(f"step-{damaged:010d}") for path in kept] == [True]
    first = [r.fields["restored"] for r in run.events("first_step")]
    assert first == [None, told[-2]]
    assert run.decisions() == ["relaunch", "done"]
