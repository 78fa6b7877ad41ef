"""The supervisor: watches one launch, splits its output, and writes down how it went."""
