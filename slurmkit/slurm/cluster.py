"""What the answers of scontrol, sinfo, srun and sacctmgr say a cluster offers and allows: pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from slurmkit import hostlist
from slurmkit.limits import (
    LicenseInfo,
    Limits,
    NodeShape,
    PartitionLimits,
    QosLimits,
    ReservationInfo,
)
from slurmkit.slurm import normalise

_GPU = re.compile(r"gpu(?::([A-Za-z][\w.-]*))?(?::(\d+))?(?:\(.*?\))?")
#: States and flags in which no new job can start on a node.
UNUSABLE = frozenset(
    {"DOWN", "ERROR", "UNKNOWN", "FUTURE", "DRAIN", "FAIL", "NOT_RESPONDING", "INVALID_REG"}
)


@dataclass(frozen=True)
class Answers:
    """What Slurm's programs printed.

    Attributes:
        config: ``scontrol show config``.
        partitions: ``scontrol --oneliner show partition``, text in all releases: 24.11's JSON does
            not say which partition is the default.
        nodes: ``scontrol --json show nodes``, or 22.05's ``sinfo --json``.
        reservations: ``scontrol show reservations``, JSON or 22.05's one-line text.
        licenses: ``scontrol show licenses``, JSON or 22.05's one-line text.
        mpi: ``srun --mpi=list``.
        srun_help: ``srun --help``.
        qos: ``sacctmgr --parsable2 show qos`` with QOS_FORMAT; None when nobody answers.
        accounts: ``sacctmgr --parsable2 show user`` with ACCOUNT_FORMAT; None likewise.
    """

    config: str
    partitions: str
    nodes: str
    reservations: str = ""
    licenses: str = ""
    mpi: str = ""
    srun_help: str = ""
    qos: str | None = None
    accounts: str | None = None


QOS_FORMAT = "format=Name,MaxWall,MaxTRES,MaxJobsPU,Flags,GraceTime"
ACCOUNT_FORMAT = "format=User,DefaultAccount,Account,QOS"


def read_limits(answers: Answers, user: str, user_groups: frozenset[str]) -> Limits:
    """Return what the answers say.

    Raises:
        SlurmError: an answer is not what it should be.
    """
    config = read_config(answers.config)
    nodes = normalise.read_rows(answers.nodes, "nodes", "the list of nodes")
    shapes = {str(node["name"]): _shape(node) for node in nodes}
    partitions = normalise.records(answers.partitions, "PartitionName")
    enforced = normalise.words(config.get("AccountingStorageEnforce"))
    release = re.match(r"(\d+)\.(\d+)", config.get("SLURM_VERSION", ""))
    default_account, accounts = _accounts(answers.accounts, user)
    return Limits(
        cluster=config.get("ClusterName", ""),
        version=(int(release[1]), int(release[2])) if release else (0, 0),
        partitions={row["PartitionName"]: _partition(row, shapes) for row in partitions},
        max_array_size=normalise.limit(config.get("MaxArraySize")) or 1001,
        max_job_count=normalise.limit(config.get("MaxJobCount")) or 10000,
        accounting=answers.qos is not None,
        accounting_enforced=frozenset(word for word in enforced if word != "none"),
        accounts=accounts,
        default_account=default_account,
        qos=_qos(answers.qos),
        user_qos=_user_qos(answers.accounts, user),
        reservations={info.name: info for info in _reservations(answers.reservations)},
        licenses={info.name: info for info in _licenses(answers.licenses)},
        mpi_plugins=_mpi_plugins(answers.mpi),
        srun_plugin_options=_plugin_options(answers.srun_help),
        job_requeue=config.get("JobRequeue", "1") != "0",
        max_mem_per_node_mib=normalise.limit(config.get("MaxMemPerNode")) or None,
        preempt_by=config.get("PreemptType", "").removeprefix("preempt/").replace("none", ""),
        user=user,
        user_groups=user_groups,
    )


def read_config(printed: str) -> dict[str, str]:
    """Return ``scontrol show config`` by key."""
    pairs = (line.partition("=") for line in printed.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _partition(record: Mapping[str, str], shapes: Mapping[str, "_Shape"]) -> PartitionLimits:
    return PartitionLimits(
        name=record["PartitionName"],
        state=record.get("State", "UP"),
        default=record.get("Default") == "YES",
        max_time_s=_clock_s(record.get("MaxTime", "")),
        default_time_s=_clock_s(record.get("DefaultTime", "")),
        max_nodes=normalise.limit(record.get("MaxNodes")),
        min_nodes=normalise.limit(record.get("MinNodes")) or 0,
        max_cpus_per_node=normalise.limit(record.get("MaxCPUsPerNode")),
        max_mem_per_node_mib=normalise.limit(record.get("MaxMemPerNode")) or None,
        allow_accounts=_allowed(record.get("AllowAccounts")),
        deny_accounts=frozenset(normalise.words(record.get("DenyAccounts"))),
        allow_qos=_allowed(record.get("AllowQos")),
        deny_qos=frozenset(normalise.words(record.get("DenyQos"))),
        allow_groups=_allowed(record.get("AllowGroups")),
        # 26.05 has a word of its own for what was a value of OverSubscribe.
        exclusive="EXCLUSIVE" in record.get("OverSubscribe", "")
        or record.get("Exclusive") == "NODE",
        priority_tier=normalise.limit(record.get("PriorityTier")) or 1,
        preempt_mode=record.get("PreemptMode", "OFF"),
        grace_s=normalise.limit(record.get("GraceTime")) or 0,
        nodes=_grouped(normalise.text(record.get("Nodes")), shapes),
    )


def _allowed(value: str | None) -> frozenset[str] | None:
    return None if value in (None, "ALL") else frozenset(normalise.words(value))


def _clock_s(value: str) -> int | None:
    """Return seconds of ``[days-]HH:MM:SS``; None for UNLIMITED and NONE."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", value)
    if not match:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


