"""Ranks that die, hang, or hold a bug."""

import pytest

pytestmark = pytest.mark.slurm


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.long), 1])
def test_one_rank_is_killed(lab, undisturbed, rank: int) -> None:
    step = lab.random.randrange(12, 50)
    run = lab.train("train", "--fault", f"kill:{rank}:{step}")
    run.until_done()
    run.check_trained(undisturbed())
    assert run.decisions() == ["relaunch", "done"]
    assert run.events("node_lost", "node_excluded") == []
    assert run.until_gone() == "COMPLETED 0:0"


def test_a_rank_hangs(lab, undisturbed) -> None:
    step = lab.random.randrange(12, 50)  # with a save that is due, and without
    run = lab.train(
        "train",
        "--fault",
        f"hang:1:{step}",
        resilience="on_node_failure: spare, heartbeat_s: 1, hang: 25s",
    )
    hang = run.until_event("hang")
    run.until_done()
    run.check_trained(undisturbed())
    assert run.decisions() == ["relaunch", "done"]
    stacks = run.texts(hang.fields["stacks"])
    assert len(stacks) == 2, "one of each rank"
    assert any("break_down" in stack for stack in stacks), "the stack says where it hung"


def test_a_bug_is_tried_again_but_not_for_ever(lab) -> None:
    run = lab.train("train", "--fault", "raise!:1:17")
    last = run.until_stopped()
    # On a busy machine a save may need a second start: what was committed is progress.
    newest = max((record.seq for record in run.events("checkpoint_committed")), default=0)
    tries = [record for record in run.events("decision") if record.seq > newest]
    assert 2 <= len(tries) <= 3, run.said()  # once or twice again, then the stop
    assert "ValueError" in last.fields["reason"]
    assert "bad value at step 17" in last.fields["reason"] + str(run.events("failure")[-1].fields)
    state, code = run.until_gone().split()
    assert (state, code) == ("FAILED", "1:0")
    run.check_commits()
    # A save that was still in flight at step 15 lets the next begin a step later.
    assert run.committed()[-1]["step"] in (15, 16)


@pytest.mark.long
def test_a_bug_that_goes_away_costs_one_restart(lab, undisturbed) -> None:
    run = lab.train("train", "--fault", "raise:0:23")
    run.until_done()
    run.check_trained(undisturbed())
    assert run.decisions() == ["relaunch", "done"]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_fifty_transient_faults_with_progress_never_stop_it(lab, undisturbed) -> None:
    options = ("--epochs", 14)
    faults = ";".join(f"connection:{k % 2}:{3 * k + 7}" for k in range(50))
    run = lab.train(
        "train",
        *options,
        "--fault",
        faults,
        checkpoint="dir: ckpt, every: 2 steps, keep: 1000",
        resources="nodes: 2, spares: 1, tasks_per_node: 1, cpus_per_task: 1, time: 60m",
        resilience="on_node_failure: spare, heartbeat_s: 1, max_restarts: 2",
    )
    run.until_done(1500)
    run.check_trained(undisturbed(*options))
    assert run.decisions() == ["relaunch"] * 50 + ["done"]
