"""What MPIs print of themselves, and what that tells."""

import shutil
import subprocess

import pytest

from slurmkit.mpi.found import Found, known_trouble, parse

# Shortened to what tells; the first line of each is complete.
OMPI_4 = "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, repo rev: v4.1.4, May 26, 2022"
OMPI_6 = "Open MPI v6.0.0rc2, package: Debian OpenMPI, ident: 6.0.0rc2, repo rev: 2026-10-03"
OMPI_INFO_4 = """\
package:Debian OpenMPI
ompi:version:full:4.1.4
orte:version:full:4.1.4
config:cli: '--with-pmix=/usr/lib/x86_64-linux-gnu/pmix2' '--with-slurm'
mca:pmix:ext3x:version:"component:4.1.4"
mca:pmix:isolated:version:"component:4.1.4"
"""
OMPI_INFO_4_WITH_PMI = OMPI_INFO_4 + 'mca:pmix:s2:version:"mca:2.1.0"\nmca:pmix:s1:version:"x"\n'
OMPI_INFO_HUMAN = """\
                 Package: Open MPI user@host Distribution
                Open MPI: 4.0.5
  Open MPI repo revision: v4.0.5
                MCA pmix: s2 (MCA v2.1.0, API v2.0.0, Component v4.0.5)
"""
MPICH_4 = "MPICH Version:\t4.0.2\nMPICH Device:\tch4:ucx\nMPICH configure:\t--with-pm=hydra\n"
MPICH_PMIX = (
    "MPICH Version:    4.1.2\nMPICH configure: --with-pmix=/usr --with-pm=no --with-pmi=pmix\n"
)
MPICH_PMI2 = (
    "MPICH Version:    3.4.3\nMPICH configure: --with-slurm=/usr --with-pmi=pmi2 --with-pm=none\n"
)
HYDRA = "HYDRA build details:\n    Version:                                 4.0.2\n"
INTEL = "Intel(R) MPI Library 2021.10 for Linux* OS\n"
INTEL_MPIRUN = (
    "Intel(R) MPI Library for Linux* OS, Version 2021.10 Build 20230619 (id: c2e19c2f3e)\n"
)
MVAPICH = (
    "MVAPICH2 Version      :\t2.3.7\nMVAPICH2 Release date :\tWed March 02 22:00:00 EST 2022\n"
)
CRAY = "MPI VERSION    : CRAY MPICH version 8.1.25.17 (ANL base 3.4a2)\n"


@pytest.mark.parametrize(
    ("text", "family", "version", "interfaces"),
    [
        (OMPI_4, "openmpi", "4.1.4", ("pmix",)),
        (OMPI_6, "openmpi", "6.0.0rc2", ("pmix",)),
        ("Open MPI v5.0.3, package: Open MPI, ident: 5.0.3", "openmpi", "5.0.3", ("pmix",)),
        ("mpirun (Open MPI) 4.1.4\n\nReport bugs to ...", "openmpi", "4.1.4", ("pmix",)),
        ("mpirun.openmpi (OpenRTE) 4.1.4\n", "openmpi", "4.1.4", ("pmix",)),
        (OMPI_INFO_4, "openmpi", "4.1.4", ("pmix",)),
        (OMPI_INFO_4_WITH_PMI, "openmpi", "4.1.4", ("pmix", "pmi2", "pmi1")),
        (OMPI_INFO_HUMAN, "openmpi", "4.0.5", ("pmix", "pmi2")),
        (MPICH_4, "mpich", "4.0.2", ("pmi2", "pmi1")),
        (MPICH_PMIX, "mpich", "4.1.2", ("pmix",)),
        (MPICH_PMI2, "mpich", "3.4.3", ("pmi2",)),
        (HYDRA, "mpich", "4.0.2", ("pmi2", "pmi1")),
        (INTEL, "intel", "2021.10", ("pmi2", "pmi1", "pmix")),
        (INTEL_MPIRUN, "intel", "2021.10", ("pmi2", "pmi1", "pmix")),
        (MVAPICH, "mvapich", "2.3.7", ("pmi2", "pmi1")),
        (CRAY, "cray", "8.1.25.17", ("pmi2", "pmi1")),
    ],
)
def test_what_is_printed_tells_family_release_and_pmi(
    text: str, family: str, version: str, interfaces: tuple[str, ...]
) -> None:
    assert parse(text) == Found(family, version, interfaces)


@pytest.mark.parametrize("text", ["", "usage: mpirun", "slurm-wlm 22.05.8", "Version: 4.0.2"])
def test_what_is_about_no_mpi_tells_nothing(text: str) -> None:
    assert parse(text) is None


def test_a_library_that_is_linked_with_pmix_speaks_it() -> None:
    found = parse(MPICH_4, needed=("libhwloc.so.15", "libpmix.so.2"))
    assert found is not None
    assert found.interfaces == ("pmix",)


@pytest.mark.parametrize(
    ("family", "version", "troubled"),
    [
        ("mpich", "4.0.2", True),
        ("mpich", "4.1.1", True),
        ("mpich", "4.2.0", False),
        ("mpich", "5.0.2", False),
        ("mpich", "3.3.2", False),
        ("openmpi", "4.0.5", False),
    ],
)
def test_known_trouble_is_told(family: str, version: str, troubled: bool) -> None:
    assert bool(known_trouble(Found(family, version))) == troubled


@pytest.mark.parametrize(
    ("command", "family"),
    [
        (["ompi_info", "--parsable"], "openmpi"),
        (["ompi_info"], "openmpi"),
        (["mpirun.openmpi", "--version"], "openmpi"),
        (["mpichversion"], "mpich"),
        (["mpirun.mpich", "--version"], "mpich"),
    ],
    ids=" ".join,
)
def test_what_is_installed_here(command: list[str], family: str) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found = parse(done.stdout)
    assert found is not None
    assert found.family == family
    assert found.major >= 4
