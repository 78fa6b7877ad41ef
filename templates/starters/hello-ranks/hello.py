"""Print one line per rank: who it is, where it runs, and what Slurm gave it there."""

import os
import socket
import sys

# What `slurmkit exec` sets for every task, by whichever launcher; MASTER_* is where the ranks meet.
IDENTITY = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK")
MEETING = ("MASTER_ADDR", "MASTER_PORT")


def main() -> int:
    """Print the line; return 2 when no launcher has told this process its place."""
    missing = [name for name in IDENTITY + MEETING if name not in os.environ]
    if missing:
        print(
            f"hello.py: {', '.join(missing)} not set: start me through `slurmkit submit`"
            " or `slurmkit run`",
            file=sys.stderr,
        )
        return 2
    rank, size, local_rank, local_size, node = (os.environ[name] for name in IDENTITY)
    # The mask of this process, not the count of the node: it shows what Slurm bound the rank to.
    cpus = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0)))
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
    print(
        f"{os.environ.get('GREETING', 'hello')} from rank {rank} of {size}:"
        f" node {node} ({socket.gethostname()}), local rank {local_rank} of {local_size},"
        f" cpus {cpus}, gpus {gpus},"
        f" meeting at {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}",
        flush=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
