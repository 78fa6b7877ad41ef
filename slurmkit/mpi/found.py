"""What an MPI says of itself, as values: its family, its release, and which PMI it speaks.

PMI is how a rank asks its launcher who it is and where the others are. There are three: PMI-1 and
PMI-2, which MPICH and its relatives speak over a file descriptor, and PMIx, which Open MPI speaks.
"""

import re

from slurmkit.record import Record

#: Family -> what people call it.
NAMES = {
    "openmpi": "Open MPI",
    "mpich": "MPICH",
    "intel": "Intel MPI",
    "mvapich": "MVAPICH",
    "cray": "Cray MPICH",
}

_VERSION = r"v?(\d+(?:\.\d+)*(?:[a-z]+\d*)?)"
# The order matters: what derives from MPICH may name it, too.
_FAMILIES = (
    ("openmpi", re.compile(rf"(?:Open MPI|OpenRTE)\)? {_VERSION}")),
    ("intel", re.compile(rf"Intel\(R\) MPI Library.*?(?:Version )?{_VERSION}")),
    ("cray", re.compile(rf"CRAY MPICH version {_VERSION}")),
    ("mvapich", re.compile(rf"MVAPICH2?(?:\(\w+\))? Version\s*:\s*{_VERSION}")),
    ("mpich", re.compile(rf"(?:MPICH|HYDRA build details:\s+) ?Version:\s*{_VERSION}")),
)


class Found(Record):
    """An MPI.

    Attributes:
        family: a key of ``NAMES``.
        version: its release, such as ``4.1.4``; empty when it does not say.
        interfaces: the PMIs that it speaks, best first: ``pmix``, ``pmi2``, ``pmi1``.
        library: the file of the library; empty when a program was asked.
        source: who said so, for people.
    """

    family: str
    version: str = ""
    interfaces: tuple[str, ...] = ()
    library: str = ""
    source: str = ""

    def __str__(self) -> str:
        return f"{NAMES[self.family]} {self.version}".strip()

    @property
    def major(self) -> int:
        """First number of the release; 0 when it is not known."""
        text = self.version.partition(".")[0]
        return int(text) if text.isdigit() else 0


def known_trouble(found: Found) -> str:
    """Return what is known to go wrong with this release, for people; empty for nothing."""
    if found.family == "mpich" and (3, 4) <= _numbers(found.version) < (4, 2):
        # pmodels/mpich pull request 6596, of July 2023; seen with 4.0.2 over UCX and Slurm's pmi2.
        return (
            f"{found} over UCX may hang in MPI_Finalize, when all results are there; 4.2 does not"
        )
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def parse(text: str, *, needed: tuple[str, ...] = ()) -> Found | None:
    """Return the MPI that a text is about; None when it is about none.

    Takes what MPI_Get_library_version says, and what these print: ``ompi_info`` (``--parsable`` or
    not), ``impi_info -v``, ``mpichversion``, and any ``mpirun --version``.

    Args:
        text: what was printed.
        needed: shared libraries that the MPI library is linked with, where that is known.
    """
    parsable = re.search(r"^ompi:version:full:(\S+)", text, re.MULTILINE)
    if parsable:
        return Found("openmpi", parsable[1], _openmpi_interfaces(parsable[1], text))
    listed = re.search(rf"^\s*Open MPI: {_VERSION}", text, re.MULTILINE)
    if listed:
        return Found("openmpi", listed[1], _openmpi_interfaces(listed[1], text))
    for family, pattern in _FAMILIES:
        if match := pattern.search(text):
            version = match[1]
            return Found(family, version, _interfaces(family, version, text, needed))
    return None


def _interfaces(family: str, version: str, text: str, needed: tuple[str, ...]) -> tuple[str, ...]:
    if family == "openmpi":
        return _openmpi_interfaces(version, text)
    if family == "mpich":
        return _mpich_interfaces(text, needed)
    # Intel MPI loads the PMI library that I_MPI_PMI_LIBRARY names, of any of the three kinds.
    return ("pmi2", "pmi1", "pmix") if family == "intel" else ("pmi2", "pmi1")


def _openmpi_interfaces(version: str, text: str) -> tuple[str, ...]:
    """Open MPI 5 and later speak PMIx alone; Open MPI 4 also PMI where it was built ``--with-pmi``.

    Open MPI 5 documentation, "Launching with Slurm"; components s1 and s2 of ompi_info.
    """
    major = int(version.partition(".")[0])
    if major >= 5:
        return ("pmix",)
    components = set(re.findall(r"pmix:? ?:?(s1|s2)\b", text))
    more = (("s2", "pmi2"), ("s1", "pmi1"))
    return ("pmix", *(name for component, name in more if component in components))


def _mpich_interfaces(text: str, needed: tuple[str, ...]) -> tuple[str, ...]:
    """MPICH speaks what its ``configure`` was told: PMI by itself, or through a library.

    Its own client speaks PMI-1, which Slurm's plugin pmi2 serves as well (seen: 4.0.2, 5.0.2).
    """
    linked = {name.partition(".")[0] for name in needed}
    if "libpmix" in linked or re.search(r"--with-(?:pmilib|pmi|pmix)=\S*pmix", text):
        return ("pmix",)
    if "libpmi2" in linked or "--with-pmi=pmi2" in text:
        return ("pmi2",)
    return ("pmi2", "pmi1")