class _Shape(NamedTuple):
    cpus: int
    memory_mib: int
    gpus: int
    gpu_type: str
    features: frozenset[str]
    usable: bool
    reason: str


def _shape(node: Mapping[str, Any]) -> _Shape:
    state = normalise.words(node.get("state"))
    flags = {word.upper() for word in (*state, *normalise.words(node.get("state_flags")))}
    unusable = flags & UNUSABLE
    features = normalise.words(node.get("active_features")) or normalise.words(node.get("features"))
    gpus, gpu_type = gpus_of_gres(normalise.text(node.get("gres")))
    reason = normalise.text(node.get("reason")) or "+".join(sorted(unusable))
    effective = normalise.number(node.get("effective_cpus"))
    return _Shape(
        cpus=effective or normalise.number(node.get("cpus")) or 0,
        memory_mib=normalise.number(node.get("real_memory")) or 0,
        gpus=gpus,
        gpu_type=gpu_type,
        features=frozenset(features),
        usable=not unusable,
        reason=reason if unusable else "",
    )


def gpus_of_gres(gres: str) -> tuple[int, str]:
    """Return how many GPUs ``gpu:h100:8(S:0-1),nic:2`` has, and their types."""
    count, types = 0, set()
    for part in re.split(r",(?![^()]*\))", gres):
        if match := _GPU.fullmatch(part):
            count += int(match[2] or 1)
            types.add(match[1] or "")
    return count, ",".join(sorted(types - {""}))


def _grouped(nodes: str, shapes: Mapping[str, _Shape]) -> tuple[NodeShape, ...]:
    groups: dict[_Shape, list[str]] = {}
    for host in hostlist.expand(nodes):
        if host in shapes:
            groups.setdefault(shapes[host], []).append(host)
    return tuple(NodeShape(tuple(hosts), *shape) for shape, hosts in groups.items())


def _rows(printed: str, json_key: str, text_key: str) -> Iterable[Mapping[str, Any]]:
    """Return the records of an answer in either form."""
    if printed.lstrip().startswith("{"):
        return normalise.read_rows(printed, json_key, f"scontrol show {json_key}")
    return normalise.records(printed, text_key)


