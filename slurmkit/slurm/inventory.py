"""What slurm.conf declares, as a running Slurm tells it, and programs run on its nodes to compare.

Text of ``scontrol show`` is read, not JSON: it is the same from 22.05 to 26.05, and it alone has
the sockets, cores and threads that were declared.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slurmkit import hostlist
from slurmkit.errors import SlurmError
from slurmkit.slurm import normalise
from slurmkit.slurm.cluster import gpus_of_gres, read_config
from slurmkit.slurm.environ import query_environment
from slurmkit.slurm.runner import Runner

_QOS_FORMAT = "format=Name,Priority,Preempt"
#: What a partition has where nobody said otherwise, of what people do say.
_USUAL = {
    "AllowAccounts": "ALL",
    "AllowGroups": "ALL",
    "AllowQos": "ALL",
    "AllocNodes": "ALL",
    "DenyAccounts": "",
    "DenyQos": "",
    "QoS": "N/A",
    "Exclusive": "NO",
    "ExclusiveUser": "NO",
    "GraceTime": "0",
    "Hidden": "NO",
    "LLN": "NO",
    "MaxCPUsPerNode": "UNLIMITED",
    "MaxMemPerNode": "UNLIMITED",
    "MaxNodes": "UNLIMITED",
    "MinNodes": "0",
    "OverSubscribe": "NO",
    "PriorityJobFactor": "1",
    "PriorityTier": "1",
    "ReqResv": "NO",
    "RootOnly": "NO",
}
#: States in which a job can start on a node at once, as scontrol has them: no flag beside them.
_READY = frozenset({"IDLE", "MIXED"})


@dataclass(frozen=True)
class DeclaredNode:
    """One node as Slurm was told of it.

    Attributes:
        cpus: its logical CPUs as Slurm counts them.
        state: base state, such as IDLE, and flags: ``IDLE+DRAIN``.
        address: NodeAddr, where it is not the name.
    """

    name: str
    sockets: int = 0
    cores: int = 0
    threads: int = 0
    cpus: int = 0
    memory_mib: int = 0
    gpus: int = 0
    gpu_type: str = ""
    features: tuple[str, ...] = ()
    state: str = ""
    partitions: tuple[str, ...] = ()
    address: str = ""

    @property
    def ready(self) -> bool:
        """Whether a job may start on it at once."""
        return self.state in _READY


@dataclass(frozen=True)
class DeclaredPartition:
    """One partition; times as Slurm writes them, such as ``1-00:00:00`` or ``UNLIMITED``.

    Attributes:
        others: settings of it that are no default and have no field here, such as
            ``PriorityTier=10``.
    """

    name: str
    nodes: tuple[str, ...]
    default: bool = False
    max_time: str = ""
    default_time: str = ""
    state: str = "UP"
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inventory:
    """All of a cluster's configuration that a survey reads.

    Attributes:
        config: ``scontrol show config`` by key.
        qos: priority and the QOS that it may push aside, by name; None when there is no database.
    """

    config: Mapping[str, str] = field(default_factory=dict)
    nodes: tuple[DeclaredNode, ...] = ()
    partitions: tuple[DeclaredPartition, ...] = ()
    qos: Mapping[str, tuple[int, tuple[str, ...]]] | None = None
    controllers: tuple[str, ...] = ()

    @property
    def release(self) -> str:
        """Release such as ``22.05.8``; empty when unknown."""
        return self.config.get("SLURM_VERSION", "")


#: Names of the answers, under which a survey keeps them as files.
ANSWERS = ("config", "nodes", "partitions", "qos")


def read_inventory(answers: Mapping[str, str]) -> Inventory:
    """Return what the programs printed, by the names of ANSWERS; absent ones are empty."""
    config = read_config(answers.get("config", ""))
    nodes = normalise.records(answers.get("nodes", ""), "NodeName")
    partitions = normalise.records(answers.get("partitions", ""), "PartitionName")
    qos = answers.get("qos")
    return Inventory(
        config=config,
        nodes=tuple(_node(row) for row in nodes),
        partitions=tuple(_partition(row) for row in partitions),
        qos=None if qos is None else dict(_qos(line) for line in qos.splitlines() if "|" in line),
        # 22.05 and later: SlurmctldHost[0] = ctl(10.0.0.1)
        controllers=tuple(
            value for key, value in config.items() if key.startswith("SlurmctldHost")
        ),
    )


def _node(row: Mapping[str, str]) -> DeclaredNode:
    gpus, gpu_type = gpus_of_gres(normalise.text(row.get("Gres")))
    boards = normalise.limit(row.get("Boards")) or 1
    return DeclaredNode(
        name=row["NodeName"],
        sockets=boards * (normalise.limit(row.get("Sockets")) or 0),
        cores=normalise.limit(row.get("CoresPerSocket")) or 0,
        threads=normalise.limit(row.get("ThreadsPerCore")) or 0,
        cpus=normalise.limit(row.get("CPUTot")) or 0,
        memory_mib=normalise.limit(row.get("RealMemory")) or 0,
        gpus=gpus,
        gpu_type=gpu_type,
        features=tuple(normalise.words(row.get("AvailableFeatures"))),
        state=row.get("State", ""),
        partitions=tuple(normalise.words(row.get("Partitions"))),
        address="" if row.get("NodeAddr") == row["NodeName"] else row.get("NodeAddr", ""),
    )


def _partition(row: Mapping[str, str]) -> DeclaredPartition:
    return DeclaredPartition(
        name=row["PartitionName"],
        nodes=tuple(hostlist.expand(normalise.text(row.get("Nodes")))),
        default=row.get("Default") == "YES",
        max_time=row.get("MaxTime", ""),
        default_time=row.get("DefaultTime", ""),
        state=row.get("State", "UP"),
        others=tuple(
            f"{key}={row[key]}" for key, usual in _USUAL.items() if row.get(key, usual) != usual
        ),
    )


def _qos(line: str) -> tuple[str, tuple[int, tuple[str, ...]]]:
    name, priority, preempt = [*line.split("|"), "", ""][:3]
    return name, (int(priority or 0), tuple(normalise.words(preempt)))


class NodeDoor:
    """Slurm's programs, as a survey starts them.

    Args:
        environ: the environment of the caller; None for this process's.
        timeout_s: how long one question may take.
    """

    def __init__(
        self, environ: Mapping[str, str] | None = None, *, timeout_s: float = 30.0
    ) -> None:
        environ = dict(os.environ if environ is None else environ)
        self._runner = Runner(query_environment(environ), (), timeout_s)

    def answers(self) -> dict[str, str]:
        """Return what the programs print, by the names of ANSWERS; ``qos`` only with a database.

        Raises:
            SlurmUnreachableError: no Slurm here, or no controller answers.
        """
        check = self._runner.check
        found = {
            "config": check(["scontrol", "show", "config"]),
            "nodes": check(["scontrol", "--all", "--oneliner", "show", "nodes"]),
            "partitions": check(["scontrol", "--all", "--oneliner", "show", "partitions"]),
        }
        if "slurmdbd" in found["config"]:
            words = ["sacctmgr", "--noheader", "--parsable2", "--readonly", "show", "qos"]
            qos = self._runner.run([*words, _QOS_FORMAT])
            if qos.returncode == 0:
                found["qos"] = qos.stdout
        return found

    def run_on(
        self, hosts: Sequence[str], partition: str, script: str, *, wait_s: int, timeout_s: float
    ) -> dict[str, str]:
        """Run a shell script once on each of these nodes; return what it printed by host.

        Args:
            hosts: nodes of the partition.
            partition: where the step's job goes.
            script: shell text.
            wait_s: how long to wait for the nodes to be free.
            timeout_s: how long all of it may take.

        Raises:
            SlurmError: the job could not start, or nothing came back; what Slurm said.
        """
        number = str(len(hosts))
        options = [
            *("--label", "--quiet", f"--nodes={number}", f"--ntasks={number}"),
            *("--ntasks-per-node=1", "--cpus-per-task=1", "--time=5", "--input=none"),
            *(f"--partition={partition}", f"--nodelist={hostlist.compress(hosts)}"),
            *(f"--immediate={wait_s}", "--job-name=slurmkit-survey", "--mpi=none"),
        ]
        named = f"echo @@host; echo $SLURMD_NODENAME; {script}"
        output = self._runner.run(["srun", *options, "sh", "-c", named], timeout_s=timeout_s)
        found = _by_host(output.stdout)
        if not found:
            raise output.error() if output.returncode else SlurmError("srun printed nothing")
        return found


def _by_host(printed: str) -> dict[str, str]:
    """Return the lines of each task of ``srun --label``, by the host that it named first."""
    lines: dict[str, list[str]] = {}
    for line in printed.splitlines():
        task, colon, text = line.partition(":")
        if colon and task.strip().isdigit():
            lines.setdefault(task.strip(), []).append(text.removeprefix(" "))
    found = {}
    for said in lines.values():
        if "@@host" in said[:-1]:
            place = said.index("@@host")
            found[said[place + 1].strip()] = "\n".join(said[place + 2 :]) + "\n"
    return found
