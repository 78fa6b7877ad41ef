"""Are slurmd and munged alive?"""

from slurmkit.health.check import FULL, Check, Found, Node, fail, passed, skipped
from slurmkit.health.verdict import NOTE

_TIMEOUT_S = 1.0
_USUAL = "/run/munge/munge.socket.2"


def _look(node: Node) -> Found:
    names = {node.read(f"proc/{pid}/comm") for pid in node.names("proc") if pid.isdigit()}
    if not names:
        return skipped("/proc shows no process")
    bad = [] if "slurmd" in names else ["slurmd does not run"]
    path = node.root / (node.munge_socket or _USUAL).lstrip("/")
    # Sites with auth/slurm have no munge, and so no socket at the usual place.
    if (node.munge_socket or path.exists()) and (why := _munge(str(path))):
        bad.append(f"munged does not take a connection: {why}")
    return fail("; ".join(bad)) if bad else passed("slurmd runs, munged takes connections")


def _munge(path: str) -> str:
    """Return why munged cannot be reached; empty when it can."""
    import socket  # noqa: PLC0415 (a prolog, which does not look here, should not pay for it)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_S)
        try:
            connection.connect(path)
        except OSError as error:
            return error.strerror or "no answer"
    return ""


CHECK = Check(
    id="slurm-daemons",
    reads="names of all processes in /proc, and munged's socket, which sites may name "
    "(`health.munge_socket`)",
    limits="fails when no slurmd runs or munged's socket takes no connection",
    action=NOTE,
    function=_look,
    level=FULL,
    blocking=True,
    advice="`systemctl status slurmd munge`. Without munged, Slurm itself soon sees the node as "
    "down, and no drain can be asked for.",
)
