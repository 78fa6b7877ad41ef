"""Checks of who pays and how important the job is: account and QOS."""

from slurmkit.check.registry import About, Problems, on_cluster, per_partition
from slurmkit.check.subject import Subject, choices, listing, plural
from slurmkit.limits import Limits, PartitionLimits, QosLimits
from slurmkit.units import format_slurm_time

# Each of these words of AccountingStorageEnforce holds jobs to associations; slurm.conf(5).
_ENFORCING = frozenset({"associations", "limits", "qos", "safe", "wckeys", "all"})
_QOS_WORDS = frozenset({"qos", "all"})
_LIMITING = frozenset({"limits", "safe", "all"})


def _enforces(limits: Limits, words: frozenset[str]) -> bool:
    return limits.accounting and bool(limits.accounting_enforced & words)


@on_cluster(
    About(
        "account-unknown",
        "The account is one that the user may charge, where the cluster insists on one.",
        "user1 may not charge account 'phsyics'",
    )
)
def account_unknown(subject: Subject, limits: Limits) -> Problems:
    """Find accounts that sbatch refuses."""
    account = subject.request.value("--account")
    if not account or limits.accounts is None or not _enforces(limits, _ENFORCING):
        return
    if account.lower() not in {known.lower() for known in limits.accounts}:
        yield subject.problem(
            "resources.account",
            f"{subject.user or 'this user'} may not charge account {account!r}"
            f"{subject.origin('account')}",
            choices("Your accounts", account, limits.accounts),
        )


@on_cluster(
    About(
        "account-missing",
        "A job that names no account has a default one, where the cluster insists on one.",
        "user1 has no account on this cluster, and jobs need one",
    )
)
def account_missing(subject: Subject, limits: Limits) -> Problems:
    """Find users without any association, whose jobs sbatch refuses."""
    if subject.request.value("--account") or limits.accounts is None:
        return
    if limits.default_account or limits.accounts or not _enforces(limits, _ENFORCING):
        return
    yield subject.problem(
        "resources.account",
        f"{subject.user or 'this user'} has no account on this cluster, and jobs need one",
        "Ask the administrators to add you to one.",
    )


