"""Reads a site's files closely: every rule over them, without starting anything. Pure."""

from collections.abc import Mapping

from slurmkit.errors import Problem
from slurmkit.site.generate.release import Release
from slurmkit.sitecheck import rules
from slurmkit.sitecheck.candidate import Candidate
from slurmkit.sitecheck.config import read_cluster
from slurmkit.sitecheck.registry import FAULTS, RULES, by_place, fault

NO_SLURM_CONF = fault(
    "no-slurm-conf",
    "The site has no slurm.conf.",
    "Add files/etc/slurm/slurm.conf; `slurmkit site generate` writes it from site.yaml.",
    group="Controller, folders and ports",
)

__all__ = ["FAULTS", "lint", "lint_candidate", "rules"]


def lint(files: Mapping[str, str], release: Release) -> list[Problem]:
    """Return what is wrong with Slurm's files.

    Args:
        files: texts by path; a name without a folder, such as ``slurm.conf``, lies in /etc/slurm.
        release: of Slurm, that is to read them.
    """
    return lint_candidate(Candidate.of(files), release)


def lint_candidate(candidate: Candidate, release: Release) -> list[Problem]:
    """Return what is wrong with a candidate, by file and line."""
    found = list(candidate.problems)
    cluster = read_cluster(candidate, release)
    if cluster is None:
        return [*found, NO_SLURM_CONF(f"{candidate.name} has no slurm.conf", None)]
    for rule in RULES:
        found += rule(cluster)
    return sorted(dict.fromkeys(found), key=by_place)
