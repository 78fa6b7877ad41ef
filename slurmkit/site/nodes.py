"""Sections of site.yaml about nodes and partitions."""

from typing import Annotated

from pydantic import AfterValidator, Field

from slurmkit.errors import UsageError
from slurmkit.yamlfile.shapes import Form
from slurmkit.yamlfile.types import Duration, Line, Positive, Section, Size, Word


def _hostlist(value: str) -> str:
    from slurmkit.hostlist import expand  # noqa: PLC0415 (few sites name hosts)

    try:
        expand(value)
    except (UsageError, ValueError) as error:
        raise ValueError(str(error)) from None
    return value


HostList = Annotated[Word, AfterValidator(_hostlist), Form("a host list such as dgx[01-32]")]


class NodeType(Section):
    """Nodes that are alike."""

    gpus: int = Field(0, ge=0, description="GPUs per node.")
    gpu_type: str = Field("", description="GRES type, such as h100; empty when untyped.")
    cpus: Positive | None = Field(None, description="Schedulable CPUs per node.")
    memory: Size | None = Field(None, description="Schedulable memory per node, such as 2000G.")
    topology: Line | None = Field(None, description="Topology profile, such as dgx-h100.")
    nodes: HostList | None = Field(None, description="Names of these nodes, such as dgx[01-32].")
    sockets: Positive | None = Field(
        None, description="Sockets of a node. Default: the NUMA nodes of its topology profile."
    )
    cores: Positive | None = Field(None, description="Cores per socket, as slurmd -C prints them.")
    threads: Positive | None = Field(None, description="Hardware threads per core.")
    features: list[Word] = Field(
        default=[], description="Words that jobs may ask for with --constraint."
    )


class Partition(Section):
    """A partition and what its jobs get by default."""

    node_type: Line | None = Field(None, description="A name under node_types.")
    default_time: Duration | None = Field(None, description="Time limit of jobs that name none.")
    default: bool = Field(False, description="Used by jobs that name no partition.")
    max_time: Duration | None = Field(None, description="Longest time limit. Default: no limit.")
    nodes: HostList | None = Field(
        None, description="Its nodes, where they are not all those of node_type."
    )
