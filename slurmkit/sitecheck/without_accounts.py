"""A candidate without slurmdbd, so that a slurmctld alone comes up; lines stay in place. Pure.

With AccountingStorageEnforce, or with GRES in AccountingStorageTRES, slurmctld ends where it
reaches no slurmdbd (measured at 22.05), and a database takes longer than the whole check may.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from slurmkit.sitecheck.candidate import Candidate
from slurmkit.sitecheck.config import Cluster

_DROPPED = (
    *("AccountingStorageEnforce", "AccountingStorageTRES", "AccountingStorageHost"),
    *("AccountingStorageBackupHost", "AccountingStoragePass", "AccountingStorageExternalHost"),
    "AccountingStorageParameters",
)
_TYPE = re.compile(
    r"^([ \t]*AccountingStorageType[ \t]*=[ \t]*)accounting_storage/slurmdbd",
    re.IGNORECASE | re.MULTILINE,
)
_QOS = re.compile(r"(?<=\s)(?:QOS|AllowQOS|DenyQOS)=\S+", re.IGNORECASE)
#: GRES weigh something only where they are counted, which takes slurmdbd.
_WEIGHTS = re.compile(
    r"((?:TRESBillingWeights|PriorityWeightTRES)[ \t]*=[ \t]*)(\"?)([^\s\"]+)\2", re.IGNORECASE
)
_PARTITION = re.compile(r"^[ \t]*PartitionName[ \t]*=.*$", re.IGNORECASE | re.MULTILINE)

#: Settings that a comparison must not expect to find.
CHANGED = frozenset(name.lower() for name in _DROPPED) | {
    *("accountingstoragetype", "priorityweighttres")
}


def rewrite(cluster: Cluster) -> tuple[Candidate, tuple[str, ...]]:
    """Return a candidate whose slurmctld needs no slurmdbd, and what was left out."""
    storage = cluster.slurm.value("AccountingStorageType")
    if not storage.endswith("slurmdbd"):
        return cluster.candidate, ()
    left = "slurmdbd: no AccountingStorage*, QOS of partitions, weights of GRES"
    return _edited(without_lines(cluster.candidate, _DROPPED), _without_slurmdbd), (left,)


def without_lines(candidate: Candidate, names: Sequence[str]) -> Candidate:
    """Return a candidate in which the lines that set these keywords are empty comments."""
    if not names:
        return candidate
    line = re.compile(rf"^[ \t]*(?:{'|'.join(names)})[ \t]*=.*$", re.IGNORECASE | re.MULTILINE)
    return _edited(candidate, lambda text: line.sub("#", text))


def _edited(candidate: Candidate, edit: Callable[[str], str]) -> Candidate:
    """Return a candidate whose files of Slurm are edited."""
    files = {
        path: replace(file, content=edit(file.text).encode())
        if path.endswith(".conf") and path.startswith(candidate.etc)
        else file
        for path, file in candidate.files.items()
    }
    return replace(candidate, files=files)


def _without_slurmdbd(text: str) -> str:
    text = _TYPE.sub(r"\1accounting_storage/none", text)
    return _WEIGHTS.sub(_without_gres, _PARTITION.sub(lambda line: _QOS.sub("", line[0]), text))


def _without_gres(match: re.Match[str]) -> str:
    kept = [word for word in match[3].split(",") if not word.lower().startswith("gres/")]
    return f"{match[1]}{','.join(kept) or 'cpu=1'}"
