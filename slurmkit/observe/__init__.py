"""Reads what a run has written down, and tells people what happened and where the time went."""
