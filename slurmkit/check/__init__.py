"""Holds a job against the live cluster and this machine before anything is submitted."""

from slurmkit.check.engine import CHECKS, check_job
from slurmkit.check.facts import Facts
from slurmkit.check.gather import gather_facts

__all__ = ["CHECKS", "Facts", "check_job", "gather_facts"]
