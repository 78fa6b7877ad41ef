"""Text of the configuration files of a sandbox: slurm.conf, gres.conf, hosts, nsswitch.conf."""

import re
from pathlib import Path

from slurmkit.sandbox.layout import CONTROLLER, DATABASE, URGENT, Layout
from slurmkit.site.generate.lines import joined

_HOSTS_LINE = re.compile(r"^hosts:.*$", re.MULTILINE)


def slurm_conf(layout: Layout) -> str:
    """Return slurm.conf; every key in it means the same from 22.05 to 26.05."""
    size = layout.size
    grace = ""
    if layout.preempt_grace_s is not None and not layout.accounting:
        grace = f" GraceTime={layout.preempt_grace_s}"
    lines = [
        f"ClusterName={layout.name}",
        f"SlurmctldHost={CONTROLLER}({layout.address(CONTROLLER)})",
        "SlurmUser=root",
        "SlurmdUser=root",
        "AuthType=auth/munge",
        f"AuthInfo=socket={layout.munge_dir / 'socket'}",
        "CredType=cred/munge",
        f"StateSaveLocation={layout.state_dir / 'ctl-state'}",
        f"SlurmdSpoolDir={layout.state_dir / 'hosts' / '%n' / 'spool'}",
        f"SlurmctldLogFile={layout.log_dir / 'slurmctld.log'}",
        f"SlurmdLogFile={layout.log_dir / 'slurmd-%n.log'}",
        "SlurmctldPidFile=/run/slurmctld.pid",
        "SlurmdPidFile=/run/slurmd.pid",
        "SlurmctldDebug=info",
        "SlurmdDebug=info",
        "",
        "# Nodes claim cores and memory that this machine may lack: nothing binds or confines.",
        "SlurmdParameters=config_overrides",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        f"DefMemPerCPU={max(1, size.memory_mib // size.cpus)}",
        "GresTypes=gpu",
        "MpiDefault=none",
        "MailProg=/bin/true",
        "",
        "# Node loss shows within seconds, and ended jobs stay visible for an hour.",
        f"SlurmdTimeout={layout.slurmd_timeout_s}",
        "SlurmctldTimeout=30",
        "MessageTimeout=10",
        "KillWait=5",
        "MinJobAge=3600",
        "MaxArraySize=1001",
        "# 2, not 1: a node that was pulled and healed comes back by itself, whatever state Slurm",
        "# gave it meanwhile; nobody sits here to resume it. To keep a node out, drain it.",
        "ReturnToService=2",
        "# Batch jobs start at once; the default may hold them back for 3 s.",
        "SchedulerParameters=batch_sched_delay=0,sched_interval=10,bf_interval=5",
        "",
        *_accounting_lines(layout),
        "JobCompType=jobcomp/filetxt",
        f"JobCompLoc={layout.log_dir / 'jobcomp.log'}",
        "Licenses=matlab:2",
        "",
        *_node_lines(layout),
        "",
        f"PartitionName=debug Default=YES Nodes={layout.node_range} MaxTime=01:00:00"
        f" DefaultTime=00:10:00{grace} State=UP",
        f"PartitionName=long Nodes={layout.node_range} MaxTime=7-00:00:00"
        f" DefaultTime=01:00:00{grace} State=UP",
        "# A partition that exists and takes no jobs, as every site has one now and then.",
        f"PartitionName=closed Nodes={layout.node_range} State=DOWN",
        *_preemption_lines(layout),
    ]
    return "\n".join(joined(lines, layout.slurm_conf)) + "\n"


def _preemption_lines(layout: Layout) -> list[str]:
    """Return what lets jobs of the partition ``urgent`` push others aside, without accounts."""
    if layout.preempt_grace_s is None or layout.accounting:
        return []
    return [
        "PreemptType=preempt/partition_prio",
        "PreemptMode=REQUEUE",
        f"PartitionName={URGENT} Nodes={layout.node_range} MaxTime=7-00:00:00"
        " DefaultTime=01:00:00 PriorityTier=10 PreemptMode=OFF State=UP",
    ]


