"""The key ``health`` of site.yaml: what is looked at on nodes, and what follows. Pure.

Facts are from slurm.conf(5): HealthCheckProgram runs as root on every node that responds, each
HealthCheckInterval, and is ended after 60 s; CYCLE spreads the nodes over the interval; a job whose
prolog fails is requeued and held, and with nohold_on_prolog_fail not held.
"""

import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from slurmkit.site.health_checks import THRESHOLDS
from slurmkit.units import parse_size_mib
from slurmkit.yamlfile.types import Line, Positive, Section

if TYPE_CHECKING:
    from slurmkit.site.generate.release import Release
    from slurmkit.site.models import Site

#: Where nodes find what is rendered here, and the program that Slurm runs.
CONFIG_PATH = "/etc/slurmkit/health.json"
PROGRAM_PATH = "/etc/slurm/slurmkit-health.sh"
#: Words of SchedulerParameters without which a refused job is held until somebody releases it.
SCHEDULER_WORDS = ("nohold_on_prolog_fail",)

_FOLDED_FROM = 100
# Its nodes are one machine and have /run alone for themselves.
_STATE_DIR_OF_A_SANDBOX = "/run/slurmkit/health"


class CheckSettings(Section):
    """What a site says of one check."""

    action: Literal["off", "note", "refuse", "drain", "evict"] | None = Field(
        None,
        description="What follows when it fails: off does not run it, note writes it down, refuse"
        " lets no job start, drain drains the node, evict also ends the jobs there.",
    )
    level: Literal["quick", "full"] | None = Field(
        None, description="quick: also before each job, in the prolog; full: now and then."
    )
    thresholds: dict[str, float] = Field(
        default={}, description="Numbers that decide, by name; see the page of the check."
    )


class NodeHealth(Section):
    """What is different on the nodes of one type."""

    mounts: list[Line] = Field(default=[], description="Further paths that must be mounted.")
    checks: dict[str, CheckSettings] = Field(
        default={}, description="Settings of checks on these nodes; they win over those of all."
    )


class Health(Section):
    """Checks of nodes, before jobs and now and then, and drains by them."""

    interval_s: Positive = Field(60, description="Seconds between full checks of a node.")
    mounts: list[Line] = Field(default=[], description="Paths that must be mounted on every node.")
    checks: dict[str, CheckSettings] = Field(
        default={}, description="Settings of checks by their id."
    )
    node_types: dict[str, NodeHealth] = Field(
        default={}, description="What is different, by a name under node_types."
    )
    max_drained_share: float = Field(
        0.1, ge=0, le=1, description="Share of all nodes that slurmkit may have drained at once."
    )
    min_drained_nodes: int = Field(
        1, ge=0, description="So many nodes it may drain, however small that share is."
    )
    fail_after: Positive = Field(2, description="Checks in a row that must fail before a drain.")
    pass_after: Positive = Field(
        3, description="Checks in a row that must pass before a node is put back."
    )
    max_drains: Positive = Field(
        4, description="A node that was drained so often within a day stays drained."
    )
    trust_admin_s: int = Field(
        3600,
        ge=0,
        description="Seconds in which a node that somebody has put back is not drained again for"
        " the same checks.",
    )
    munge_socket: Line | None = Field(None, description="munged's socket, where it is elsewhere.")
    nvidia_smi: Line | None = Field(
        None, description="Path of nvidia-smi; then it is asked, and not NVML."
    )


def broken_health(site: "Site") -> list[tuple[str, str, str, str]]:
    """Return what does not fit together, as (message, key, hint, code)."""
    if site.health is None:
        return []
    found = []
    for name in site.health.node_types:
        if name not in site.node_types:
            message = f"there is no {name!r} under node_types"
            found.append(
                (message, f"health.node_types.{name}", "Name a node type.", "unknown-name")
            )
    tables = [("health", site.health.checks)]
    tables += [(f"health.node_types.{n}", k.checks) for n, k in site.health.node_types.items()]
    for place, table in tables:
        for check, settings in table.items():
            if check not in THRESHOLDS:
                hint = f"There are {', '.join(THRESHOLDS)}."
                message = f"there is no check {check!r}"
                found.append((message, f"{place}.checks.{check}", hint, "unknown-name"))
                continue
            for threshold in settings.thresholds:
                if threshold not in THRESHOLDS[check]:
                    known = ", ".join(THRESHOLDS[check]) or "none"
                    key = f"{place}.checks.{check}.thresholds.{threshold}"
                    message = f"{check} has no threshold {threshold!r}"
                    found.append((message, key, f"It has {known}.", "unknown-name"))
    return found


