"""Presets of fabrics as data: each variable with its value, its reason and its source.

What the planner of ranks sets itself (devices, interfaces, GPUDirect's reach; see
``slurmkit.topology.affinity_env``) is not here: one variable has one owner.
"""

from typing import NamedTuple

NCCL = "[NCCL user guide, Environment Variables]" + (
    "(https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html)"
)
NCCL_SOURCE = "[NCCL 2.31, net_ib/connect.cc]" + (
    "(https://github.com/NVIDIA/nccl/blob/v2.31.2-1/src/transport/net_ib/connect.cc)"
)
UCX = "[UCX, Running UCX](https://openucx.readthedocs.io/en/master/running.html)"
UCX_NEGATION = "[UCX 1.11, pull request 6129](https://github.com/openucx/ucx/pull/6129)"
UCX_IB = "[UCX, src/uct/ib/base/ib_iface.c](https://github.com/openucx/ucx)"
OPEN_MPI = "[Open MPI, InfiniBand and RoCE support]" + (
    "(https://docs.open-mpi.org/en/v5.0.x/tuning-apps/networking/ib-and-roce.html)"
)
DOROCE = "[NVIDIA, doRoCE](https://github.com/NVIDIA/doroce-linux)"
JUNIPER = "[Juniper, DCQCN configuration for RDMA traffic on NICs]" + (
    "(https://www.juniper.net/documentation/us/en/software/jvd/jvd-ai-dc-apstra-amd/"
    "dcqcn_configuration_for_rdma_traffic_on_nics.html)"
)
CUMULUS = "[NVIDIA Cumulus Linux, RDMA over Converged Ethernet]" + (
    "(https://docs.nvidia.com/networking-ethernet-software/cumulus-linux-514/"
    "Layer-1-and-Switch-Ports/Quality-of-Service/RDMA-over-Converged-Ethernet-RoCE)"
)
MLNX = "[NVIDIA MLNX_EN, Quality of Service]" + (
    "(https://docs.nvidia.com/networking/display/mlnxenv24101140lts/quality+of+service+(qos))"
)


class Row(NamedTuple):
    """One variable of a preset; the value TRAFFIC_CLASS is made of the fabric's DSCP."""

    name: str
    value: str
    reason: str
    source: str


class Preset(NamedTuple):
    """One kind of fabric.

    Attributes:
        title: in a few words.
        roce: whether RDMA runs over Ethernet.
        rate_gbps: rated speed of a port, Gb/s; None when the kind does not tell.
        mtu: MTU of the interfaces of compute NICs; None where any will do.
        dscp: DSCP of RDMA packets.
        priority: priority that PFC keeps lossless.
        rows: what jobs get.
        rdma: whether there is RDMA at all.
    """

    title: str
    roce: bool
    rate_gbps: float | None
    mtu: int | None
    dscp: int | None
    priority: int | None
    rows: tuple[Row, ...]
    rdma: bool = True


class Expectation(NamedTuple):
    """What a site's fabric should be on every node; None and empty where nobody said.

    Attributes:
        preset: its name.
        roce: whether RDMA runs over Ethernet.
        rate_gbps: rated speed of a port.
        mtu: of the compute NICs' interfaces.
        subnet: the compute NICs' networks; empty for any.
        dscp: DSCP of RDMA packets.
        priority: the priority that PFC keeps lossless.
        rdma: whether ranks use RDMA.
    """

    preset: str = ""
    roce: bool = False
    rate_gbps: float | None = None
    mtu: int | None = None
    subnet: str = ""
    dscp: int | None = None
    priority: int | None = None
    rdma: bool = True


