"""What a site has decided about the checks of a node: a small JSON file, read without pydantic.

It is written by ``slurmkit site generate`` from the ``health`` and ``node_types`` keys of
site.yaml; docs/reference/health-checks.md describes it.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slurmkit.errors import EXIT_USAGE, SlurmkitError
from slurmkit.health.check import Check, Node
from slurmkit.health.registry import all_checks
from slurmkit.health.verdict import ACTIONS
from slurmkit.hostlist import expand
from slurmkit.record import Record

CONFIG_PATH = "/etc/slurmkit/health.json"
FORMAT, VERSION = "slurmkit-health", 1


class DrainLimits(Record):
    """How readily nodes are drained and put back.

    Attributes:
        max_share: share of all nodes that may be drained by us at once.
        min_nodes: so many may be, however small the cluster is.
        fail_after: a check must fail this often in a row before its node is drained.
        pass_after: a node must be well this often in a row before it is put back.
        max_drains: a node that we have drained so often in a day stays drained.
        admin_s: for so long a node that somebody has put back against us is not drained again.
    """

    max_share: float = 0.1
    min_nodes: int = 1
    fail_after: int = 2
    pass_after: int = 3
    max_drains: int = 4
    admin_s: float = 3600.0


class Settings(Record):
    """What a site says about one check; None leaves it as it is.

    Attributes:
        off: do not run it.
        action: instead of the check's own.
        level: instead of the check's own.
        thresholds: instead of the check's own, by name.
    """

    off: bool = False
    action: str | None = None
    level: str | None = None
    thresholds: Mapping[str, float] = {}


class NodeKind(Record):
    """Nodes that are alike.

    Attributes:
        name: of the node type in site.yaml.
        hosts: the nodes; empty for all.
        fields: what of ``Node`` is known.
        checks: settings by id of the check.
    """

    name: str = ""
    hosts: frozenset[str] = frozenset()
    fields: Mapping[str, Any] = {}
    checks: Mapping[str, Settings] = {}


class HealthConfig(Record):
    """The whole file.

    Attributes:
        kinds: kinds of nodes; the first that names a node, or names none, is the node's.
        drains: how readily nodes are drained.
        state_dir: where the programs of the node keep what they must remember.
        within_s: how long all checks of the health program may take, seconds.
        prolog_within_s: how long those of the prolog may take, seconds.
    """

    kinds: tuple[NodeKind, ...] = ()
    drains: DrainLimits = DrainLimits()
    state_dir: Path = Path("/var/lib/slurmkit/health")
    within_s: float = 45.0
    prolog_within_s: float = 1.2

    def kind_of(self, host: str) -> NodeKind:
        """Return the kind of a node; one about which nothing is known when it is not named."""
        for kind in self.kinds:
            if host in kind.hosts or not kind.hosts:
                return kind
        return NodeKind()


class HealthConfigError(SlurmkitError):
    """The file of the site is not what it should be."""

    exit_code = EXIT_USAGE


def read_config(path: Path) -> HealthConfig:
    """Return what a file says.

    Raises:
        HealthConfigError: it cannot be read, or makes no sense.
    """
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise HealthConfigError(f"{path}: {error.strerror}", hint=_HINT) from error
    except ValueError as error:
        raise HealthConfigError(f"{path} is no JSON: {error}", hint=_HINT) from error
    try:
        return _config(value)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise HealthConfigError(f"{path}: {error}", hint=_HINT) from error


_HINT = "slurmkit site generate writes it from site.yaml"


def read_own(environ: Mapping[str, str]) -> HealthConfig:
    """Return what this node's file says; what holds without one where there is none.

    Args:
        environ: may name another file, as SLURMKIT_HEALTH_CONF.

    Raises:
        HealthConfigError: there is one, and it cannot be read or makes no sense.
    """
    try:
        return read_config(Path(environ.get("SLURMKIT_HEALTH_CONF") or CONFIG_PATH))
    except HealthConfigError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return HealthConfig()
        raise


def own_name(environ: Mapping[str, str]) -> str:
    """Return what Slurm calls this node; outside of it, what the node calls itself."""
    return environ.get("SLURMD_NODENAME") or os.uname().nodename.partition(".")[0]


def _config(value: Any) -> HealthConfig:
    if value.get("format") != FORMAT or value.get("version") != VERSION:
        raise ValueError(f"not a {FORMAT} file of version {VERSION}")
    default, common = HealthConfig(), value.get("common") or {}
    return HealthConfig(
        # The last one is what holds for nodes that no kind names.
        kinds=tuple(_kind(kind, common) for kind in (*(value.get("kinds") or ()), {})),
        drains=DrainLimits(**(value.get("drains") or {})),
        state_dir=Path(value.get("state_dir") or default.state_dir),
        within_s=float(value.get("within_s") or default.within_s),
        prolog_within_s=float(value.get("prolog_within_s") or default.prolog_within_s),
    )


_NODE_FIELDS = {
    "num_gpus": int,
    "num_cpus": int,
    "memory_mib": int,
    "munge_socket": str,
    "nvidia_smi": str,
    "driver_s": float,
    "root": Path,
    "local_dir": Path,
    "shared_dir": Path,
}


def _kind(value: Mapping[str, Any], common: Mapping[str, Any]) -> NodeKind:
    both = {**common, **value}
    fields: dict[str, Any] = {
        name: kind(both[name]) for name, kind in _NODE_FIELDS.items() if both.get(name) is not None
    }
    mounts = [*(common.get("mounts") or ()), *(value.get("mounts") or ())]
    fields["mounts"] = tuple(dict.fromkeys(str(path) for path in mounts))
    checks = dict(common.get("checks") or {})
    for name, own in (value.get("checks") or {}).items():
        shared = checks.get(name) or {}
        thresholds = {**(shared.get("thresholds") or {}), **(own.get("thresholds") or {})}
        checks[name] = {**shared, **own, "thresholds": thresholds}
    return NodeKind(
        name=str(value.get("name") or ""),
        hosts=frozenset(expand(value.get("hosts") or "")),
        fields=fields,
        checks={name: _settings(name, of_check) for name, of_check in checks.items()},
    )


def _settings(name: str, value: Mapping[str, Any]) -> Settings:
    action = value.get("action")
    if action is not None and action not in ACTIONS:
        raise ValueError(f"{name}: no action {action!r}")
    numbers = {key: float(number) for key, number in (value.get("thresholds") or {}).items()}
    return Settings(bool(value.get("off")), action, value.get("level"), numbers)


def node_of(config: HealthConfig, host: str) -> Node:
    """Return the node as the site describes it."""
    return Node(**config.kind_of(host).fields)


def configured(config: HealthConfig, host: str) -> tuple[Check, ...]:
    """Return the checks of a node with what the site says of them; none that is switched off."""
    settings = config.kind_of(host).checks
    found = []
    for check in all_checks():
        said = settings.get(check.id, Settings())
        if not said.off:
            found.append(_with(check, said))
    return tuple(found)


def _with(check: Check, said: Settings) -> Check:
    thresholds = tuple(
        threshold.replace(value=said.thresholds.get(threshold.name, threshold.value))
        for threshold in check.thresholds
    )
    return check.replace(
        action=said.action or check.action,
        level=said.level or check.level,
        thresholds=thresholds,
    )
