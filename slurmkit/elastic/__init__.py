"""Nodes that are started when there is work, and stopped when there is none.

Slurm decides when. It calls the programs of plugins/elastic, these call ``slurmkit elastic``, and
that calls a driver, which knows how machines are started here. `driver` is the interface, `actions`
what is done around a call, `record` the log of them, `depth` tells from the queue when more nodes
would help.
"""
