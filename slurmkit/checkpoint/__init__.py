"""Checkpoints that count only when they are whole, verified and durable."""
