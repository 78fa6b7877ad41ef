"""Starts and stops nodes as Slurm asks, and reports when more of them would help."""

import time
from pathlib import Path
from typing import Literal

from slurmkit.elastic.actions import Actions, Outcome
from slurmkit.elastic.depth import Depth, depth
from slurmkit.elastic.driver import State, load_driver
from slurmkit.errors import UsageError
from slurmkit.hostlist import expand
from slurmkit.site.elastic import Elastic
from slurmkit.site.lookup import find_site
from slurmkit.slurm.power import PowerDoor

Action = Literal["resume", "suspend", "resume-failed"]


def act(action: Action, hosts: str, *, site: str | None = None) -> Outcome:
    """Do what Slurm asks for a host list.

    Args:
        action: ``resume``, ``suspend`` or ``resume-failed``.
        hosts: the host list that Slurm gave.
        site: site.yaml or its folder; None looks in the usual places.

    Raises:
        UsageError: the site has no section ``elastic``, or a host is none of its nodes.
    """
    elastic = _section(site)
    names = expand(hosts)
    # A wrong host list must not stop the controller's own machine.
    if strange := sorted(set(names) - set(expand(elastic.nodes))):
        raise UsageError(
            f"{', '.join(strange)} may not be started or stopped",
            hint="elastic.nodes in site.yaml lists what may be",
        )
    driver = load_driver(elastic.driver, elastic.env, float(elastic.driver_timeout_s))
    actions = Actions(driver, PowerDoor(), Path(elastic.log))
    if action == "resume":
        return actions.start(names)
    return actions.stop(names) if action == "suspend" else actions.start_failed(names)


def states(*, site: str | None = None) -> dict[str, State]:
    """Return what the driver says of each node that may be stopped."""
    elastic = _section(site)
    driver = load_driver(elastic.driver, elastic.env, float(elastic.driver_timeout_s))
    return dict(driver.list(expand(elastic.nodes)))


def report() -> Depth:
    """Return how deep the queue is, and how many more nodes would help.

    Raises:
        SlurmUnreachableError: there is no Slurm here, or no controller answers.
    """
    door = PowerDoor()
    return depth(door.waiting(), door.nodes(), time.time())


def _section(site: str | None) -> Elastic:
    found = find_site(site)
    if found.site.elastic is None:
        where = found.path or "the site"
        raise UsageError(
            f"{where} has no section 'elastic'",
            hint="it needs a driver and nodes: elastic: {driver: PROGRAM, nodes: HOSTLIST}",
        )
    return found.site.elastic
