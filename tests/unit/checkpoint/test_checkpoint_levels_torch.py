"""Torch states through the node's folder: written there first, salvaged from there, read there."""

import shutil

import pytest

torch = pytest.importorskip("torch")

from slurmkit.checkpoint import fence  # noqa: E402
from slurmkit.checkpoint.local import LocalLevel  # noqa: E402
from slurmkit.checkpoint.store import CheckpointStore  # noqa: E402
from slurmkit.checkpoint.tensors.checkpointer import TensorCheckpointer  # noqa: E402


@pytest.fixture
def make(tmp_path):
    made = []

    def run(token, **options):
        fence.write_fence(tmp_path / "shared", token)
        store = CheckpointStore(tmp_path / "shared", token=token, keep=2)
        store.dir.sweep()
        made.append(TensorCheckpointer(store, local_dir=tmp_path / "node", timeout_s=30, **options))
        return made[-1]

    yield run
    for checkpointer in made:
        checkpointer.close()


def state(value):
    return {"w": torch.full((1000,), float(value)), "step": value}


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_save_that_reached_the_node_only_is_resumed_from(make, tmp_path, asynchronous):
    first = make("a/1", asynchronous=asynchronous)
    for step in (1, 2):
        handle = first.save(step, state(step), {"epoch": step})
        result = first.wait(30) if asynchronous else handle.result
        assert result is not None
        assert result.manifest is not None
        assert result.manifest.step == step
    level = LocalLevel.at(tmp_path / "node", tmp_path / "shared")
    assert [part.step for part in level.parts()] == [2]

    # As if the job had died after the node had step 2, and before the shared folder had it
    (part,) = level.parts()
    (part.folder.parent / "committed").unlink()
    shutil.rmtree(first.store.dir.step_path(2))
    second = make("b/1", asynchronous=asynchronous)
    newest = second.newest()
    assert newest is not None
    assert (newest.step, newest.incarnation, newest.extra) == (2, "b", {"epoch": 2})

    # The shared files are not even looked at: what the node has is sound and nearer
    near = second.store.nearer(newest)
    assert set(near.near) == {file.name for file in newest.files}
    loaded = second.load(2, state(0))
    assert torch.equal(loaded["w"], torch.full((1000,), 2.0))
    assert loaded["step"] == 2
