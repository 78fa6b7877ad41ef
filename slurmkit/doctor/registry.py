"""All links of the chain, in the order in which a job needs them."""

from importlib import import_module

from slurmkit.doctor.link import Link

# One module each in slurmkit.doctor.checks, with a LINK.
_MODULES = (
    "os_release",
    "kernel",
    "driver",
    "cuda",
    "rdma_driver",
    "mpi",
    "mpi_support",
    "ucx",
    "python_stack",
    "allreduce",
    "names",
    "ssh",
    "clock",
    "slurm_munge",
    "ports",
    "interfaces",
    "mtu",
    "gids",
    "pfc",
    "ecn",
    "dscp",
    "gpudirect",
    "iommu",
    "acs",
    "memlock",
    "limits",
    "hugepages",
    "shm",
    "cgroup",
    "shared",
)

#: The parts of the chain, and what they are called; no link has the id of one.
GROUPS = {
    "system": "Operating system, drivers and CUDA",
    "software": "MPI, UCX and Python",
    "access": "Names, access and clocks",
    "fabric": "The fabric",
    "transfers": "GPUDirect",
    "resources": "Limits",
    "storage": "Shared storage",
}


def all_links() -> tuple[Link, ...]:
    """Return every link."""
    return tuple(import_module(f"slurmkit.doctor.checks.{name}").LINK for name in _MODULES)


def links_of(names: tuple[str, ...]) -> tuple[Link, ...]:
    """Return the links of these ids or groups, in the chain's order; all when none is named.

    What is only looked at on request has to be named by its id.

    Raises:
        KeyError: there is none of that name; its argument is the name.
    """
    links = all_links()
    known = {link.id for link in links} | set(GROUPS)
    for name in names:
        if name not in known:
            raise KeyError(name)
    return tuple(
        link
        for link in links
        if link.id in names or (not link.on_request and (not names or link.group in names))
    )