_RETRY = Row(
    "NCCL_IB_TIMEOUT",
    "22",
    "a send is retried after 4.096 µs times 2^22, 17 s, not after 4 s (20, NCCL's own since 2.23): "
    "with the 7 retries of NCCL_IB_RETRY_CNT, which is the most there are, a link that flaps or a "
    "switch that starts again ends no job",
    f"{NCCL}; {NCCL_SOURCE}",
)
_RDMA_ONLY = Row(
    "UCX_TLS",
    "^tcp",
    "every transport but TCP: where RDMA does not work, the start fails with a message, and does "
    "not go on at a hundredth of the speed. What is not there, such as CUDA, is left out without "
    "a warning, which a list of names would give",
    f"{UCX}; {UCX_NEGATION}",
)
_PML = Row(
    "OMPI_MCA_pml",
    "ucx",
    "Open MPI would fall back to TCP when UCX is missing or finds no device; named, it says so",
    OPEN_MPI,
)
_NO_OPENIB = Row(
    "OMPI_MCA_btl",
    "^openib",
    "Open MPI 4 would open the HCAs a second time, through its old openib BTL, and warn; 5 has it "
    "no more",
    OPEN_MPI,
)
_QPS = Row(
    "NCCL_IB_QPS_PER_CONNECTION",
    "4",
    "a leaf-spine network spreads flows by a hash of their ports; one queue pair is one flow, and "
    "two flows on one link halve each other. Four per connection spread better (default 1)",
    NCCL,
)
_NCCL_TC = Row(
    "NCCL_IB_TC",
    "TRAFFIC_CLASS",
    "DSCP 26 and ECN-capable: 4 times 26, and 2, is 106. NCCL's default 0 puts RDMA into the queue "
    "of everything else, which PFC does not keep lossless and whose marks nobody reads",
    f"{NCCL}; {DOROCE}",
)
_UCX_TC = Row(
    "UCX_IB_TRAFFIC_CLASS",
    "TRAFFIC_CLASS",
    "the same for UCX; its own default is 106 on RoCE v2, and 0 in old releases",
    UCX_IB,
)

_INFINIBAND_ROWS = (_RETRY, _RDMA_ONLY, _PML, _NO_OPENIB)
_ROCE_ROWS = (_NCCL_TC, _QPS, _RETRY, _RDMA_ONLY, _UCX_TC, _PML, _NO_OPENIB)
_ETHERNET_ROWS = (
    Row(
        "NCCL_IB_DISABLE",
        "1",
        "sockets only: NCCL would try the management HCAs that GPU boards carry",
        NCCL,
    ),
    Row(
        "UCX_TLS",
        "tcp,self,sm",
        "TCP between nodes, memory within one",
        UCX,
    ),
    Row(
        "OMPI_MCA_pml",
        "ob1",
        "Open MPI's own TCP and shared memory: one way that works with every build",
        OPEN_MPI,
    ),
    _NO_OPENIB,
)

PRESETS: dict[str, Preset] = {
    "infiniband-ndr": Preset(
        "InfiniBand NDR, 400 Gb/s per port", False, 400.0, None, None, None, _INFINIBAND_ROWS
    ),
    "roce-400": Preset("RoCE v2 at 400 Gb/s per port", True, 400.0, 9000, 26, 3, _ROCE_ROWS),
    "roce-800": Preset("RoCE v2 at 800 Gb/s per port", True, 800.0, 9000, 26, 3, _ROCE_ROWS),
    "ethernet": Preset(
        "Ethernet without RDMA", False, None, None, None, None, _ETHERNET_ROWS, False
    ),
}

#: What a preset says of NICs and switches, which no variable can: (what, why, source).
EXPECTED = (
    (
        "rate_gbps",
        "what the port is rated at; `slurmkit doctor` fails below it",
        "the name of the preset",
    ),
    (
        "mtu",
        "9000: the RDMA MTU of 4096 needs an Ethernet frame that holds it with its headers",
        DOROCE,
    ),
    (
        "dscp",
        "26: what NICs and switches take for RoCE unless told otherwise",
        f"{JUNIPER}; {DOROCE}",
    ),
    ("priority", "3: the lossless priority of the same defaults", f"{JUNIPER}; {CUMULUS}; {MLNX}"),
)
