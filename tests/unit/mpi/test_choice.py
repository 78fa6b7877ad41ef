"""The table of docs/reference/mpi.md: MPI and Slurm's plugins -> what is done."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.mpi.choice import Choice, Refusal, choose
from slurmkit.mpi.found import NAMES, Found

OMPI_4 = Found("openmpi", "4.1.4", ("pmix",))
OMPI_4_PMI = Found("openmpi", "4.1.4", ("pmix", "pmi2", "pmi1"))
OMPI_5 = Found("openmpi", "5.0.3", ("pmix",))
OMPI_6 = Found("openmpi", "6.0.0rc2", ("pmix",))
MPICH = Found("mpich", "4.0.2", ("pmi2", "pmi1"))
MPICH_PMIX = Found("mpich", "4.1.2", ("pmix",))
INTEL = Found("intel", "2021.10", ("pmi2", "pmi1", "pmix"))
MVAPICH = Found("mvapich", "2.3.7", ("pmi2", "pmi1"))
CRAY = Found("cray", "8.1.25", ("pmi2", "pmi1"))

DEBIAN_12 = {"none", "pmi2", "pmix", "pmix_v4", "cray_shasta"}
DEBIAN_13 = {"none", "pmix", "pmix_v5"}
DEBIAN_TESTING = {"none", "pmi2", "cray_shasta"}
BARE = {"none"}
SLURMS_OWN = {"pmi2": "/usr/lib64/libpmi2.so", "pmi1": "/usr/lib64/libpmi.so"}


@pytest.mark.parametrize(
    ("found", "plugins", "plugin", "interface"),
    [
        (OMPI_4, DEBIAN_12, "pmix", "pmix"),
        (OMPI_4, {"none", "pmix_v4"}, "pmix", "pmix"),
        (OMPI_4_PMI, DEBIAN_12, "pmix", "pmix"),
        (OMPI_4_PMI, DEBIAN_TESTING, "pmi2", "pmi2"),
        (OMPI_5, DEBIAN_13, "pmix", "pmix"),
        (OMPI_6, DEBIAN_12, "pmix", "pmix"),
        (MPICH, DEBIAN_12, "pmi2", "pmi2"),
        (MPICH, DEBIAN_TESTING, "pmi2", "pmi2"),
        (MPICH_PMIX, DEBIAN_12, "pmix", "pmix"),
        (MVAPICH, DEBIAN_12, "pmi2", "pmi2"),
        (CRAY, DEBIAN_12, "cray_shasta", "pmi2"),
        (CRAY, {"none", "pmi2"}, "pmi2", "pmi2"),
        (None, DEBIAN_12, "pmix", "pmix"),
        (None, DEBIAN_TESTING, "pmi2", "pmi2"),
    ],
)
def test_what_fits_is_taken(
    found: Found | None, plugins: set[str], plugin: str, interface: str
) -> None:
    chosen = choose(found, plugins)
    assert isinstance(chosen, Choice)
    assert (chosen.plugin, chosen.interface, chosen.env) == (plugin, interface, ())
    assert "\n" not in chosen.why


@pytest.mark.parametrize(
    ("found", "plugins", "words"),
    [
        (OMPI_4, DEBIAN_TESTING, "Open MPI 4.1.4 needs Slurm's plugin pmix"),
        (OMPI_6, DEBIAN_TESTING, "has only cray_shasta, none, pmi2 here"),
        (MPICH, DEBIAN_13, "MPICH 4.0.2 needs Slurm's plugin pmi2"),
        (MVAPICH, BARE, "has only none here"),
        (None, BARE, "the program's MPI needs Slurm's plugin pmix or pmi2"),
    ],
)
def test_nothing_fits(found: Found | None, plugins: set[str], words: str) -> None:
    refused = choose(found, plugins)
    assert isinstance(refused, Refusal)
    assert words in refused.reason
    assert "mpirun" in refused.hint


def test_intel_mpi_is_told_slurms_library() -> None:
    chosen = choose(INTEL, DEBIAN_12, libraries=SLURMS_OWN)
    assert isinstance(chosen, Choice)
    assert chosen.plugin == "pmi2"
    assert dict(chosen.env) == {"I_MPI_PMI_LIBRARY": "/usr/lib64/libpmi2.so", "I_MPI_PMI": "pmi2"}
    chosen = choose(INTEL, DEBIAN_12, libraries={"pmi1": "/usr/lib64/libpmi.so"})
    assert isinstance(chosen, Choice)
    assert dict(chosen.env) == {"I_MPI_PMI_LIBRARY": "/usr/lib64/libpmi.so"}
    chosen = choose(INTEL, DEBIAN_13, libraries={"pmix": "/usr/lib64/libpmix.so"})
    assert isinstance(chosen, Choice)
    assert chosen.plugin == "pmix"
    assert dict(chosen.env)["I_MPI_PMI"] == "pmix"
    chosen = choose(INTEL, DEBIAN_12, wanted="pmi2", libraries={"pmi1": "/usr/lib64/libpmi.so"})
    assert isinstance(chosen, Choice), "a plugin that is named is used as auto would use it"
    assert dict(chosen.env) == {"I_MPI_PMI_LIBRARY": "/usr/lib64/libpmi.so"}
    refused = choose(INTEL, DEBIAN_12)
    assert isinstance(refused, Refusal)
    assert "libpmi2.so" in refused.reason
    assert "I_MPI_PMI_LIBRARY" in refused.hint


@pytest.mark.parametrize(
    ("found", "wanted", "fits"),
    [
        (OMPI_4, "pmi2", "pmix"),
        (OMPI_4, "none", "pmix"),
        (MPICH, "pmix", "pmi2"),
        (MPICH, "pmix_v4", "pmi2"),
        (MPICH, "none", "pmi2"),
    ],
)
def test_a_plugin_that_is_named_is_held_against_the_mpi(
    found: Found, wanted: str, fits: str
) -> None:
    refused = choose(found, DEBIAN_12, wanted=wanted, num_ranks=8)
    assert isinstance(refused, Refusal)
    assert f"cannot use Slurm's plugin {wanted}" in refused.reason
    assert "8 ranks" in refused.reason
    assert refused.hint == f"write launch.mpi: {fits}"


@pytest.mark.parametrize(
    ("found", "wanted"), [(OMPI_4, "pmix_v4"), (MPICH, "pmi2"), (None, "pmix"), (None, "none")]
)
def test_a_plugin_that_is_named_and_fits_is_taken_as_it_stands(
    found: Found | None, wanted: str
) -> None:
    chosen = choose(found, DEBIAN_12, wanted=wanted)
    assert isinstance(chosen, Choice)
    assert chosen.plugin == wanted


def test_a_plugin_that_is_not_there_is_refused() -> None:
    refused = choose(MPICH, DEBIAN_13, wanted="pmi2")
    assert isinstance(refused, Refusal)
    assert "Slurm has no MPI plugin 'pmi2' here; it has none, pmix" in refused.reason


def test_one_rank_meets_nobody() -> None:
    chosen = choose(MPICH, BARE, num_ranks=1)
    assert isinstance(chosen, Choice)
    assert chosen.plugin == "none"
    assert isinstance(choose(MPICH, DEBIAN_12, wanted="none", num_ranks=1), Choice)
    assert isinstance(choose(INTEL, DEBIAN_12, num_ranks=1), Choice), "it needs no library"


_PLUGINS = st.sets(st.sampled_from(sorted(DEBIAN_12 | DEBIAN_13)))
_INTERFACES = st.lists(st.sampled_from(["pmix", "pmi2", "pmi1"]), min_size=1, unique=True)


@given(st.sampled_from(sorted(NAMES)), _INTERFACES, _PLUGINS)
def test_what_is_chosen_is_there_and_speaks_what_the_mpi_speaks(
    family: str, interfaces: list[str], plugins: set[str]
) -> None:
    found = Found(family, "1.0", tuple(interfaces))
    chosen = choose(found, plugins, libraries=SLURMS_OWN)
    if isinstance(chosen, Choice):
        assert chosen.plugin in {name.partition("_v")[0] for name in plugins} | plugins
        assert chosen.interface in interfaces
        assert isinstance(
            choose(found, plugins, wanted=chosen.plugin, libraries=SLURMS_OWN), Choice
        )
    else:
        assert chosen.reason
        assert chosen.hint
