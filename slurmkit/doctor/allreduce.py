"""A program of one MPI_Allreduce, for the doctor: each rank says who it is and what it got.

Run by the Python on PATH, which need not have slurmkit; it needs mpi4py.
"""

import os
import socket
import sys

MARK = "slurmkit-allreduce"


def main() -> int:
    """Add up the numbers of all ranks."""
    from mpi4py import MPI  # noqa: PLC0415 (whoever reads this file's MARK needs no MPI)

    world = MPI.COMM_WORLD
    rank, size = world.Get_rank(), world.Get_size()
    total = world.allreduce(rank + 1)
    host = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    library = MPI.Get_library_version().split(",")[0].splitlines()[0].strip("\0 ")
    sys.stdout.write(f"{MARK} {host} {rank} {size} {total} {library}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
