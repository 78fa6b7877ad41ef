"""Programs that use none of slurmkit's API are supervised all the same."""

import pytest

pytestmark = pytest.mark.slurm


def test_an_undisturbed_run(lab) -> None:
    run = lab.plain()
    run.until_done()
    run.check_plain()
    assert run.decisions() == ["done"]
    assert run.until_gone() == "COMPLETED 0:0"


def test_its_node_is_killed(lab) -> None:
    run = lab.plain()
    run.until_step(lab.random.randrange(8, 30), rank=1)
    victim = run.nodes()[1]
    lab.cluster.kill(victim)
    run.until_done()
    run.check_plain()
    assert [record.fields["host"] for record in run.events("node_lost")] == [victim]
    assert run.decisions() == ["spare", "done"]
    assert victim not in run.nodes()
    assert run.until_gone() == "COMPLETED 0:0"


def test_its_batch_host_is_killed(lab) -> None:
    run = lab.plain("plain", "--pace", 0.1)
    run.until_step(lab.random.randrange(8, 20))
    victim = run.batch_host()
    lab.cluster.kill(victim)
    run.until_done(120)
    run.check_plain()
    assert len({record.incarnation for record in run.ledger()}) == 2
    assert victim not in run.nodes()
    assert run.decisions()[-1] == "done"


@pytest.mark.parametrize("rank", [0, 1])
def test_one_of_its_ranks_is_killed(lab, rank: int) -> None:
    run = lab.plain("plain", "--fault", f"kill:{rank}:{lab.random.randrange(3, 55)}")
    run.until_done()
    run.check_plain()
    assert run.decisions() == ["relaunch", "done"]
    assert run.events("node_lost", "node_excluded") == []


def test_its_bug_is_tried_again_but_not_for_ever(lab) -> None:
    # Not within a second of a start: srun may then lose the end of the traceback.
    run = lab.plain("plain", "--fault", "raise!:1:40", "--save-every", 100)
    last = run.until_stopped()
    assert run.decisions().count("relaunch") <= 2
    assert "bad value at step 40" in last.fields["reason"], run.said()
    assert run.until_gone() == "FAILED 1:0"


def test_it_hangs(lab) -> None:
    """It tells of no steps: what it prints is its only sign of life, for a limit that is given."""
    run = lab.plain(
        "plain",
        "--fault",
        "hang:0:17",
        resilience="on_node_failure: spare, heartbeat_s: 1, hang: 8s",
    )
    run.until_done(120)
    run.check_plain()
    assert run.decisions() == ["relaunch", "done"]
    assert run.events("hang")
