"""Read what an mpirun says about its own daemons: a host that died, and one it could not reach."""

import re

from slurmkit.launch.outcome import TaskExit

# Open MPI 4 (orte) and 5 (prte): help-errmgr-base.txt, "node-died".
_LOST = re.compile(r"Remote daemon:\s+\S+ on node (?P<host>\S+)")
# help-plm-rsh.txt and help-errmgr-base.txt, "failed-daemon": it never reported back.
_UNREACHED = re.compile(r"was unable to reliably start one or more daemons")


def lost_hosts(text: str) -> list[TaskExit]:
    """Return the host whose daemon mpirun lost, or the daemons it could not start; else nothing.

    Args:
        text: what mpirun itself has written.
    """
    if match := _LOST.search(text):
        return [TaskExit(None, match["host"], detail="its host died, or left the network")]
    if _UNREACHED.search(text):
        return [TaskExit(None, "", detail="mpirun could not start its daemon on every host")]
    return []
