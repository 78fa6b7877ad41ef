"""Which of Slurm's MPI plugins a program gets, and with which environment: a pure decision.

docs/reference/mpi.md shows it as a table, with the sources.
"""

from collections.abc import Iterable, Mapping

from slurmkit.mpi.found import Found
from slurmkit.record import Record

#: What each plugin of Slurm serves; pmi2 also speaks PMI-1's protocol.
_SERVES = {
    "pmix": ("pmix",),
    "pmi2": ("pmi2", "pmi1"),
    "cray_shasta": ("pmi2", "pmi1"),
    "none": (),
}


class Choice(Record):
    """How the ranks meet.

    Attributes:
        plugin: for ``srun --mpi``.
        why: one line for people.
        interface: the PMI that each rank finds then; empty for none.
        env: variables that the MPI needs for that.
    """

    plugin: str
    why: str
    interface: str = ""
    env: tuple[tuple[str, str], ...] = ()


class Refusal(Record):
    """Nothing fits.

    Attributes:
        reason: what is in the way, in one line.
        hint: what to do, in one line.
    """

    reason: str
    hint: str


def choose(
    found: Found | None,
    plugins: Iterable[str],
    *,
    wanted: str = "auto",
    libraries: Mapping[str, str] | None = None,
    num_ranks: int = 2,
) -> Choice | Refusal:
    """Return how the ranks of a program meet under srun.

    Args:
        found: the program's MPI; None when nobody knows.
        plugins: what ``srun --mpi=list`` names.
        wanted: the plugin that somebody named; ``auto`` for none.
        libraries: PMI libraries on this machine, for Intel MPI: ``pmi2``, ``pmi1`` or ``pmix`` ->
            file.
        num_ranks: a single rank needs nobody to meet.
    """
    there = {_plain(name) for name in plugins}
    if wanted != "auto":
        return _named(found, wanted, there, dict(libraries or {}), num_ranks)
    if found is None:
        best = next((name for name in ("pmix", "pmi2") if name in there), "none")
        if best == "none" and num_ranks > 1:
            return _nothing("the program's MPI", ("pmix", "pmi2"), there)
        return Choice(best, f"the program's MPI is not known, so the first of {_list(there)}",
                      _SERVES[best][0] if _SERVES[best] else "")  # fmt: skip
    tried: list[str] = []
    # Cray's plugin is only for Cray's own MPI.
    order = ("cray_shasta", "pmi2") if found.family == "cray" else ("pmix", "pmi2")
    for interface in found.interfaces:
        for plugin in order:
            if plugin not in there or interface not in _SERVES[plugin]:
                continue
            choice = _with_environment(found, plugin, interface, dict(libraries or {}))
            if isinstance(choice, Choice):
                return choice
            tried.append(choice.reason)
    if num_ranks == 1:
        return Choice("none", f"{found} has one rank, which meets nobody")
    if tried:
        return Refusal(tried[0], "name the library in I_MPI_PMI_LIBRARY, or use launcher: mpirun")
    return _nothing(str(found), _plugins_for(found), there)


def _named(
    found: Found | None, wanted: str, there: set[str], libraries: dict[str, str], num_ranks: int
) -> Choice | Refusal:
    """Hold a plugin that somebody named against the MPI."""
    plain = _plain(wanted)
    if there and plain not in there:
        return Refusal(
            f"Slurm has no MPI plugin {wanted!r} here; it has {_list(there)}",
            "write launch.mpi: auto, or launcher: mpirun",
        )
    serves = _SERVES.get(plain)
    if found is None or serves is None or num_ranks == 1:
        return Choice(wanted, f"launch.mpi says {wanted}", serves[0] if serves else "")
    interface = next((name for name in found.interfaces if name in serves), "")
    if not interface:
        fitting = [name for name in _plugins_for(found) if name in there]
        return Refusal(
            f"{found} cannot use Slurm's plugin {wanted}: each of {num_ranks} ranks would be a"
            " world of its own",
            f"write launch.mpi: {fitting[0] if fitting else 'auto'}"
            if fitting
            else "write launcher: mpirun",
        )
    choice = _with_environment(found, wanted, interface, libraries)
    if isinstance(choice, Choice):
        return choice.replace(why=f"{choice.why}; launch.mpi says so")
    return choice


def _with_environment(
    found: Found, plugin: str, interface: str, libraries: Mapping[str, str]
) -> Choice | Refusal:
    env: dict[str, str] = {}
    if found.family == "intel":
        library = libraries.get(interface, "")
        if not library:
            return Refusal(
                f"{found} needs Slurm's lib{interface.removesuffix('1')}.so for srun"
                f" --mpi={plugin}, and no such file was found",
                "name the library in I_MPI_PMI_LIBRARY",
            )
        env["I_MPI_PMI_LIBRARY"] = library
        if interface != "pmi1":
            env["I_MPI_PMI"] = interface
    words = {"pmix": "PMIx", "pmi2": "PMI-2", "pmi1": "PMI-1"}
    return Choice(
        plugin, f"{found} speaks {words[interface]}, which srun --mpi={plugin} serves", interface,
        tuple(env.items()),
    )  # fmt: skip


def _plugins_for(found: Found) -> tuple[str, ...]:
    names = ("pmix",) if found.interfaces == ("pmix",) else ("pmi2",)
    return ("pmix", *names) if "pmix" in found.interfaces and names != ("pmix",) else names


def _nothing(who: str, wants: Iterable[str], there: set[str]) -> Refusal:
    return Refusal(
        f"{who} needs Slurm's plugin {' or '.join(wants)}, and Slurm has only {_list(there)} here",
        "write launcher: mpirun, or ask for a Slurm with that plugin",
    )


def _plain(plugin: str) -> str:
    """Return ``pmix`` for ``pmix_v4``."""
    return plugin.partition("_v")[0] if plugin.startswith("pmix_v") else plugin


def _list(plugins: Iterable[str]) -> str:
    return ", ".join(sorted(plugins)) or "none"
