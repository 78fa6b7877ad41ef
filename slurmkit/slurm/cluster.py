"""One round of concurrent queries, and what the answers say the cluster offers and allows."""

import getpass
import grp
import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from slurmkit import hostlist
from slurmkit.errors import SlurmError, SlurmUnreachableError
from slurmkit.limits import (
    LicenseInfo,
    Limits,
    NodeShape,
    PartitionLimits,
    QosLimits,
    ReservationInfo,
)
from slurmkit.slurm import normalise
from slurmkit.slurm.runner import Runner

#: scontrol prints JSON since 23.02.
_SCONTROL_JSON = (23, 2)
_ACCOUNTING_TIMEOUT_S = 10.0
_GPU = re.compile(r"gpu(?::([A-Za-z][\w.-]*))?(?::(\d+))?(?:\(.*?\))?")
_UNUSABLE = frozenset(
    {"DOWN", "ERROR", "UNKNOWN", "FUTURE", "DRAIN", "FAIL", "NOT_RESPONDING", "INVALID_REG"}
)


class _Answers(NamedTuple):
    config: dict[str, str]
    partitions: list[dict[str, str]]
    nodes: list[Mapping[str, Any]]
    reservations: dict[str, ReservationInfo]
    licenses: dict[str, LicenseInfo]
    mpi_plugins: frozenset[str]
    qos: dict[str, QosLimits] | None
    accounts: tuple[str, frozenset[str]] | None


def query_limits(runner: Runner, version: tuple[int, int]) -> Limits:
    """Ask everything at once and return the answers as one value.

    Args:
        runner: how to start Slurm's programs.
        version: the release of these programs, which decides where JSON is to be had.

    Raises:
        SlurmUnreachableError: the controller does not answer.
    """
    user = getpass.getuser()
    with ThreadPoolExecutor(8) as pool:

        def ask(query: Callable[..., Any], *arguments: Any) -> "Future[Any]":
            return pool.submit(query, runner, *arguments)

        futures = [
            ask(_config),
            ask(_partitions),
            ask(_nodes, version),
            ask(_reservations, version),
            ask(_licenses, version),
            ask(_mpi_plugins),
            ask(_qos),
            ask(_accounts, user),
        ]
        answers = _Answers(*(future.result() for future in futures))
    return _limits(answers, version, user)


def _limits(answers: _Answers, version: tuple[int, int], user: str) -> Limits:
    config = answers.config
    accounting = answers.qos is not None
    default_account, accounts = answers.accounts or ("", None)
    shapes = {str(node["name"]): _shape(node) for node in answers.nodes}
    enforced = normalise.words(config.get("AccountingStorageEnforce"))
    release = re.match(r"(\d+)\.(\d+)", config.get("SLURM_VERSION", ""))
    return Limits(
        cluster=config.get("ClusterName", ""),
        version=(int(release[1]), int(release[2])) if release else version,
        partitions={
            record["PartitionName"]: _partition(record, shapes) for record in answers.partitions
        },
        max_array_size=normalise.limit(config.get("MaxArraySize")) or 1001,
        max_job_count=normalise.limit(config.get("MaxJobCount")) or 10000,
        accounting=accounting,
        accounting_enforced=frozenset(word for word in enforced if word != "none"),
        accounts=accounts if accounting else None,
        default_account=default_account,
        qos=answers.qos,
        reservations=answers.reservations,
        licenses=answers.licenses,
        mpi_plugins=answers.mpi_plugins,
        job_requeue=config.get("JobRequeue", "1") != "0",
        max_mem_per_node_mib=normalise.limit(config.get("MaxMemPerNode")) or None,
        user=user,
        user_groups=_group_names(),
    )


def _group_names() -> frozenset[str]:
    names = set()
    for number in {os.getgid(), *os.getgroups()}:
        try:
            names.add(grp.getgrgid(number).gr_name)
        except KeyError:
            names.add(str(number))
    return frozenset(names)


def _config(runner: Runner) -> dict[str, str]:
    lines = runner.check(["scontrol", "show", "config"]).splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _partitions(runner: Runner) -> list[dict[str, str]]:
    """Return the partitions as text records: 24.11's JSON does not say which is the default."""
    output = runner.check(["scontrol", "--all", "--oneliner", "show", "partition"])
    return normalise.records(output, "PartitionName")


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


