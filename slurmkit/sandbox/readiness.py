"""Wait until Slurm in a sandbox is ready, by what it says and by what is really there."""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from slurmkit.hostlist import compress
from slurmkit.sandbox import console, machine, processes, scripts
from slurmkit.sandbox.layout import CONTROLLER, LOGIN, Layout
from slurmkit.sandbox.record import SandboxError

Progress = Callable[[str], None]

_POLL_S = 0.03
# Where the daemons of a sandbox listen, by the name that each runs under.
_PORTS = {"slurmctld": 6817, "slurmd": 6818, "slurmdbd": 6819}
# Node states, without Slurm's suffixes, in which a node takes or runs jobs.
_USABLE = frozenset({"idle", "mixed", "allocated", "completing"})


def silent(_message: str) -> None:
    """Report no progress."""


def node_states(layout: Layout) -> dict[str, str]:
    """Return Slurm's long state of each node, such as ``down*``; empty while it is silent."""
    if LOGIN not in machine.inits(layout):
        return {}
    one = [] if layout.site else ["--partition=long"]  # which has all nodes; a site's need not
    rows = _rows(layout, ["sinfo", "--noheader", *one, "--Node", "--format=%N %T"])
    states = {row[0]: row[1] for row in rows if len(row) == 2}
    lost = [node for node in layout.nodes if node not in states]
    if states and lost:
        # sinfo goes by partitions, and a site may have nodes in none.
        rows = _rows(layout, ["scontrol", "--oneliner", "show", "node", ",".join(lost)])
        for row in rows:
            words = dict(word.partition("=")[::2] for word in row)
            if "NodeName" in words and "State" in words:
                base, *flags = words["State"].lower().split("+")
                states[words["NodeName"]] = "drained" if "drain" in flags else base
    return states


def _rows(layout: Layout, command: list[str]) -> list[list[str]]:
    """Return the words of each line that a program prints on the login host; none in trouble."""
    try:
        done = console.run(layout, LOGIN, command, cwd="/", timeout=15)
    except subprocess.TimeoutExpired:
        return []
    return [line.split() for line in done.stdout.splitlines()]


def wait_usable(
    layout: Layout, nodes: Sequence[str], timeout_s: float, progress: Progress = silent
) -> None:
    """Wait until Slurm runs jobs on all these nodes; resume those that are drained.

    Raises:
        SandboxError: they are not in time; the message ends with what the daemons said.
    """
    started = time.monotonic()
    waiting = list(nodes)
    while waiting:
        states = node_states(layout)
        if ready := [n for n in waiting if states.get(n, "") in _USABLE]:
            waiting = [n for n in waiting if n not in ready]
            progress(f"{compress(ready)} up")
        for node in [n for n in waiting if states.get(n, "").startswith("drain")]:
            update = ["scontrol", "update", f"nodename={node}", "state=resume"]
            console.run(layout, LOGIN, update, cwd="/")
        if waiting and time.monotonic() - started > timeout_s:
            seen = ", ".join(f"{n} is {states.get(n) or 'unknown'}" for n in waiting)
            raise SandboxError(
                f"sandbox {layout.name}: {seen} after {timeout_s:.0f} s"
                f"{machine.log_tails(layout, [CONTROLLER, *waiting[:2]])}"
            )
        if waiting:
            time.sleep(_POLL_S)


def wait_rejoined(layout: Layout, node: str, timeout_s: float, *, booted: bool) -> None:
    """Wait until a healed node takes jobs again.

    Args:
        layout: the sandbox.
        node: the node.
        timeout_s: most seconds to wait.
        booted: True when it was started afresh, False when its processes went on.

    Raises:
        SandboxError: it does not in time.
    """
    init = console.running_init(layout, node)
    # Until SlurmdTimeout, Slurm believes in a node that has lost its slurmd; so look at the node.
    wait_listening(layout, node, timeout_s)
    if not booted and node_states(layout).get(node) not in _USABLE:
        # Slurm asks a node that was silent at long intervals only (seen: 37 s, and not at all);
        # slurmd registers when it reads its configuration again.
        slurmd = machine.daemon(node, init)
        if slurmd:
            slurmd.send(signal.SIGHUP)
    wait_usable(layout, [node], timeout_s)


def wait_listening(layout: Layout, host: str, timeout_s: float) -> None:
    """Wait until a host's daemon takes connections.

    Raises:
        SandboxError: it does not in time; the message ends with what it said.
    """
    init, name = console.running_init(layout, host), scripts.daemon_name(host)
    try:
        _wait(
            layout,
            lambda: processes.listens(init, _PORTS[name]),
            f"{host} has no {name}",
            timeout_s,
        )
    except SandboxError as error:
        raise SandboxError(f"{error.message}{machine.log_tails(layout, [host])}") from error


def wait_controller(layout: Layout, nodes: Sequence[str], timeout_s: float) -> None:
    """Wait until the controller answers and has heard of these nodes.

    Raises:
        SandboxError: it has not in time.
    """

    def heard() -> bool:
        states = node_states(layout)
        return bool(states) and not any(
            state == "unknown" or state.endswith("*")
            for node, state in states.items()
            if node in nodes
        )

    _wait(layout, heard, "the controller does not answer", timeout_s)


def _wait(layout: Layout, done: Callable[[], bool], otherwise: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise SandboxError(f"sandbox {layout.name}: {otherwise} after {timeout_s:.0f} s")
        time.sleep(_POLL_S)
