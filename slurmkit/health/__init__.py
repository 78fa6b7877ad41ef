"""Checks of a node, one per module, and what their verdicts mean."""
