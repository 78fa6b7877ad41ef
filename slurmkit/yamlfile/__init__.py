"""YAML that people write, read so that every error can name file, line and column."""
