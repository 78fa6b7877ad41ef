"""MPI libraries: which one a program uses, and how its ranks meet; a leaf that knows no jobs."""
