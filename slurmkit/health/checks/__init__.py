"""One check per module."""