def _reservations(printed: str) -> list[ReservationInfo]:
    rows = _rows(printed, "reservations", "ReservationName")
    return [
        _reservation(row) if "ReservationName" in row else _reservation_from_json(row)
        for row in rows
    ]


def _reservation_from_json(row: Mapping[str, Any]) -> ReservationInfo:
    return ReservationInfo(
        name=str(row["name"]),
        start=normalise.timestamp(row.get("start_time")) or 0.0,
        end=normalise.timestamp(row.get("end_time")) or 0.0,
        num_nodes=normalise.number(row.get("node_count")) or 0,
        partition=normalise.text(row.get("partition")),
        users=_anyone(row.get("users")),
        accounts=_anyone(row.get("accounts")),
    )


def _reservation(row: Mapping[str, str]) -> ReservationInfo:
    return ReservationInfo(
        name=row["ReservationName"],
        start=normalise.utc_time(row.get("StartTime", "")),
        end=normalise.utc_time(row.get("EndTime", "")),
        num_nodes=normalise.limit(row.get("NodeCnt")) or 0,
        partition=normalise.text(row.get("PartitionName")),
        users=_anyone(row.get("Users")),
        accounts=_anyone(row.get("Accounts")),
    )


def _anyone(value: Any) -> frozenset[str] | None:
    return frozenset(normalise.words(value)) or None


def _licenses(printed: str) -> list[LicenseInfo]:
    return [
        LicenseInfo(
            name=str(row["LicenseName"]),
            total=normalise.number(row.get("Total")) or 0,
            used=normalise.number(row.get("Used")) or 0,
        )
        for row in _rows(printed, "licenses", "LicenseName")
    ]


def _mpi_plugins(printed: str) -> frozenset[str]:
    names = {line.strip() for line in printed.splitlines() if re.fullmatch(r"\s+[\w-]+", line)}
    versions = re.findall(r"plugin versions available: (.*)", printed)
    return frozenset(names | {word for line in versions for word in line.split(",") if word})


def _plugin_options(printed: str) -> frozenset[str] | None:
    """Return the options below srun's heading for those of plugins; None without any help text."""
    if not printed:
        return None
    below = printed.partition("Options provided by plugins:")[2]
    return frozenset(re.findall(r"^ +(--[\w-]+)", below, re.MULTILINE))


def _table(printed: str, columns: int) -> list[list[str]]:
    rows = [line.split("|") for line in printed.splitlines()]
    return [row for row in rows if len(row) == columns]


def _qos(printed: str | None) -> dict[str, QosLimits] | None:
    if printed is None:
        return None
    return {row[0]: _qos_limits(row) for row in _table(printed, 6)}


def _qos_limits(row: list[str]) -> QosLimits:
    name, max_wall, max_tres, max_jobs, flags, grace = row
    tres = dict(part.partition("=")[::2] for part in max_tres.split(",") if part)
    return QosLimits(
        name=name,
        max_time_s=_clock_s(max_wall),
        max_nodes_per_job=normalise.limit(tres.get("node")),
        max_gpus_per_job=normalise.limit(tres.get("gres/gpu")),
        max_jobs_per_user=normalise.limit(max_jobs),
        flags=frozenset(normalise.words(flags)),
        grace_s=_clock_s(grace) or 0,
    )


def _accounts(printed: str | None, user: str) -> tuple[str, frozenset[str] | None]:
    """Return the default account and all accounts; None when nobody knows them."""
    if printed is None:
        return "", None
    mine = [row for row in _table(printed, 4) if row[0] == user]
    return (mine[0][1] if mine else ""), frozenset(row[2] for row in mine)


def _user_qos(printed: str | None, user: str) -> frozenset[str] | None:
    """Return the QOS of all the user's accounts; None when nobody knows any."""
    mine = [row for row in _table(printed or "", 4) if row[0] == user]
    return frozenset(name for row in mine for name in normalise.words(row[3])) or None
