"""Which keyword and which value of Slurm's files a release knows. Pure; reads `keywords`."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from slurmkit.site.generate.keywords import ALWAYS, CHANGES
from slurmkit.site.generate.release import Release

State = Literal["known", "ignored", "unknown"]

#: Keywords that begin lines with keywords of their own.
LINES = {
    "nodename": "NodeName",
    "partitionname": "PartitionName",
    "downnodes": "DownNodes",
    "nodeset": "NodeSet",
}


@dataclass(frozen=True)
class Keyword:
    """One keyword of one file.

    Attributes:
        file: ``slurm.conf``, ``gres.conf`` ..., or the keyword that begins its line of slurm.conf.
        name: as Slurm writes it; Slurm takes any case.
        since: first release that knows it; None where 22.05 does.
        ignored: first release that says it is defunct and reads on.
        gone: first release that refuses a file with it.
    """

    file: str
    name: str
    since: Release | None = None
    ignored: Release | None = None
    gone: Release | None = None

    def state(self, release: Release) -> State:
        """Return what a release makes of it."""
        if (self.since and not release.at_least(self.since)) or (
            self.gone and release.at_least(self.gone)
        ):
            return "unknown"
        return "ignored" if self.ignored and release.at_least(self.ignored) else "known"


@cache
def table() -> dict[tuple[str, str], Keyword]:
    """Return every keyword by file and lower-case name."""
    found = {
        (file, name.lower()): Keyword(file, name)
        for file, names in ALWAYS.items()
        for name in names.split()
    }
    for file, name, *releases in CHANGES:
        since, ignored, gone = (Release.parse(text) if text else None for text in releases)
        found[file, name.lower()] = Keyword(file, name, since, ignored, gone)
    return found


def find(file: str, name: str) -> Keyword | None:
    """Return a keyword, whatever its case; None where no release from 22.05 to 26.05 knows it."""
    return table().get((file, name.lower()))


def state(file: str, name: str, release: Release) -> State:
    """Return whether a release knows a keyword of a file, ignores it or refuses it."""
    keyword = find(file, name)
    return keyword.state(release) if keyword else "unknown"


@dataclass(frozen=True)
class Value:
    """A value that not every release knows.

    Attributes:
        file: the file it stands in.
        key: the keyword it is a value of.
        value: the value, or the word in a list of them.
        since: first release with it; None where 22.05 has it.
        gone: first release without it.
        source: where this is written, or how it was seen.
    """

    file: str
    key: str
    value: str
    since: Release | None
    gone: Release | None
    source: str

    def known(self, release: Release) -> bool:
        """Return whether a release has it."""
        early = self.since is not None and not release.at_least(self.since)
        return not early and not (self.gone is not None and release.at_least(self.gone))


def _value(file: str, key: str, value: str, since: str, gone: str, source: str) -> Value:
    releases = [Release.parse(text) if text else None for text in (since, gone)]
    return Value(file, key, value, releases[0], releases[1], source)


#: Values that generation chooses by release.
VALUES = (
    _value("cgroup.conf", "CgroupPlugin", "disabled", "24.05", "", "cgroup.conf(5), cgroup.c"),
    _value("gres.conf", "AutoDetect", "nvidia", "24.11", "", "gres.conf(5); needs no NVML"),
    _value("gres.conf", "AutoDetect", "nvml", "", "", "gres.conf(5)"),
    _value("gres.conf", "AutoDetect", "full", "26.05", "", "gres.conf(5)"),
    _value("slurm.conf", "SchedulerParameters", "requeue_delay", "25.11", "", "slurm.conf(5)"),
    _value(
        "slurm.conf", "TopologyPlugin", "topology/flat", "25.05", "", "plugin folders of the source"
    ),
    _value("slurm.conf", "TopologyPlugin", "topology/block", "23.11", "", "the same"),
    _value("slurm.conf", "JobContainerType", "job_container/tmpfs", "", "25.11", "the same"),
    _value("slurm.conf", "NamespaceType", "namespace/tmpfs", "25.11", "", "the same"),
    _value("slurm.conf", "", "topology.yaml", "25.05", "", "topology.yaml(5), topology.c"),
    _value("slurm.conf", "SwitchType", "switch/nvidia_imex", "24.05", "", "the same"),
)


def knows(file: str, key: str, value: str, release: Release) -> bool:
    """Return whether a release knows a value; one that is not in the table is known to all."""
    return all(
        entry.known(release)
        for entry in VALUES
        if (entry.file, entry.key.lower(), entry.value) == (file, key.lower(), value)
    )
