"""What a user asks for: job.yaml, with errors that name file, line and key."""