def _accounting_lines(layout: Layout) -> list[str]:
    if not layout.accounting:
        return [
            "AccountingStorageType=accounting_storage/none",
            "JobAcctGatherType=jobacct_gather/none",
        ]
    return [
        "AccountingStorageType=accounting_storage/slurmdbd",
        f"AccountingStorageHost={DATABASE}",
        "# Beside AuthInfo: where munged listens, for what slurmctld sends to slurmdbd.",
        f"AccountingStoragePass={layout.munge_dir / 'socket'}",
        "AccountingStorageEnforce=associations,limits,qos",
        "AccountingStorageTRES=gres/gpu",
        "JobAcctGatherType=jobacct_gather/linux",
        "JobAcctGatherFrequency=task=5",
        "PriorityType=priority/multifactor",
        "PriorityWeightQOS=1000",
        "PreemptType=preempt/qos",
        "PreemptMode=REQUEUE",
    ]


def slurmdbd_conf(layout: Layout) -> str:
    """Return slurmdbd.conf; the database is on the same host, behind a socket that knows root."""
    lines = [
        "AuthType=auth/munge",
        f"AuthInfo=socket={layout.munge_dir / 'socket'}",
        f"DbdHost={DATABASE}",
        "SlurmUser=root",
        f"LogFile={layout.log_dir / 'slurmdbd.log'}",
        "PidFile=/run/slurmdbd.pid",
        "StorageType=accounting_storage/mysql",
        "StorageHost=localhost",
        "StorageUser=root",
        "StorageLoc=slurm",
    ]
    return "\n".join(lines) + "\n"


def _node_lines(layout: Layout) -> list[str]:
    size = layout.size
    gres = f" Gres={_gres_name(layout)}:{size.gpus}" if size.gpus else ""
    shape = (
        f"Sockets={size.sockets} CoresPerSocket={size.cpus // size.sockets} ThreadsPerCore=1"
        f" RealMemory={size.memory_mib}{gres}"
    )
    # Two racks, so that a constraint selects something and leaves something.
    first_rack = (size.nodes + 1) // 2
    features = "gpu," if size.gpus else ""
    return [
        f"NodeName={node} NodeAddr={layout.address(node)} {shape}"
        f" Feature={features}rack{1 if index < first_rack else 2}"
        for index, node in enumerate(layout.nodes)
    ]


def _gres_name(layout: Layout) -> str:
    return f"gpu:{layout.size.gpu_type}" if layout.size.gpu_type else "gpu"


def gres_conf(layout: Layout) -> str:
    """Return gres.conf: the GPUs, half of them near each socket."""
    size = layout.size
    lines = ["AutoDetect=off"]
    kind = f" Type={size.gpu_type}" if size.gpu_type else ""
    per_socket = -(-size.gpus // size.sockets)
    cores = size.cpus // size.sockets
    for socket in range(size.sockets):
        first, last = socket * per_socket, min((socket + 1) * per_socket, size.gpus) - 1
        if first <= last:
            devices = _span("/dev/nvidia", first, last)
            lines.append(
                f"NodeName={layout.node_range} Name=gpu{kind} File={devices}"
                f" Cores={socket * cores}-{(socket + 1) * cores - 1}"
            )
    return "\n".join(lines) + "\n"


def _span(prefix: str, first: int, last: int) -> str:
    return f"{prefix}{first}" if first == last else f"{prefix}[{first}-{last}]"


def cgroup_conf(version: tuple[int, int]) -> str:
    """Return cgroup.conf: no cgroups.

    NEWS of 24.05 brings ``disabled``, and without it slurmd then insists on a cgroup
    v2 that systemd manages; before, the plugin is loaded only when something asks for it.

    Args:
        version: Slurm release as (major, minor), such as (22, 5).
    """
    return "CgroupPlugin=disabled\n" if version >= (24, 5) else "# no cgroups\n"


def etc_hosts(layout: Layout) -> str:
    """Return /etc/hosts of every host of the sandbox."""
    names = "".join(f"{layout.address(host)} {host}\n" for host in layout.hosts)
    return f"127.0.0.1 localhost\n::1 ip6-localhost\n{names}"


def nsswitch_conf(original: Path = Path("/etc/nsswitch.conf")) -> str:
    """Return nsswitch.conf in which host names come from /etc/hosts alone.

    A name that falls through to an unreachable DNS server costs a rendezvous 20 s.
    """
    text = original.read_text() if original.is_file() else "passwd: files\ngroup: files\n"
    text = _HOSTS_LINE.sub("", text).rstrip("\n")
    return f"{text}\nhosts: files\n"
