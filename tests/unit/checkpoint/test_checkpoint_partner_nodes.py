"""Two ranks that believe to be on two nodes: one node is lost, and the job resumes all the same."""

import os
import shutil
import socket
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("torch")

RANK = """
    import os, sys
    from pathlib import Path
    import torch, torch.distributed as dist
    from slurmkit.checkpoint.store import CheckpointStore
    from slurmkit.checkpoint.tensors.checkpointer import TensorCheckpointer

    folder, node, token = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    store = CheckpointStore(folder / "shared", token=token)
    saver = TensorCheckpointer(store, local_dir=folder / node, partner=True, timeout_s=60)
    newest = saver.newest()
    state = {"w": torch.zeros(1000), "mine": torch.zeros(10)}
    if newest is not None:
        state = saver.load(newest.step, state)
        print(f"rank {rank} resumed {newest.step} of {state['w'].sum().item():.0f}")
    else:
        for step in (1, 2):
            saver.save(step, {"w": torch.full((1000,), float(step)), "mine": torch.ones(10)}, {})
            result = saver.wait(60)
            assert result is not None and result.error is None, result
        print(f"rank {rank} saved")
    dist.barrier()
    saver.close()
    dist.destroy_process_group()
"""


@pytest.mark.long
def test_after_the_loss_of_a_node_its_partner_has_what_the_shared_folder_has_not(tmp_path):
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("a host name per rank needs root and unshare")
    program = tmp_path / "rank.py"
    program.write_text(textwrap.dedent(RANK))

    def start(nodes: list[str], token: str) -> str:
        (tmp_path / "shared").mkdir(exist_ok=True)
        (tmp_path / "shared" / "fence").write_text(token + "\n")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        ranks = []
        for rank, node in enumerate(nodes):
            told = {"RANK": rank, "WORLD_SIZE": len(nodes), "MASTER_PORT": port}
            env = {**os.environ, **{k: str(v) for k, v in told.items()}, "OMP_NUM_THREADS": "1"}
            command = f'hostname {node} && exec "$0" "$@"'
            argv = [sys.executable, program, tmp_path, node, token]
            ranks.append(
                subprocess.Popen(
                    ["unshare", "--uts", "sh", "-c", command, *argv],
                    env={**env, "MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        said = "".join(rank.communicate(timeout=120)[0] for rank in ranks)
        assert [rank.returncode for rank in ranks] == [0, 0], said
        return said

    said = start(["node-a", "node-b"], "a/1")
    assert "has no copy at the partner" not in said
    for node in ("node-a", "node-b"):
        parts = sorted((tmp_path / node).glob("slurmkit-*/*/step-0000000002*/part-*.json"))
        assert [part.name for part in parts] == ["part-00000.json", "part-00001.json"]

    # As if node-a had been lost before step 2 reached the shared folder
    shutil.rmtree(tmp_path / "shared" / "step-0000000002")
    shutil.rmtree(tmp_path / "node-a")
    for marker in (tmp_path / "node-b").glob("slurmkit-*/*/step-0000000002*/committed"):
        marker.unlink()
    said = start(["node-b", "node-c"], "b/1")
    assert "rank 0 resumed 2 of 2000" in said
    assert "rank 1 resumed 2 of 2000" in said
