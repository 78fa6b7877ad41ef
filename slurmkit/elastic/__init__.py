"""Nodes that are started when there is work and stopped when there is none."""
