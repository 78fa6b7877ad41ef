"""From what a user asks for and what a cluster is to one plan: pure and deterministic."""
