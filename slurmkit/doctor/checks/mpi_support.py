"""Was Open MPI built with UCX and CUDA?"""

from slurmkit.doctor.link import Answer, Link, Place, fail, passed, skipped, warn
from slurmkit.doctor.programs import run
from slurmkit.topology.discover import discover


def components(text: str, framework: str) -> set[str]:
    """Return the components of a framework in what ``ompi_info --parsable`` prints."""
    start = f"mca:{framework}:"
    return {line.split(":")[2] for line in text.splitlines() if line.startswith(start)}


def has_cuda(text: str) -> bool:
    """Whether ``ompi_info --parsable --all`` says that GPU memory can be sent."""
    return "mpi_built_with_cuda_support:value:true" in text


def _look(place: Place) -> Answer:
    ran = run(["ompi_info", "--parsable", "--all"], timeout_s=15.0)
    if ran is None:
        return skipped("no ompi_info on PATH: another MPI, or none")
    if ran.code != 0:
        return warn(f"ompi_info failed: {ran.said}")
    with_ucx, with_cuda = "ucx" in components(ran.out, "pml"), has_cuda(ran.out)
    facts = {"UCX in Open MPI": _word(with_ucx), "CUDA in Open MPI": _word(with_cuda)}
    detail = f"UCX: {_word(with_ucx)}, CUDA: {_word(with_cuda)}"
    topology = discover(str(place.root))
    if topology.nics and place.fabric.rdma and not with_ucx:
        return fail(f"{detail}: without UCX, Open MPI does not reach the HCAs", facts)
    if topology.gpus and not with_cuda:
        return warn(f"{detail}: buffers in GPU memory need UCX's own CUDA support", facts)
    return passed(detail, facts)


def _word(value: bool) -> str:
    return "yes" if value else "no"


LINK = Link(
    id="mpi-support",
    group="software",
    reads="ompi_info --parsable --all: the components of pml, mpi_built_with_cuda_support",
    limits="fails when there are HCAs and no UCX; warns when there are GPUs and no CUDA",
    todo="use an Open MPI that was configured --with-ucx and --with-cuda, such as HPC-X",
    look=_look,
    timeout_s=20.0,
)
