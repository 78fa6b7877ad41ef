"""Jobs that are told to end: by a person, by the time limit, by a more important job."""

import time

import pytest

pytestmark = pytest.mark.slurm


def test_a_bare_term_saves_and_stops(lab) -> None:
    run = lab.train()
    run.until_step(lab.random.randrange(12, 40))
    lab.slurm("scancel", "--batch", "--signal=TERM", run.job_id)
    run.until_stopped()
    done = max(step for _, step, *_ in run.steps())
    run.check_commits()
    assert run.committed()[-1]["step"] == done, run.said()
    assert run.events("warned")
    run.until_gone()


def test_scancel_ends_it_for_good(lab) -> None:
    run = lab.train()
    run.until_step(lab.random.randrange(12, 40))
    lab.slurm("scancel", run.job_id)
    state = run.until_gone().split()[0]
    assert state == "CANCELLED"
    assert "relaunch" not in run.decisions()
    assert run.events("attempt_ended")[-1].fields["state"] == "cancelled", run.said()
    run.check_commits()


def test_preemption_saves_and_goes_on(lab, undisturbed) -> None:
    run = lab.train(resilience="on_node_failure: spare, then: [requeue], heartbeat_s: 1")
    run.until_step(lab.random.randrange(12, 40))
    lab.cluster.preempt(run.job_id, hold_s=2)
    done = max(step for _, step, *_ in run.steps())
    # Or what was being saved at that moment, when no other save was begun.
    assert done - 5 < run.committed()[-1]["step"] <= done, run.said()
    run.until(run.waits, 30, "the job is pending")
    run.hurry()
    run.until_done()
    run.check_trained(undisturbed())
    assert len({record.incarnation for record in run.ledger()}) == 2


def test_without_resilience_preemption_saves_and_goes_on(lab, undisturbed) -> None:
    """A job that has only checkpoints ends before Slurm kills it, and is requeued all the same."""
    run = lab.train(
        resilience="", resources="nodes: 2, tasks_per_node: 1, cpus_per_task: 1, time: 10m"
    )
    run.until_step(lab.random.randrange(12, 40))
    lab.cluster.preempt(run.job_id, hold_s=2)
    run.until(run.waits, 30, "the job is pending")
    assert run.events("attempt_ended")[-1].fields["state"] == "preempted"
    run.hurry()
    run.until_event("attempt_ended", 120, state="completed")
    run.check_trained(undisturbed())
    assert [record.fields["restart_count"] for record in run.events("incarnation_started")] == [
        0,
        1,
    ]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_time_limit_saves_and_goes_on(lab, undisturbed) -> None:
    resources = "nodes: 2, tasks_per_node: 1, cpus_per_task: 1, time: 2m"
    run = lab.train(
        "train",
        "--epochs",
        20,
        "--pace",
        1.0,
        resources=resources,
        resilience="on_node_failure: successor, heartbeat_s: 1",
    )
    warned = run.until_event("warned", 200)
    assert warned.fields["deadline"] > time.time()
    run.until_event("successor_submitted", 60)
    run.until_done(400)
    run.check_trained(undisturbed("--epochs", 20))


def test_a_second_signal_during_a_save_starts_no_other(lab, undisturbed) -> None:
    disk = lab.cluster.make_disk("second-signal", slow=True)
    sections = {"checkpoint": f"dir: {disk.path}, every: 1000 steps, keep: 1000"}
    run = lab.train(**sections)
    run.disk = disk.view
    run.until_step(lab.random.randrange(12, 40))
    disk.slow(delay_s=0.03)
    lab.slurm("scancel", "--batch", "--signal=TERM", run.job_id)
    run.until(lambda: list(disk.view.glob("step-*.tmp-*")), 30, "a save has begun")
    lab.slurm("scancel", "--batch", "--signal=TERM", run.job_id)
    lab.slurm("scancel", "--signal=TERM", run.job_id)
    run.until_stopped()
    disk.slow()
    steps = {path.name.partition(".")[0] for path in disk.view.glob("step-*")}
    assert len(steps) <= 1, "one save, or none that counts"
    run.check_commits()
    run.until_gone()
