"""The reference page of fabrics, written from the presets."""

from slurmkit.site.fabric import traffic_class
from slurmkit.site.fabric_presets import EXPECTED, NCCL, NCCL_SOURCE, PRESETS, UCX_IB, Row

_INTRODUCTION = """\
# Fabrics

`fabric:` in [site.yaml](site-yaml.md#fabric) says what network is between the nodes:

```yaml
fabric:
  preset: roce-800
  subnet: 10.1.0.0/16
```

`fabric: roce-800` alone takes every value of the preset. Jobs on several nodes get its variables as
`export` lines in their script; `slurmkit site show` prints them, and `slurmkit doctor` holds the
nodes against the rest. A value under `env` of site.yaml, of an `env_presets` or of the job wins;
`fabric.env` changes a value for the whole site, and `fabric.leave_out` drops a variable.

"""

_GID = """\
## The GID index

A RoCE port has a table of addresses (GIDs): of every IP address that its interface has, one for
RoCE v1 and one for RoCE v2. NCCL before 2.21 takes index 0 unless told otherwise, which is RoCE v1
with a link-local address, and many a script says 3, which is right until an interface got one
address more. So nobody guesses here. With `gid_index: auto`, the default, `slurmkit exec` reads the
tables on the node, before the program starts, and takes entries that

1. have the type `RoCE v2`,
2. map an IPv4 address,
3. lie in `fabric.subnet`, where the site names it,
4. belong to the HCA's own interface, where there are VLANs beside it.

{outcomes}

Compute HCAs are those of `NCCL_IB_HCA` when it is exact (`=mlx5_0,...`), else all with an active
Ethernet port; with a subnet, all that have an address in it. Sources: {sources}.

"""

_OUTCOMES = (
    (
        "one index fits all compute HCAs",
        "`NCCL_IB_GID_INDEX` and `UCX_IB_GID_INDEX` get it",
    ),
    (
        "each HCA has one, at different indices",
        "UCX gets that of the rank's own HCAs (`UCX_NET_DEVICES`, which [binding](environment.md) "
        "sets). `NCCL_IB_GID_INDEX` holds for all HCAs of a process, so it stays unset, and the "
        "rank says so: NCCL finds the index itself from 2.21 on, within `NCCL_IB_ADDR_RANGE`",
    ),
    (
        "an HCA has several",
        "the lowest common one is taken, with a warning; `fabric.subnet` decides",
    ),
    (
        "an HCA has none",
        "a warning with its name; with `missing_gid: error` the program does not start",
    ),
    ("the job or the site set the variables", "they stay as they are"),
    (
        "no `slurmkit exec` starts the ranks (pyxis, a portable script)",
        "the index stays unset: NCCL from 2.21 on and UCX find one themselves, NCCL within "
        "`NCCL_IB_ADDR_RANGE`",
    ),
)

_LEFT_ALONE = (
    (
        "`NCCL_IB_HCA`, `NCCL_CROSS_NIC`, `NCCL_NET_GDR_LEVEL`, `UCX_NET_DEVICES`",
        "they name the devices of a node, and of a rank: [binding](environment.md) finds them",
    ),
    (
        "`NCCL_SOCKET_IFNAME`, `GLOO_SOCKET_IFNAME`, `OMPI_MCA_btl_tcp_if_include`",
        "the interface that leads to the other nodes, found by binding; `fabric.socket_interface` "
        "names it",
    ),
    (
        "`NCCL_IB_RETRY_CNT`",
        "NCCL's default 7 is the most that InfiniBand's three bits hold",
    ),
    (
        "`NCCL_IB_SL`, `UCX_IB_SL`",
        "a service level selects a priority by VLAN; these fabrics select it by DSCP",
    ),
    (
        "`NCCL_ALGO`, `NCCL_PROTO`, `NCCL_MIN_NCHANNELS` and others",
        "NCCL chooses by what it measures; a value that is right for one size of job is wrong for "
        "another",
    ),
)


def markdown() -> str:
    """Return the page."""
    names = list(PRESETS)
    lines = [
        "## Presets",
        "",
        "| preset | network | rated, Gb/s | MTU | DSCP | traffic class | lossless priority |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, preset in PRESETS.items():
        dscp = preset.dscp
        numbers = (
            preset.rate_gbps,
            preset.mtu,
            dscp,
            None if dscp is None else traffic_class(dscp),
        )
        cells = [_cell(number) for number in (*numbers, preset.priority)]
        lines.append(f"| `{name}` | {preset.title} | {' | '.join(cells)} |")
    lines += ["", "| key | why | source |", "|---|---|---|"]
    lines += [f"| `{key}` | {why} | {source} |" for key, why, source in EXPECTED]
    lines += ["", "## Variables", "", f"| variable | {' | '.join(names)} |"]
    lines.append("|---" * (len(names) + 1) + "|")
    variables = list(dict.fromkeys(row.name for p in PRESETS.values() for row in p.rows))
    for variable in variables:
        cells = [_value(name, variable) for name in names]
        lines.append(f"| `{variable}` | {' | '.join(cells)} |")
    lines += ["", "| variable | value | why | source |", "|---|---|---|---|"]
    for row in dict.fromkeys(row for preset in PRESETS.values() for row in preset.rows):
        shown = "106" if row.value == "TRAFFIC_CLASS" else row.value
        lines.append(f"| `{row.name}` | `{shown}` | {row.reason} | {row.source} |")
    gid = _GID.format(
        outcomes=_table(("found", "what happens"), _OUTCOMES),
        sources=f"{NCCL}; {NCCL_SOURCE}; {UCX_IB}",
    )
    alone = _table(("variable", "why"), _LEFT_ALONE)
    rest = f"{gid}## What the presets leave alone\n\n{alone}\n"
    return _INTRODUCTION + "\n".join(lines) + "\n\n" + rest


def _table(head: tuple[str, str], rows: tuple[tuple[str, str], ...]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    return "\n".join([*lines, *(f"| {left} | {right} |" for left, right in rows)])


def _cell(number: float | None) -> str:
    return "" if number is None else f"{number:g}"


def _value(preset: str, variable: str) -> str:
    rows: dict[str, Row] = {row.name: row for row in PRESETS[preset].rows}
    if variable not in rows:
        return ""
    value = rows[variable].value
    return "`106`" if value == "TRAFFIC_CLASS" else f"`{value}`"
