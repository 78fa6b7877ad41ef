"""Whether a rank's surroundings are those that its MPI expects; decided before the program starts.

An MPI that does not find its launcher may start each rank as a world of its own, without a word:
MPICH does, and Open MPI from release 5 on (open-mpi/ompi issue 13523).
"""

from collections.abc import Mapping

#: What people call the kinds of PMI.
PMI_NAMES = {"pmix": "PMIx", "pmi2": "PMI-2", "pmi1": "PMI-1"}


def meeting_place(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the PMIs that a launcher has prepared this process for."""
    found = []
    if env.get("PMIX_NAMESPACE") or env.get("PMIX_RANK"):
        found.append("pmix")
    if env.get("PMI_FD") or env.get("PMI_PORT"):
        # Slurm's pmi2 and Hydra answer both protocols on it.
        found += ["pmi2", "pmi1"]
    return tuple(found)


def mismatch(family: str, interfaces: tuple[str, ...], env: Mapping[str, str]) -> str:
    """Return why the ranks of a program will not meet; empty when they may.

    Args:
        family: whose MPI the program is linked with, as ``elf.family_of`` says; empty: not known.
        interfaces: the PMIs that its MPI speaks; empty when that is not known.
        env: the environment of the rank.
    """
    there = meeting_place(env)
    if not interfaces and family:
        # Open MPI 4 may have been built with PMI-2, and MPICH with PMIx: only a rank that finds
        # nothing at all is lost for certain.
        interfaces = tuple(PMI_NAMES)
    if not interfaces or set(interfaces) & set(there):
        return ""
    speaks = " or ".join(PMI_NAMES[name] for name in interfaces)
    offers = " and ".join(PMI_NAMES[name] for name in there) or "none"
    return f"its MPI speaks {speaks}, but the launcher offers {offers}"
