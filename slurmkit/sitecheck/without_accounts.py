"""A candidate without slurmdbd, so that a slurmctld alone comes up; lines stay in place. Pure.

With AccountingStorageEnforce, or with GRES in AccountingStorageTRES, slurmctld ends where it
reaches no slurmdbd (measured at 22.05), and a database takes longer than the whole check may.
"""

import re
from dataclasses import replace

from slurmkit.sitecheck.candidate import Candidate
from slurmkit.sitecheck.config import Cluster

_DROPPED = (
    *("AccountingStorageEnforce", "AccountingStorageTRES", "AccountingStorageHost"),
    *("AccountingStorageBackupHost", "AccountingStoragePass", "AccountingStorageExternalHost"),
    "AccountingStorageParameters",
)
_LINE = re.compile(rf"^[ \t]*(?:{'|'.join(_DROPPED)})[ \t]*=.*$", re.IGNORECASE | re.MULTILINE)
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
    files = dict(cluster.candidate.files)
    for path, file in files.items():
        if not path.endswith(".conf") or not path.startswith(cluster.candidate.etc):
            continue
        text = _TYPE.sub(r"\1accounting_storage/none", file.text)
        text = _PARTITION.sub(lambda line: _QOS.sub("", line[0]), _LINE.sub("#", text))
        text = _WEIGHTS.sub(_without_gres, text)
        files[path] = replace(file, content=text.encode())
    left = "slurmdbd: no AccountingStorage*, QOS of partitions, weights of GRES"
    return replace(cluster.candidate, files=files), (left,)


def _without_gres(match: re.Match[str]) -> str:
    kept = [word for word in match[3].split(",") if not word.lower().startswith("gres/")]
    return f"{match[1]}{','.join(kept) or 'cpu=1'}"
