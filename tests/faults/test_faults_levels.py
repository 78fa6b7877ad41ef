"""Saves that go to the nodes first: what only nodes have when one of them dies is not lost."""

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.long]


def parts(cluster, node: str) -> dict[int, set[int]]:
    """The finished parts in a node's /tmp: ranks by step."""
    names = cluster.exec(
        node, ["find", "/tmp", "-path", "*/slurmkit-*", "-name", "part-*.json"], timeout=30
    ).stdout.split()
    found: dict[int, set[int]] = {}
    for name in names:
        step, rank = name.split("/step-")[1][:10], name.rsplit("/part-", 1)[1][:5]
        found.setdefault(int(step), set()).add(int(rank))
    return found


def test_what_only_the_nodes_have_is_salvaged_after_the_loss_of_one(lab, undisturbed) -> None:
    disk = lab.cluster.make_disk(lab.folder.name[:20].lower().replace("_", "-"), slow=True)
    levels = "levels: [nvme, partner, shared]"
    run = lab.train(
        "train",
        "--pace",
        0.1,
        checkpoint=f"dir: {disk.path}, every: 5 steps, keep: 1000, {levels}",
    )
    run.disk = disk.view
    run.until_event("checkpoint_committed")
    nodes = run.nodes()
    disk.slow(delay_s=0.2)

    def ahead() -> int | None:
        held = [parts(lab.cluster, node) for node in nodes]
        done = max((manifest["step"] for manifest in run.committed()), default=-1)
        both = [step for step in held[0] if held[0][step] == held[1].get(step) == {0, 1}]
        return max((step for step in both if step > done), default=None)

    step = run.until(ahead, 60, "a step that is on both nodes and not in the shared folder")
    lab.cluster.kill(nodes[1])
    run.until_event("node_lost", host=nodes[1])
    disk.slow()
    run.until_done()
    run.check_trained(undisturbed())
    restored = [record.fields["restored"] for record in run.events("first_step")]
    assert restored == [None, step]
    assert f"step {step} was salvaged from the nodes" in run.said()
