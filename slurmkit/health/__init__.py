"""Checks of a node, one per file in ``checks``, and what their verdicts mean."""
