"""MPI on hosts without Slurm: SSH, hostfile, mpirun, and the tidying up after."""