@per_partition(
    About(
        "account-not-in-partition",
        "The partition is open to the account.",
        "partition 'gpu' is closed to account 'biology'",
    )
)
def account_not_in_partition(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find accounts that the partition keeps out; Slurm lets such jobs pend for ever."""
    limits, allowed = subject.limits, partition.allow_accounts
    if limits is None:
        return
    if allowed is not None and not limits.accounting and not limits.accounting_enforced:
        # Measured on 22.05: "Job's account not known, so it can't use this partition".
        yield subject.problem(
            "resources.account",
            f"partition {partition.name!r} is for the accounts {listing(allowed)}; this cluster "
            "keeps no accounts, so that no job has one",
            "Name another partition.",
        )
        return
    account = subject.request.value("--account") or limits.default_account
    if not account or _may(account, allowed, partition.deny_accounts):
        return
    hint = (
        f"Accounts that may use it: {listing(allowed)}."
        if allowed is not None
        else f"Closed to: {listing(partition.deny_accounts)}. Name another account or partition."
    )
    yield subject.problem(
        "resources.account",
        f"partition {partition.name!r} is closed to account {account!r}",
        hint,
    )


def _may(name: str, allowed: frozenset[str] | None, denied: frozenset[str]) -> bool:
    # AllowX wins over DenyX; slurm.conf(5).
    if allowed is not None:
        return name.lower() in {other.lower() for other in allowed}
    return name.lower() not in {other.lower() for other in denied}


@on_cluster(
    About(
        "qos-unknown",
        "The QOS exists, where the cluster insists on it.",
        "there is no QOS 'hihg'",
    )
)
def qos_unknown(subject: Subject, limits: Limits) -> Problems:
    """Find QOS that sbatch refuses."""
    qos = subject.request.value("--qos")
    if (
        qos
        and _enforces(limits, _QOS_WORDS)
        and limits.qos is not None
        and _qos(limits, qos) is None
    ):
        yield subject.problem(
            "resources.qos",
            f"there is no QOS {qos!r}",
            choices("QOS", qos, limits.qos),
        )


@on_cluster(
    About(
        "qos-not-yours",
        "The user may use the QOS, where the cluster insists on it.",
        "user1 may not use QOS 'high'",
    )
)
def qos_not_yours(subject: Subject, limits: Limits) -> Problems:
    """Find QOS that sbatch refuses to this user."""
    qos, mine = subject.request.value("--qos"), limits.user_qos
    if not qos or mine is None or not _enforces(limits, _QOS_WORDS) or _qos(limits, qos) is None:
        return
    if qos.lower() not in {name.lower() for name in mine}:
        yield subject.problem(
            "resources.qos",
            f"{subject.user or 'this user'} may not use QOS {qos!r}",
            f"Your QOS: {listing(mine)}.",
        )


@on_cluster(
    About(
        "account-unheeded",
        "The account is known even where the cluster takes any.",
        "nobody knows the account 'phsyics'; the cluster takes the job, but charges nobody",
        warning=True,
    )
)
def account_unheeded(subject: Subject, limits: Limits) -> Problems:
    """Find accounts that Slurm takes without a word and that mean nothing."""
    account, known = subject.request.value("--account"), limits.accounts
    if account and known and not _enforces(limits, _ENFORCING) and account.lower() not in known:
        yield subject.problem(
            "resources.account",
            f"nobody knows the account {account!r}; the cluster takes the job, but charges nobody",
            choices("Your accounts", account, known),
        )


@on_cluster(
    About(
        "qos-unheeded",
        "The QOS is known even where the cluster takes any.",
        "nobody knows the QOS 'hihg'; the cluster takes the job, but gives nothing for it",
        warning=True,
    )
)
def qos_unheeded(subject: Subject, limits: Limits) -> Problems:
    """Find QOS that Slurm takes without a word and that mean nothing."""
    qos = subject.request.value("--qos")
    insists = _enforces(limits, _QOS_WORDS)
    if qos and limits.qos and not insists and _qos(limits, qos) is None:
        yield subject.problem(
            "resources.qos",
            f"nobody knows the QOS {qos!r}; the cluster takes the job, but gives nothing for it",
            choices("QOS", qos, limits.qos),
        )


@per_partition(
    About(
        "qos-not-in-partition",
        "The partition takes the QOS.",
        "partition 'gpu' takes no jobs of QOS 'low'",
    )
)
def qos_not_in_partition(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find QOS that the partition keeps out."""
    qos = subject.request.value("--qos")
    if not qos or _may(qos, partition.allow_qos, partition.deny_qos):
        return
    hint = (
        f"QOS that it takes: {listing(partition.allow_qos)}."
        if partition.allow_qos is not None
        else f"Closed to: {listing(partition.deny_qos)}. Name another QOS or partition."
    )
    yield subject.problem(
        "resources.qos",
        f"partition {partition.name!r} takes no jobs of QOS {qos!r}",
        hint,
    )


def waives(subject: Subject, flag: str) -> bool:
    """Tell whether the job's QOS lets it pass over a limit of the partition; sacctmgr(1), Flags."""
    qos = _qos(subject.limits, subject.request.value("--qos")) if subject.limits else None
    return qos is not None and flag in qos.flags


def _qos(limits: Limits, name: str) -> QosLimits | None:
    known = limits.qos or {}
    return known.get(name) or known.get(name.lower())


def _enforced_qos(subject: Subject, limits: Limits) -> QosLimits | None:
    """Return the QOS whose limits the job is held to; None when none is named or none counts."""
    return _qos(limits, subject.request.value("--qos")) if _enforces(limits, _LIMITING) else None


@on_cluster(
    About(
        "time-over-qos",
        "The time limit is at most the QOS's.",
        "12:00:00 is more than QOS 'debug' allows: 00:30:00",
    )
)
def time_over_qos(subject: Subject, limits: Limits) -> Problems:
    """Find times that keep the job pending for QOSMaxWallDurationPerJobLimit."""
    request, qos = subject.request, _enforced_qos(subject, limits)
    if qos is None or qos.max_time_s is None or not request.names_time:
        return
    if request.time_s is None or request.time_s > qos.max_time_s:
        yield subject.problem(
            "resources.time",
            f"{format_slurm_time(request.time_s)} is more than QOS {qos.name!r} allows: "
            f"{format_slurm_time(qos.max_time_s)}",
            f"Ask for at most {format_slurm_time(qos.max_time_s)}, or name another QOS.",
        )


@on_cluster(
    About(
        "nodes-over-qos",
        "The number of nodes is at most the QOS's for one job.",
        "16 nodes are more than QOS 'debug' gives one job: 2",
    )
)
def nodes_over_qos(subject: Subject, limits: Limits) -> Problems:
    """Find counts that keep the job pending for QOSMaxNodePerJobLimit."""
    qos, wanted = _enforced_qos(subject, limits), subject.request.shape.num_allocated
    if qos is not None and qos.max_nodes_per_job is not None and wanted > qos.max_nodes_per_job:
        yield subject.problem(
            "resources.nodes",
            f"{plural(wanted, 'node')} are more than QOS {qos.name!r} gives one job: "
            f"{qos.max_nodes_per_job}",
            "Ask for fewer, or name another QOS.",
        )


@on_cluster(
    About(
        "gpus-over-qos",
        "The GPUs of all nodes together are at most the QOS's for one job.",
        "16 GPUs (2 nodes of 8) are more than QOS 'debug' gives one job: 8",
    )
)
def gpus_over_qos(subject: Subject, limits: Limits) -> Problems:
    """Find counts that keep the job pending for QOSMaxGRESPerJob."""
    qos, shape = _enforced_qos(subject, limits), subject.request.shape
    wanted = shape.num_allocated * shape.gpus_per_node
    if qos is not None and qos.max_gpus_per_job is not None and wanted > qos.max_gpus_per_job:
        yield subject.problem(
            "resources.gpus_per_node",
            f"{plural(wanted, 'GPU')} ({plural(shape.num_allocated, 'node')} of "
            f"{shape.gpus_per_node}) are more than QOS {qos.name!r} gives one job: "
            f"{qos.max_gpus_per_job}",
            "Ask for fewer, or name another QOS.",
        )
