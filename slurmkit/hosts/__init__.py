"""MPI on hosts without Slurm: which there are, whether SSH reaches them, what starts the ranks."""
