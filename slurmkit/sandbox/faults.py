"""Break hosts of a sandbox as hardware breaks, and mend them."""

from slurmkit.sandbox import console, machine, processes, readiness, scripts
from slurmkit.sandbox.layout import CONTROLLER, Layout
from slurmkit.sandbox.record import SandboxError

UP = "up"
KILLED = "killed"
FROZEN = "frozen"
PARTITIONED = "partitioned"


def conditions(layout: Layout) -> dict[str, str]:
    """Return what each host really is: up, killed, frozen or partitioned."""
    inits = machine.inits(layout)
    cut = machine.unplugged(layout)
    return {host: _condition(inits.get(host), host in cut) for host in layout.hosts}


def _condition(init: processes.Process | None, unplugged: bool) -> str:
    if init is None:
        return KILLED
    if init.stopped():
        return FROZEN
    return PARTITIONED if unplugged else UP


def kill(layout: Layout, host: str) -> None:
    """Pull a host's plug: its link goes dark and every process on it ends at that moment.

    The link goes first, so that no farewell reaches the others: a machine without power sends none
    either.
    """
    init = console.running_init(layout, host)
    machine.plug(layout, host, connected=False)
    if not processes.end(init):
        raise SandboxError(f"{host}: process {init.pid} does not end")


def freeze(layout: Layout, host: str) -> None:
    """Stop every process of a host; its kernel still answers, as with a hung machine."""
    processes.freeze(console.running_init(layout, host))


def partition(layout: Layout, host: str) -> None:
    """Unplug a host's network cable; its processes go on."""
    console.running_init(layout, host)
    machine.plug(layout, host, connected=False)


def heal(layout: Layout, host: str, timeout_s: float) -> None:
    """Undo the above, start a daemon that has crashed, and wait until Slurm works with the host.

    Raises:
        SandboxError: Slurm does not take it back in time.
    """
    console.check_host(layout, host)
    machine.plug(layout, host, connected=True)
    init = machine.inits(layout).get(host)
    if init:
        processes.thaw(init)
        if scripts.daemon_name(host) and not machine.daemon(host, init):
            processes.end(init)
            init = None
    if init is None:
        machine.start_hosts(layout, [host])
    if host in layout.nodes:
        readiness.wait_rejoined(layout, host, timeout_s, booted=init is None)
    elif host == CONTROLLER:
        up = [name for name, condition in conditions(layout).items() if condition == UP]
        readiness.wait_controller(layout, up, timeout_s)
