"""The ``fabric`` section of site.yaml: the network between the nodes, by a preset and what differs.

A preset is a row of tables in :mod:`slurmkit.site.fabric_presets`; here it becomes the environment
of every job, and what ``slurmkit doctor`` expects of NICs and switches.
"""

import re
from ipaddress import IPv4Network
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field

from slurmkit.site.fabric_presets import PRESETS, Expectation, Preset, Row
from slurmkit.yamlfile.shapes import Form
from slurmkit.yamlfile.types import Env, Line, Section, Word

PresetName = Literal["infiniband-ndr", "roce-400", "roce-800", "ethernet"]


def _networks(value: str) -> str:
    """Return the networks as NCCL and ``slurmkit exec`` read them: no blanks, and no netmasks."""
    try:
        return ",".join(str(IPv4Network(part.strip())) for part in value.split(","))
    except ValueError as error:
        raise ValueError(f"must be an IPv4 network such as 10.1.0.0/16: {error}") from None


def _index(value: object) -> object:
    text = str(value) if isinstance(value, int) else value
    if isinstance(text, str) and not _GID_INDEX.fullmatch(text):
        raise ValueError("must be auto, off, or an index from 0 to 255")
    return text


# The tables of HCAs have 256 entries.
_GID_INDEX_PATTERN = r"auto|off|\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5]"
_GID_INDEX = re.compile(_GID_INDEX_PATTERN)
GidIndex = Annotated[
    str,
    BeforeValidator(_index),
    Form("auto, off, or an index such as 3", _GID_INDEX_PATTERN, minimum=0),
]


def _preset_alone(value: object) -> object:
    return {"preset": value} if isinstance(value, str) else value


class Fabric(Section):
    """The network between the nodes."""

    preset: PresetName = Field(description="What kind of network it is.")
    partitions: list[Word] = Field(
        default=[],
        description="Partitions whose nodes are on it; others get none of it. Default: all.",
    )
    rate_gbps: float | None = Field(
        None, gt=0, description="Rated speed of a compute NIC's port, Gb/s. Default: the preset's."
    )
    mtu: int | None = Field(
        None, ge=576, le=65535, description="MTU of the compute NICs' interfaces."
    )
    subnet: Annotated[Line, AfterValidator(_networks)] | None = Field(
        None,
        description="IPv4 network of the compute NICs, such as 10.1.0.0/16; several, with commas."
        " Tells their addresses from those of storage and management.",
    )
    gid_index: GidIndex = Field(
        "auto",
        description="auto: each node finds the index of its RoCE v2 address; a number is set on"
        " every node; off: left to NCCL and UCX.",
    )
    missing_gid: Literal["warn", "error"] = Field(
        "warn", description="What a compute NIC without a RoCE v2 address does to a rank."
    )
    dscp: int | None = Field(
        None,
        ge=0,
        le=63,
        description="DSCP of RDMA packets; the traffic class of NCCL and UCX follows from it.",
    )
    priority: int | None = Field(
        None, ge=0, le=7, description="Priority that PFC keeps lossless on NICs and switches."
    )
    socket_interface: Word | None = Field(
        None,
        description="Interface for the sockets of NCCL, Gloo and Open MPI, such as bond0. Default:"
        " the one that leads to MASTER_ADDR, where ranks are bound.",
    )
    env: Env = Field(default={}, description="Variables that differ from the preset's.")
    leave_out: list[Word] = Field(default=[], description="Variables of the preset not to set.")


FabricField = Annotated[
    Fabric | None,
    BeforeValidator(_preset_alone),
    Form(short={"enum": list(PRESETS)}),
]


class Setting(NamedTuple):
    """One variable that jobs get, with its reason."""

    name: str
    value: str
    reason: str
    source: str


def expectation(fabric: Fabric) -> Expectation:
    """Return what nodes of this fabric should show."""
    preset = PRESETS[fabric.preset]
    return Expectation(
        preset=fabric.preset,
        roce=preset.roce,
        rate_gbps=fabric.rate_gbps or preset.rate_gbps,
        mtu=fabric.mtu or preset.mtu,
        subnet=fabric.subnet or "",
        dscp=_or(fabric.dscp, preset.dscp),
        priority=_or(fabric.priority, preset.priority),
        rdma=preset.rdma,
    )


def settings(fabric: Fabric) -> list[Setting]:
    """Return the variables of the fabric's preset, with the site's own values, in order."""
    preset = PRESETS[fabric.preset]
    found = {row.name: _setting(row, _value(row, fabric, preset)) for row in preset.rows}
    for setting in (*_of_keys(fabric, preset), *_own(fabric)):
        found[setting.name] = setting
    return [
        setting
        for setting in found.values()
        if setting.value and setting.name not in fabric.leave_out
    ]


def environment(fabric: Fabric) -> dict[str, str]:
    """Return the variables that every job of the site gets."""
    return {setting.name: setting.value for setting in settings(fabric)}


def _value(row: Row, fabric: Fabric, preset: Preset) -> str:
    if row.value != "TRAFFIC_CLASS":
        return row.value
    dscp = _or(fabric.dscp, preset.dscp)
    return "" if dscp is None else str(traffic_class(dscp))


def traffic_class(dscp: int) -> int:
    """Return the IP header's byte: DSCP above two bits that say the packet may be marked (ECT(0)).

    Without the latter switches drop where they would mark (RFC 3168, section 5).
    """
    return dscp << 2 | 0b10


def _setting(row: Row, value: str) -> Setting:
    return Setting(row.name, value, row.reason, row.source)


def _of_keys(fabric: Fabric, preset: Preset) -> list[Setting]:
    """Return what other keys of the section say, as variables."""
    found = []
    where = "site.yaml"
    if fabric.subnet and preset.roce:
        reason = "the compute NICs' network: a GID outside it is another network's"
        # NCCL takes one range; where there are several, the index that the node finds decides.
        if "," not in fabric.subnet:
            found.append(Setting("NCCL_IB_ADDR_RANGE", fabric.subnet, reason, where))
        found.append(Setting("SLURMKIT_GID_SUBNET", fabric.subnet, reason, where))
    if fabric.socket_interface:
        reason = "the site names the interface of sockets"
        name = fabric.socket_interface
        found.append(Setting("NCCL_SOCKET_IFNAME", f"={name.lstrip('=')}", reason, where))
        for variable in ("GLOO_SOCKET_IFNAME", "OMPI_MCA_btl_tcp_if_include"):
            found.append(Setting(variable, name.lstrip("="), reason, where))
    if not preset.roce:
        return found
    if fabric.gid_index.isdigit():
        reason = "the site names the index"
        found.append(Setting("NCCL_IB_GID_INDEX", fabric.gid_index, reason, where))
        found.append(Setting("UCX_IB_GID_INDEX", fabric.gid_index, reason, where))
    elif fabric.gid_index == "auto":
        reason = "slurmkit exec finds the index on each node; NCCL_IB_GID_INDEX, UCX_IB_GID_INDEX"
        mode = "strict" if fabric.missing_gid == "error" else "auto"
        found.append(Setting("SLURMKIT_GID", mode, reason, where))
    return found


def _own(fabric: Fabric) -> list[Setting]:
    return [
        Setting(name, value, "the site's own value", "site.yaml")
        for name, value in fabric.env.items()
    ]


def _or(value: int | None, default: int | None) -> int | None:
    return default if value is None else value
