"""Boots a sandbox: its files, its machine room, then its hosts in the order that Slurm needs."""

from typing import TYPE_CHECKING

from slurmkit.sandbox import (
    accounting,
    elastic,
    machine,
    programs,
    readiness,
    record,
    teardown,
)
from slurmkit.sandbox.layout import CONTROLLER, DATABASE, LOGIN, Layout
from slurmkit.sandbox.readiness import Progress

if TYPE_CHECKING:
    from slurmkit.sandbox.site import Trial
    from slurmkit.topology.model import Topology


def trial_of(site: str, nodes: int) -> "Trial | None":
    """Return what a sandbox shall have of a site; None where none is named."""
    if not site:
        return None
    # site.yaml and its templates take a quarter of a second to import: only where they are used.
    from slurmkit.sandbox.site import read_trial  # noqa: PLC0415

    return read_trial(site, nodes)


def boot(
    layout: Layout, node: "Topology | None", trial: "Trial | None", progress: Progress
) -> None:
    """Start everything of a sandbox and return when every node is idle.

    Args:
        layout: the sandbox; the caller holds its lock, and nothing of that name is there.
        node: what the nodes look like; None for what the machine is.
        trial: the site whose configuration it has, if any.
        progress: called with one line per step.

    Raises:
        SandboxError: it does not come up; then nothing is left of it, and the message ends with
            what the daemons said.
    """
    try:
        _write(layout, node, trial, progress)
        machine.start_room(layout)
        _start_services(layout, progress)
        if trial is not None and trial.is_elastic:
            elastic.start_agent(layout)
        running = machine.inits(layout)
        machine.start_hosts(layout, [host for host in layout.hosts if host not in running])
        readiness.wait_usable(layout, layout.nodes, machine.BOOT_TIMEOUT_S, progress)
        record.write_record(layout, record.PHASE_UP)
    except BaseException:
        teardown.remove(layout.name)
        raise


def _write(
    layout: Layout, node: "Topology | None", trial: "Trial | None", progress: Progress
) -> None:
    version = programs.slurm_version(layout.root_dir)
    series = programs.parse_version(version)
    files, changes = trial.files(layout, series) if trial else ({}, [])
    machine.write_files(layout, series, node, files)
    record.write_changes(layout, changes)
    progress(
        f"sandbox {layout.name}: Slurm {version} on {layout.node_range}, network {layout.subnet}"
    )


def _start_services(layout: Layout, progress: Progress) -> None:
    """Start what the nodes, or the controller, must find there."""
    if layout.accounting:
        machine.start_hosts(layout, [DATABASE, LOGIN])
        accounting.prepare(layout, machine.BOOT_TIMEOUT_S)
        progress("accounting database up")
    if layout.site:
        # With a site's long timeouts a slurmd that starts too early tries again after a minute.
        machine.start_hosts(layout, [CONTROLLER])
        readiness.wait_listening(layout, CONTROLLER, machine.BOOT_TIMEOUT_S)
        if layout.accounting:
            accounting.apply_site(layout)
            progress("tiers and accounts made")
