"""One change of slurmdbd: what differs, for people, and the words of sacctmgr that mend it."""

from collections.abc import Mapping
from dataclasses import dataclass

from slurmkit.site.tiers_wanted import MARK, Row, Value
from slurmkit.units import format_slurm_time

#: Column of ``sacctmgr show`` to word of ``sacctmgr add`` and ``modify``.
WORDS = {
    "description": "Description",
    "organization": "Organization",
    "priority": "Priority",
    "preempt": "Preempt",
    "preemptmode": "PreemptMode",
    "gracetime": "GraceTime",
    "preemptexempttime": "PreemptExemptTime",
    "usagefactor": "UsageFactor",
    "grptres": "GrpTRES",
    "grptresmins": "GrpTRESMins",
    "grpjobs": "GrpJobs",
    "maxtrespu": "MaxTRESPerUser",
    "maxtrespa": "MaxTRESPerAccount",
    "maxtres": "MaxTRESPerJob",
    "maxwall": "MaxWall",
    "maxjobspu": "MaxJobsPerUser",
    "maxsubmitpu": "MaxSubmitJobsPerUser",
    "parent": "Parent",
    "fairshare": "Fairshare",
    "qos": "QosLevel",
    "defaultqos": "DefaultQOS",
    "defaultaccount": "DefaultAccount",
    "adminlevel": "AdminLevel",
}
#: Clears a setting; a list is cleared by nothing (seen: 22.05, 24.11).
_UNSET = "-1"
_CLEARED = {"QosLevel": ""}
#: Of these a bare number would be minutes (sacctmgr(1)).
_TIMES = ("maxwall", "preemptexempttime")


@dataclass(frozen=True)
class Setting:
    """One value that changes.

    Attributes:
        name: sacctmgr's word for it.
        old: what it is; empty for nothing.
        new: what it shall be; empty for nothing.
    """

    name: str
    old: str
    new: str


@dataclass(frozen=True)
class Change:
    """One call of sacctmgr.

    Attributes:
        action: ``add``, ``modify`` or ``remove``.
        entity: ``cluster``, ``qos``, ``account``, ``user``, ``member`` or ``coordinator``.
        name: of what; a member or coordinator is ``user@account``.
        settings: what changes.
        command: the words after ``sacctmgr --immediate``.
    """

    action: str
    entity: str
    name: str
    settings: tuple[Setting, ...]
    command: tuple[str, ...]


def owned(row: Row | None) -> bool:
    """Whether slurmkit made this QOS or account."""
    return row is not None and str(row.get("description") or "").startswith(MARK)


def differing(row: Row, have: Row, *, own: bool) -> tuple[Setting, ...]:
    """Return what differs; a setting that site.yaml does not name is cleared only on our own."""
    settings = []
    for name, new in row.items():
        old = have.get(name)
        if _same(name, new, old) or (_empty(new) and not (own and have)):
            continue
        settings.append(Setting(WORDS[name], text_of(old, name), _new_text(new, old, name)))
    return tuple(settings)


def _same(name: str, new: Value, old: Value) -> bool:
    if _empty(new) and _empty(old):
        return True
    if name in ("gracetime", "preemptexempttime", "priority"):
        return (new or 0) == (old or 0)
    if name in ("description", "organization"):
        return str(new).lower() == str(old or "").lower()  # sacctmgr 22.05 writes them in small
    return new == old


def _empty(value: Value) -> bool:
    return value is None or value == "" or (not isinstance(value, (int, float)) and not value)


def text_of(value: Value, column: str = "") -> str:
    """Return a column's value as sacctmgr reads it."""
    if value is None:
        return ""
    if column in _TIMES and isinstance(value, int):
        return format_slurm_time(value)
    if isinstance(value, frozenset):
        return ",".join(sorted(value))
    if isinstance(value, Mapping):
        return ",".join(
            f"{name}={amount}M" if name == "mem" else f"{name}={amount}"
            for name, amount in sorted(value.items())
        )
    return f"{value:g}" if isinstance(value, float) else str(value)


def _new_text(new: Value, old: Value, column: str) -> str:
    """Return a value to set; an amount that goes is cleared one by one."""
    if isinstance(new, Mapping):
        dropped = {key: -1 for key in (old if isinstance(old, Mapping) else {}) if key not in new}
        return ",".join(filter(None, (text_of(new), text_of(dropped).replace("-1M", "-1"))))
    return text_of(new, column)


def change_of(
    action: str, entity: str, name: str, settings: tuple[Setting, ...], command: tuple[str, ...]
) -> Change:
    """Return the change that makes these settings.

    Args:
        action: ``add`` or ``modify``.
        entity: of what kind.
        name: of what.
        settings: what changes.
        command: sacctmgr's words up to the values.
    """
    values = tuple(
        f"{item.name}={item.new or _CLEARED.get(item.name, _UNSET)}" for item in settings
    )
    return Change(action, entity, name, settings, (*command, *values))


def words_of(value: Value) -> frozenset[str]:
    """Return a set of words; an empty one for anything else."""
    return value if isinstance(value, frozenset) else frozenset()
