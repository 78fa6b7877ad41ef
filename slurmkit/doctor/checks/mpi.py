"""Which MPI is on PATH, and is it the same everywhere?"""

from slurmkit.doctor.link import Answer, Link, Place, passed, skipped, warn
from slurmkit.doctor.programs import find, run
from slurmkit.mpi.found import parse


def kind_of(text: str) -> str:
    """Return name and release from what ``mpirun --version`` prints; empty when it is none."""
    found = parse(text)
    return str(found) if found else ""


def _look(_place: Place) -> Answer:
    path = find("mpirun")
    if not path:
        return skipped("no mpirun on PATH (a module may bring it)", {"MPI": "none"})
    ran = run([path, "--version"])
    name = kind_of(ran.out + ran.err) if ran else ""
    facts = {"MPI": name or "unknown", "mpirun": path}
    if not name:
        said = ran.said if ran else "nothing"
        return warn(f"{path} does not say which MPI it is: {said}", facts)
    return passed(f"{name} at {path}", facts)


LINK = Link(
    id="mpi",
    group="software",
    reads="mpirun --version",
    limits="warns when mpirun does not say what it is; fails when nodes differ in MPI or its place",
    todo="load the same module on all nodes, or install the same MPI: ranks of two releases do not "
    "understand each other",
    look=_look,
)
