"""Checkpoints of torch programs: sharded, asynchronous, and loaded on any number of ranks."""
