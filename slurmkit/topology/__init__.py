"""A node's GPUs, NICs, NUMA nodes and cores: the model, where it comes from, and what follows."""
