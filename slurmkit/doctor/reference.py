"""The reference page of doctor, written from the links."""

from slurmkit.doctor.registry import GROUPS, all_links

_INTRODUCTION = """\
# doctor

`slurmkit doctor` looks at every link of the chain from the driver to `MPI_Allreduce`. Each link is
looked at on its own, and its facts are compared between the hosts: what is not alike is named, with
the hosts that are not with the majority (`node03: MTU of eth0 1500, the other 7: 9000`).

| hosts | command |
|---|---|
| this one | `slurmkit doctor` |
| the nodes of the job that you are in | `slurmkit doctor` inside the allocation |
| some nodes, in a short job | `slurmkit doctor --nodes 4 --partition gpu` |
| machines without Slurm, by SSH | `slurmkit doctor --hosts hosts.yaml` |

`--only LINK` looks at one link, or at one part of the chain, such as `fabric`. What the fabric
should be is read from [site.yaml](fabrics.md); without it, nodes are held against each other and
against what vendors' guides say. Where the fabric is `ethernet`, nobody looks at RDMA.

A verdict is **pass**, **warn** (ranks can run, but not as well as they should), **fail** (a job
will fail, hang or crawl) or **skipped**, with the reason. The exit code is 1 when a link fails or a
host does not answer, else 0. Each link runs in a process of its own with a time limit: one that
hangs, as on a dead file server, fails after that time, and holds up nothing. `--json` prints
[all of it](json.md#doctor).

"""


def markdown() -> str:
    """Return the page."""
    parts = []
    for group, title in GROUPS.items():
        lines = [
            f"## {title}\n",
            f"`--only {group}`\n",
            "| link | reads | limits | what to do | at most |",
            "|---|---|---|---|---|",
        ]
        for link in all_links():
            if link.group == group:
                cells = (f"`{link.id}`", link.reads, link.limits, link.todo)
                row = " | ".join(cell.replace("|", "\\|") for cell in cells)
                lines.append(f"| {row} | {link.timeout_s:g} s |")
        parts.append("\n".join(lines) + "\n")
    return _INTRODUCTION + "\n".join(parts)
