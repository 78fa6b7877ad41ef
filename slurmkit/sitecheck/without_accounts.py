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
_PARTITION = re.compile(r"^[ \t]*PartitionName[ \t]*=.*$", re.IGNORECASE | re.MULTILINE)

#: Settings that a comparison must not expect to find.
CHANGED = frozenset(name.lower() for name in _DROPPED) | {"accountingstoragetype"}


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
        files[path] = replace(file, content=text.encode())
    left = "accounting: without slurmdbd, AccountingStorage* and the QOS of partitions"
    return replace(cluster.candidate, files=files), (left,)
