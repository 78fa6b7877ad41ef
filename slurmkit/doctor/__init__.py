"""Every link of the chain from the driver to MPI_Allreduce, on each node and between the nodes."""