def health_json(site: "Site") -> str:
    """Return what the nodes read: site.yaml's part about them, without what needs pydantic."""
    health = site.health or Health()
    common: dict[str, Any] = {}
    if health.mounts:
        common["mounts"] = list(health.mounts)
    for name in ("munge_socket", "nvidia_smi"):
        if (value := getattr(health, name)) is not None:
            common[name] = value
    if health.checks:
        common["checks"] = _checks(health.checks)
    whole: dict[str, Any] = {
        "format": "slurmkit-health",
        "version": 1,
        "common": common,
        # A type without nodes is nobody's: to the nodes, no name would mean all of them.
        "kinds": [
            _kind(site, health, name) for name, kind in site.node_types.items() if kind.nodes
        ],
        "drains": {
            "max_share": health.max_drained_share,
            "min_nodes": health.min_drained_nodes,
            "fail_after": health.fail_after,
            "pass_after": health.pass_after,
            "max_drains": health.max_drains,
            "admin_s": float(health.trust_admin_s),
        },
        "within_s": _within_s(health),
    }
    if not site.slurm.confine:
        whole["state_dir"] = _STATE_DIR_OF_A_SANDBOX
    return json.dumps(whole, indent=2) + "\n"


def _kind(site: "Site", health: Health, name: str) -> dict[str, Any]:
    node_type, own = site.node_types[name], health.node_types.get(name, NodeHealth())
    kind: dict[str, Any] = {"name": name, "hosts": node_type.nodes}
    if node_type.gpus:
        kind["num_gpus"] = node_type.gpus
    # Nodes that claim what their machine may lack are nodes of a sandbox.
    if node_type.cpus is not None and site.slurm.confine:
        kind["num_cpus"] = node_type.cpus
    if node_type.memory is not None and site.slurm.confine:
        kind["memory_mib"] = parse_size_mib(node_type.memory)
    if own.mounts:
        kind["mounts"] = list(own.mounts)
    if own.checks:
        kind["checks"] = _checks(own.checks)
    return kind


def _checks(checks: dict[str, CheckSettings]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, settings in checks.items():
        one: dict[str, Any] = {}
        if settings.action == "off":
            one["off"] = True
        elif settings.action is not None:
            one["action"] = settings.action
        if settings.level is not None:
            one["level"] = settings.level
        if settings.thresholds:
            one["thresholds"] = dict(settings.thresholds)
        found[name] = one
    return found


def slurm_conf_lines(site: "Site", release: "Release") -> list[str]:
    """Return the lines that let Slurm run the health program."""
    health = site.health or Health()
    from slurmkit.hostlist import expand  # noqa: PLC0415 (sites are read more often than generated)

    num_nodes = sum(len(expand(kind.nodes or "")) for kind in site.node_types.values())
    # Spread over the interval, so that slurmctld is not asked by all nodes in one second.
    states = "ANY,CYCLE" if num_nodes >= _FOLDED_FROM else "ANY"
    lines = [
        f"HealthCheckProgram={PROGRAM_PATH}",
        f"HealthCheckInterval={health.interval_s}",
        f"HealthCheckNodeState={states}",
    ]
    if release.at_least("26.05"):
        lines.append(f"HealthCheckTimeout={_limit_s(health)}")
    return lines


def _limit_s(health: Health) -> int:
    """Return after how long Slurm ends the program, seconds.

    60 s before 26.05, and its default since, which complains where it is not below the interval.
    """
    return max(1, min(60, health.interval_s - 5))


def _within_s(health: Health) -> float:
    """Return how long all checks may take: what is found still has to be told and acted on."""
    limit_s = _limit_s(health)
    return min(45.0, max(limit_s - 10.0, limit_s / 2))