def _nodes(runner: Runner, version: tuple[int, int]) -> list[Mapping[str, Any]]:
    if version >= _SCONTROL_JSON:
        argv = ["scontrol", "--json", "--all", "show", "nodes"]
    else:
        argv = ["sinfo", "--json", "--all"]
    nodes = normalise.read_json(runner.check(argv), " ".join(argv)).get("nodes")
    if not isinstance(nodes, list):
        raise SlurmError(f"{' '.join(argv)} lists no nodes")
    return nodes


def _shape(node: Mapping[str, Any]) -> _Shape:
    state = normalise.words(node.get("state"))
    flags = {word.upper() for word in (*state, *normalise.words(node.get("state_flags")))}
    unusable = flags & _UNUSABLE
    features = normalise.words(node.get("active_features")) or normalise.words(node.get("features"))
    gpus, gpu_type = _gpus(normalise.text(node.get("gres")))
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


def _gpus(gres: str) -> tuple[int, str]:
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


def _reservations(runner: Runner, version: tuple[int, int]) -> dict[str, ReservationInfo]:
    if version >= _SCONTROL_JSON:
        printed = runner.check(["scontrol", "--json", "show", "reservations"])
        found = normalise.read_json(printed, "scontrol show reservations").get("reservations")
        rows = [_reservation_from_json(row) for row in found or []]
    else:
        printed = runner.check(["scontrol", "--oneliner", "show", "reservations"])
        rows = [_reservation(row) for row in normalise.records(printed, "ReservationName")]
    return {row.name: row for row in rows}


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


def _licenses(runner: Runner, version: tuple[int, int]) -> dict[str, LicenseInfo]:
    if version >= _SCONTROL_JSON:
        printed = runner.check(["scontrol", "--json", "show", "licenses"])
        rows: Iterable[Mapping[str, Any]] = (
            normalise.read_json(printed, "scontrol show licenses").get("licenses") or []
        )
    else:
        printed = runner.check(["scontrol", "--oneliner", "show", "licenses"])
        rows = normalise.records(printed, "LicenseName")
    infos = [
        LicenseInfo(
            name=str(row["LicenseName"]),
            total=normalise.number(row.get("Total")) or 0,
            used=normalise.number(row.get("Used")) or 0,
        )
        for row in rows
    ]
    return {info.name: info for info in infos}


def _mpi_plugins(runner: Runner) -> frozenset[str]:
    """Return what ``srun --mpi=list`` names, on stdout or stderr."""
    output = runner.run(["srun", "--mpi=list"])
    lines = (output.stdout + output.stderr).splitlines()
    names = {line.strip() for line in lines if re.fullmatch(r"\s+[\w-]+", line)}
    versions = re.findall(r"plugin versions available: (.*)", output.stdout + output.stderr)
    return frozenset(names | {word for line in versions for word in line.split(",") if word})


def _qos(runner: Runner) -> dict[str, QosLimits] | None:
    """Return the QOS, or None when no accounting database answers."""
    rows = _sacctmgr(runner, "show", "qos", "format=Name,MaxWall,MaxTRES,MaxJobsPU")
    if rows is None:
        return None
    return {row[0]: _qos_limits(row) for row in rows if len(row) == 4}


def _qos_limits(row: list[str]) -> QosLimits:
    name, max_wall, max_tres, max_jobs = row
    tres = dict(part.partition("=")[::2] for part in max_tres.split(",") if part)
    return QosLimits(
        name=name,
        max_time_s=_clock_s(max_wall),
        max_nodes_per_job=normalise.limit(tres.get("node")),
        max_gpus_per_job=normalise.limit(tres.get("gres/gpu")),
        max_jobs_per_user=normalise.limit(max_jobs),
    )


def _accounts(runner: Runner, user: str) -> tuple[str, frozenset[str]] | None:
    """Return the user's default account and all accounts, or None when nobody knows."""
    rows = _sacctmgr(
        runner, "show", "user", user, "withassoc", "format=User,DefaultAccount,Account"
    )
    if rows is None:
        return None
    mine = [row for row in rows if len(row) == 3 and row[0] == user]
    return (mine[0][1] if mine else ""), frozenset(row[2] for row in mine)


def _sacctmgr(runner: Runner, *words: str) -> list[list[str]] | None:
    """Return rows of sacctmgr's parsable output; None when no accounting database answers."""
    argv = ["sacctmgr", "--noheader", "--parsable2", "--readonly", *words]
    try:
        output = runner.run(argv, timeout_s=_ACCOUNTING_TIMEOUT_S)
    except SlurmUnreachableError:
        return None
    if output.returncode != 0:
        return None
    return [line.split("|") for line in output.stdout.splitlines() if line]
