"""Every link from driver to MPI_Allreduce, on every node, compared between nodes."""
