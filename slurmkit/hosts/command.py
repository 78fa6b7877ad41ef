"""The words of an mpirun over hosts, each group with its reason: a pure function."""

from collections.abc import Sequence
from dataclasses import dataclass

from slurmkit.hosts.mpi import Mpirun

#: A name that no MPI knows; it puts the run's id onto the command line of mpirun's daemons, by
#: which they are found on the hosts when they are to go.
MARK = "slurmkit_run_id"


@dataclass(frozen=True)
class Options:
    """Words of a command and why they are there."""

    why: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Start:
    """What mpirun shall start.

    Attributes:
        run_id: the run, as its mark on every host.
        num_ranks: all ranks.
        ranks_per_host: ranks of each host.
        hostfile: path of the hostfile.
        ssh: path of the program that is called as ssh.
        workdir: folder of the program.
        network: network of the MPI's connections, such as ``10.0.0.0/24``; empty for any.
        has_rdma: whether every host has RDMA devices.
    """

    run_id: str
    num_ranks: int
    ranks_per_host: int
    hostfile: str
    ssh: str
    workdir: str
    network: str = ""
    has_rdma: bool = False


def options(mpirun: Mpirun, start: Start) -> list[Options]:
    """Return the options of this mpirun for that start."""
    return _open_mpi(mpirun, start) if mpirun.family == "openmpi" else _hydra(start)


def _open_mpi(mpirun: Mpirun, start: Start) -> list[Options]:
    # Open MPI 5 has its launcher from PRRTE, whose parameters have an option of their own and whose
    # launcher by ssh has another name (prte.org, "mpirun translation").
    five = mpirun.major >= 5
    daemon, launcher = ("--prtemca", "ssh") if five else ("--mca", "rsh")

    def parameters(option: str, **values: str) -> tuple[str, ...]:
        return tuple(word for name, value in values.items() for word in (option, name, value))

    ssh = parameters(
        daemon,
        plm=launcher,
        **{f"plm_{launcher}_agent": start.ssh, f"plm_{launcher}_no_tree_spawn": "1"},
    )
    # PRRTE 4, which comes with Open MPI 6, has given them another name (prte_info); 3 has the old.
    names = ("prte_keepalive_", "oob_tcp_keepalive_") if five else ("oob_tcp_keepalive_",)
    alive = tuple(
        word
        for name in names
        for key, value in (("time", "5"), ("intvl", "2"), ("probes", "3"))
        for word in (daemon, name + key, value)
    )
    found = [
        Options(
            "The ranks, and the hosts that they fill in this order.",
            ("-np", str(start.num_ranks), "--hostfile", start.hostfile),
        ),
        Options("So many ranks on each host.", ("--map-by", f"ppr:{start.ranks_per_host}:node")),
        Options(
            "The folder to run in, and whose line it is before each line.",
            (
                *("--wdir", start.workdir),
                *(("--output", "tag") if five else ("--tag-output",)),
            ),
        ),
        Options("Daemons come by ssh, each from here: hosts need no keys for each other.", ssh),
        Options("A host that dies is noticed within seconds; the default takes minutes.", alive),
        Options(
            "By this the daemons of this run are found.", parameters(daemon, **{MARK: start.run_id})
        ),
    ]
    if mpirun.prefix:
        why = "Where this MPI is on the hosts: their login shells may not know it."
        found.append(Options(why, ("--prefix", mpirun.prefix)))
    if start.network:
        why = "The network for all connections; others may lead nowhere, as Docker's does."
        words = parameters(daemon, oob_tcp_if_include=start.network)
        found.append(Options(why, words + parameters("--mca", btl_tcp_if_include=start.network)))
    if mpirun.has_ucx and start.has_rdma:
        why = "Every host has RDMA devices, and this MPI has UCX, which uses them."
        found.append(Options(why, parameters("--mca", pml="ucx")))
    return found


def _hydra(start: Start) -> list[Options]:
    return [
        Options(
            "The ranks, the hosts that they fill in this order, and so many on each.",
            ("-n", str(start.num_ranks), "-f", start.hostfile, "-ppn", str(start.ranks_per_host)),
        ),
        Options(
            "The folder to run in, and whose line it is before each line.",
            ("-wdir", start.workdir, "-prepend-rank"),
        ),
        Options(
            "Daemons come by ssh, each from here: hosts need no keys for each other.",
            ("-launcher", "ssh", "-launcher-exec", start.ssh),
        ),
    ]


def comment_on_ucx(mpirun: Mpirun, rdma_hosts: Sequence[str], num_hosts: int) -> str:
    """Return in one sentence why UCX is used, or why not."""
    if mpirun.family != "openmpi":
        return f"{mpirun.title} chooses its network itself."
    if not mpirun.has_ucx:
        return f"This {mpirun.title} was built without UCX (ompi_info lists no pml ucx)."
    if len(rdma_hosts) == num_hosts:
        return "UCX is used: every host has RDMA devices."
    if not rdma_hosts:
        return "UCX is not asked for: no host has RDMA devices, so it would find no transport."
    return "UCX is not asked for: only some hosts have RDMA devices."
