"""Nodes that die, hang or lose their network while a program trains on them."""

import pytest

pytestmark = pytest.mark.slurm

SPARE = ["spare", "done"]


def test_the_node_of_a_rank_is_killed(lab, undisturbed) -> None:
    run = lab.train()
    run.until_step(lab.random.randrange(12, 40), rank=1)
    victim = run.nodes()[1]
    lab.cluster.kill(victim)
    run.until_done()
    run.check_trained(undisturbed())
    assert [record.fields["host"] for record in run.events("node_lost")] == [victim]
    assert run.decisions() == SPARE
    assert victim not in run.nodes()
    assert run.until_gone() == "COMPLETED 0:0"


def test_the_batch_host_is_killed(lab, undisturbed) -> None:
    run = lab.train()
    run.until_step(lab.random.randrange(12, 40))
    victim = run.batch_host()
    lab.cluster.kill(victim)
    run.until_done(120)
    run.check_trained(undisturbed())
    assert len({record.incarnation for record in run.ledger()}) == 2
    assert victim not in run.nodes()
    assert run.decisions()[-1] == "done"


def test_a_node_is_killed_during_a_commit(lab, undisturbed) -> None:
    """The shared folder is slow, so that a step is being written for most of the time."""
    disk = lab.cluster.make_disk(lab.folder.name[:28].lower().replace("_", "-"), slow=True)
    sections = {"checkpoint": f"dir: {disk.path}, every: 5 steps, keep: 1000"}
    run = lab.train(**sections)
    run.disk = disk.view
    run.until_event("checkpoint_committed")
    disk.slow(delay_s=0.02)

    def seen() -> list[object]:
        return list(disk.view.glob("step-*.tmp-*"))

    run.until(seen, 60, "a step that is being written")
    victim = run.nodes()[1]
    lab.cluster.kill(victim)
    disk.slow()
    run.until_done()
    run.check_trained(undisturbed())
    assert not seen(), "what was being written is swept"
    assert victim not in run.nodes()


def test_a_node_freezes(lab, undisturbed) -> None:
    run = lab.train()
    run.until_step(lab.random.randrange(12, 40), rank=1)
    victim = run.nodes()[1]
    lab.cluster.freeze(victim)
    run.until_done()
    lab.cluster.heal(victim)  # its ranks wake up: they may not commit, and are gone soon
    run.check_trained(undisturbed())
    assert [record.fields["host"] for record in run.events("node_lost")] == [victim]
    assert run.decisions() == SPARE
    assert run.until_gone() == "COMPLETED 0:0"


def test_a_node_is_cut_off_and_comes_back(lab, undisturbed) -> None:
    run = lab.train()
    run.until_step(lab.random.randrange(12, 40), rank=1)
    victim = run.nodes()[1]
    lab.cluster.partition(victim)
    lost = run.until_event("node_lost", host=victim)
    run.until(lambda: run.steps()[-1][0] > lost.time, 60, "a step after the loss")
    lab.cluster.heal(victim)
    run.until_done()
    run.check_trained(undisturbed())
    assert run.decisions() == SPARE
    assert victim not in run.nodes()
    assert run.until_gone() == "COMPLETED 0:0"


def test_without_a_spare_a_successor_goes_on(lab, undisturbed) -> None:
    resources = "nodes: 2, tasks_per_node: 1, cpus_per_task: 1, time: 10m"
    run = lab.train(resources=resources, resilience="on_node_failure: successor, heartbeat_s: 1")
    run.until_step(lab.random.randrange(12, 40), rank=1)
    victim = run.nodes()[1]
    lab.cluster.kill(victim)
    run.until_done()
    run.check_trained(undisturbed())
    assert run.decisions() == ["successor", "done"]
    (submitted,) = run.events("successor_submitted")
    assert submitted.fields["exclude"] == [victim]
    assert str(submitted.fields["job_id"]) != run.job_id
    assert victim not in run.nodes()


def test_without_a_spare_it_shrinks(lab) -> None:
    resources = "nodes: 3, tasks_per_node: 1, cpus_per_task: 1, time: 10m"
    run = lab.train(
        resources=resources, resilience="on_node_failure: shrink, min_nodes: 2, heartbeat_s: 1"
    )
    run.until_step(lab.random.randrange(8, 20), rank=2)
    victim = run.steps(2)[-1][3]
    lab.cluster.kill(victim)
    run.until_done()
    assert run.decisions() == ["shrink", "done"]
    assert victim not in run.nodes()
    run.check_commits()
    restored = run.events("first_step")[-1].fields["restored"]
    seen = run.samples_kept(range(3), {1: (0, restored), 2: (restored, 10**9)})
    assert seen == dict.fromkeys(range(48), 5), "each of 48 samples once per epoch"


@pytest.mark.long
def test_requeue_goes_on_with_the_same_job(lab, undisturbed) -> None:
    resources = "nodes: 2, tasks_per_node: 1, cpus_per_task: 1, time: 10m"
    run = lab.train(resources=resources, resilience="on_node_failure: requeue, heartbeat_s: 1")
    run.until_step(lab.random.randrange(12, 40), rank=1)
    victim = run.nodes()[1]
    lab.cluster.kill(victim)
    run.until_event("requeued")
    run.until(run.waits, 60, "the job is pending")
    run.hurry()
    run.until_done()
    run.check_trained(undisturbed())
    assert run.decisions() == ["requeue", "done"]
    assert {r.incarnation.split(".")[0] for r in run.ledger()} == {run.job_id}
