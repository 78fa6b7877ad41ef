"""The key ``elastic`` of site.yaml: nodes that are started when there is work, and stopped after.

Facts are from slurm.conf(5) and Slurm's power saving guide: SuspendTime turns it on; nodes that are
not to be touched stand in SuspendExcNodes; ResumeFailProgram exists since 20.11, and a node that
has not registered within ResumeTimeout is DOWN and powered down.
"""

from functools import cache
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from slurmkit.site.nodes import HostList
from slurmkit.yamlfile.types import Env, Line, Positive, Section

if TYPE_CHECKING:
    from slurmkit.site.generate.release import Release
    from slurmkit.site.models import Site

#: Where a site has the programs that Slurm calls; `plugins/elastic` brings them.
PROGRAMS_DIR = "/etc/slurm/elastic"


class Elastic(Section):
    """Nodes that come and go with the work."""

    driver: Line = Field(
        description="What starts and stops machines: a program with an absolute path, called with"
        " start, stop or list and host names; or the name of an installed Python driver."
    )
    nodes: HostList = Field(description="Host list of the nodes that may be stopped.")
    present: bool = Field(
        True,
        description="true: the nodes are machines that are on when Slurm starts and are stopped"
        " when idle. false: they do not exist until they are started (State=CLOUD).",
    )
    idle_s: Positive = Field(
        600, description="Seconds without a job after which a node is stopped."
    )
    start_timeout_s: Positive = Field(
        600, description="Seconds in which a started node must register with Slurm."
    )
    stop_timeout_s: Positive = Field(
        120, description="Seconds that a node takes to stop; until then it is not started again."
    )
    start_rate: int = Field(
        100, ge=0, description="Nodes started per minute at most; 0 for no limit."
    )
    stop_rate: int = Field(
        20, ge=0, description="Nodes stopped per minute at most; 0 for no limit."
    )
    keep: int = Field(
        0, ge=0, description="Idle nodes that stay on, so that short jobs start fast."
    )
    driver_timeout_s: Positive = Field(
        300, description="Seconds that one call of the driver may take."
    )
    env: Env = Field(default={}, description="Environment of the driver.")
    log: Line = Field(
        "/var/log/slurm/elastic.log", description="Where each start and stop is noted, as JSON."
    )


NodeState = Literal["", "CLOUD"]


def node_state(site: "Site", host: str) -> NodeState:
    """Return the State= that a node's line in slurm.conf needs; empty for none."""
    elastic = site.elastic
    absent = elastic is not None and not elastic.present and host in _hosts(elastic.nodes)
    return "CLOUD" if absent else ""


@cache
def _hosts(nodes: str) -> frozenset[str]:
    from slurmkit.hostlist import expand  # noqa: PLC0415 (sites are read more often than generated)

    return frozenset(expand(nodes))  # asked for once per node


def slurm_conf_lines(site: "Site", release: "Release") -> list[str]:
    """Return the lines of slurm.conf that turn power saving on; none without ``elastic``."""
    elastic = site.elastic
    if elastic is None:
        return []
    from slurmkit.hostlist import compress, expand  # noqa: PLC0415 (as above)

    others = [
        host
        for kind in site.node_types.values()
        if kind.nodes is not None
        for host in expand(kind.nodes)
        if host not in _hosts(elastic.nodes)
    ]
    # slurm.conf(5): HOSTLIST:N keeps N of them on; lists without a count come after those with one.
    excluded = [f"{compress(expand(elastic.nodes))}:{elastic.keep}"] if elastic.keep else []
    if others:
        excluded.append(compress(others))
    lines = [
        f"SuspendProgram={PROGRAMS_DIR}/suspend.sh",
        f"ResumeProgram={PROGRAMS_DIR}/resume.sh",
        f"ResumeFailProgram={PROGRAMS_DIR}/resume-failed.sh",
        f"SuspendTime={elastic.idle_s}",
        f"ResumeTimeout={elastic.start_timeout_s}",
        f"SuspendTimeout={elastic.stop_timeout_s}",
        f"ResumeRate={elastic.start_rate}",
        f"SuspendRate={elastic.stop_rate}",
    ]
    if excluded:
        lines.append(f"SuspendExcNodes={','.join(excluded)}")
    if not elastic.present and not release.at_least("23.02"):
        # Else no program shows nodes that are off (seen with 22.05.8); 24.11 has no such word.
        lines.append("PrivateData=cloud")
    if release.at_least("23.02"):
        # A node that somebody has drained, or looks into, is not ours to stop.
        lines.append("SuspendExcStates=DRAIN,FAIL,MAINTENANCE")
    return lines
