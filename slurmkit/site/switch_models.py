"""The section ``switches`` of site.yaml as models: the fabric, as far as Slurm is to know it."""

from typing import Literal

from pydantic import Field

from slurmkit.site.nodes import HostList
from slurmkit.yamlfile.types import Positive, Section


class Leaf(Section):
    """A switch that nodes have cables to."""

    nodes: HostList = Field(
        description="Host list of its nodes. A node of a fabric with rails stands under several"
        " leaves, one per rail."
    )
    up: HostList | None = Field(
        None, description="Switches above it that it has cables to, as a host list."
    )


class Spine(Section):
    """A switch that no node has a cable to."""

    up: HostList | None = Field(
        None, description="Switches above it that it has cables to, as a host list."
    )


class Switches(Section):
    """The fabric: `slurmkit site topology --site-yaml FILE` writes this from fabric tools."""

    topology: Literal["auto", "tree", "block", "none"] = Field(
        "auto",
        description="What Slurm is told: a tree of switches, blocks (NVLink domains; from Slurm"
        " 23.11 on), or nothing. auto: blocks where there are some, else a tree.",
    )
    leaves: dict[HostList, Leaf] = Field(
        default={},
        description="Leaf switches by name; a host list stands for several with the same cables,"
        " such as the rails of a unit.",
    )
    spines: dict[HostList, Spine] = Field(
        default={},
        description="Switches above the leaves that have others above them, by name or host list.",
    )
    blocks: dict[str, HostList] = Field(
        default={}, description="NVLink domains by name, such as racks of an NVL72: a host list."
    )
    block_sizes: list[Positive] = Field(
        default=[],
        description="Sizes of blocks that Slurm plans with; each a power of two times the first."
        " Default: the size of the smallest block.",
    )
