"""Tell the agent of this node which task this process is; never waits and never fails."""

import _socket
import os

from slurmkit.launch.rendezvous import is_of_this_job
from slurmkit.launch.variables import Placement


def say_hello(env: dict[str, str], place: Placement, per_node: bool) -> None:
    """Send one packet, if an agent listens; SLURMKIT_AGENT_SOCKET then names this node's socket.

    Args:
        env: the task's environment; a socket of another job, or without an agent, is removed.
        place: the task's place.
        per_node: whether this is a launcher that starts the ranks.
    """
    if not is_of_this_job(env):
        del env["SLURMKIT_AGENT_SOCKET"]
        return
    host = env.get("SLURMD_NODENAME") or os.uname().nodename
    path = env["SLURMKIT_AGENT_SOCKET"] = env["SLURMKIT_AGENT_SOCKET"].replace("%n", host)
    rank = "null" if per_node else place.rank
    attempt = env.get("SLURMKIT_ATTEMPT", "")
    # Written by hand: json takes longer to import than all of this.
    packet = (
        f'{{"type":"task","rank":{rank},"local_rank":{place.local_rank},"pid":{os.getpid()},'
        f'"attempt":{attempt if attempt.isascii() and attempt.isdigit() else "null"}}}'
    )
    try:
        kind = _socket.SOCK_SEQPACKET | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
        connection = _socket.socket(_socket.AF_UNIX, kind)
        connection.connect(path)
        connection.send(packet.encode())
        connection.close()
    except OSError:  # there is none, or it has no time: the program starts all the same
        return
