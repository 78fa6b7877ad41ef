"""Which of Slurm's MPI plugins a program gets, and with which environment: a pure decision.

docs/reference/mpi.md shows it as a table, with the sources.
"""

from collections.abc import Iterable, Mapping

from slurmkit.mpi.found import Found
from slurmkit.mpi.match import PMI_NAMES
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
        return _named(found, wanted, there, libraries or {}, num_ranks)
    if found is None:
        return _unknown(there, num_ranks)
    # Cray's plugin is only for Cray's own MPI.
    order = ("cray_shasta", "pmi2") if found.family == "cray" else ("pmix", "pmi2")
    chosen = _first(found, [plugin for plugin in order if plugin in there], libraries or {})
    if num_ranks == 1 and not isinstance(chosen, Choice):
        return Choice("none", f"{found} has one rank, which meets nobody")
    return chosen or _nothing(str(found), _plugins_for(found), there)


def _unknown(there: set[str], num_ranks: int) -> Choice | Refusal:
    """Choose for a program whose MPI nobody knows."""
    best = next((name for name in ("pmix", "pmi2") if name in there), "none")
    if best == "none" and num_ranks > 1:
        return _nothing("the program's MPI", ("pmix", "pmi2"), there)
    why = f"the program's MPI is not known, so the first of {_list(there)}"
    return Choice(best, why, _SERVES[best][0] if _SERVES[best] else "")


def _named(
    found: Found | None, wanted: str, there: set[str], libraries: Mapping[str, str], num_ranks: int
) -> Choice | Refusal:
    """Hold a plugin that somebody named against the MPI."""
    if there and _plain(wanted) not in there:
        return Refusal(
            f"Slurm has no MPI plugin {wanted!r} here; it has {_list(there)}",
            "write launch.mpi: auto, or launcher: mpirun",
        )
    serves = _SERVES.get(_plain(wanted))
    if found is None or serves is None or num_ranks == 1:
        return Choice(wanted, f"launch.mpi says {wanted}", serves[0] if serves else "")
    chosen = _first(found, [wanted], libraries)
    if isinstance(chosen, Choice):
        return chosen.replace(why=f"{chosen.why}; launch.mpi says so")
    if chosen is not None:
        return chosen
    fitting = [name for name in _plugins_for(found) if name in there]
    return Refusal(
        f"{found} cannot use Slurm's plugin {wanted}: each of {num_ranks} ranks would be a"
        " world of its own",
        f"write launch.mpi: {fitting[0]}" if fitting else "write launcher: mpirun",
    )


def _first(
    found: Found, plugins: Iterable[str], libraries: Mapping[str, str]
) -> Choice | Refusal | None:
    """Return the first way that an MPI and these plugins have in common; None for none.

    When all that they have needs a library that is not here, it is a refusal that names the first.
    """
    missing = None
    for interface in found.interfaces:
        for plugin in plugins:
            if interface in _SERVES[_plain(plugin)]:
                chosen = _with_environment(found, plugin, interface, libraries)
                if isinstance(chosen, Choice):
                    return chosen
                missing = missing or chosen
    return missing


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
                "name the library in I_MPI_PMI_LIBRARY, or use launcher: mpirun",
            )
        env["I_MPI_PMI_LIBRARY"] = library
        if interface != "pmi1":
            env["I_MPI_PMI"] = interface
    why = f"{found} speaks {PMI_NAMES[interface]}, which srun --mpi={plugin} serves"
    return Choice(plugin, why, interface, tuple(env.items()))


def _plugins_for(found: Found) -> tuple[str, ...]:
    return tuple(
        name for name in ("pmix", "pmi2") if not set(_SERVES[name]).isdisjoint(found.interfaces)
    )


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
