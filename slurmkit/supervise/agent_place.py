"""Where an agent's socket is on its node: private, short, and never another job's.

The folder belongs to the user alone. The name holds the job and the node, because nodes may share
/tmp between jobs, and several of Slurm's nodes may be one machine.
"""

import _socket
import contextlib
import os
import stat
from pathlib import Path

from slurmkit.errors import SlurmkitError

#: What stands for the node's name in SLURMKIT_AGENT_SOCKET; `slurmkit exec` replaces it.
NODE_MARK = "%n"


def socket_pattern(uid: int, job_id: str) -> str:
    """Return the path with ``%n`` in place of the node's name."""
    return f"/tmp/slurmkit-{uid}/{job_id}.{NODE_MARK}"  # noqa: S108 (checked below to be private)


def socket_path(uid: int, job_id: str, node: str) -> Path:
    """Return the path on one node."""
    return Path(socket_pattern(uid, job_id).replace(NODE_MARK, node))


def private_folder(path: Path) -> None:
    """Make the folder for its owner alone.

    Raises:
        SlurmkitError: something else is there: another user may have put it there on purpose.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise SlurmkitError(
            f"{path} is not a folder of our own",
            hint="another user of this node made it; ask the administrator to remove it",
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)


def sweep(folder: Path, keep: str = "") -> list[str]:
    """Remove sockets that nobody listens on any more, but ``keep``; return their names."""
    gone = []
    for path in folder.iterdir():
        if path.name == keep:
            continue
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(path.lstat().st_mode) and not listened_to(path):
                path.unlink()
                path.with_name(f"{path.name}.tasks").unlink(missing_ok=True)
                gone.append(path.name)
    return gone


def listened_to(path: Path) -> bool:
    """Whether a living process listens on a socket."""
    kind = _socket.SOCK_SEQPACKET | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
    probe = _socket.socket(_socket.AF_UNIX, kind)
    try:
        probe.connect(str(path))
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:  # its queue is full, or it is of another kind: somebody's
        return True
    else:
        return True
    finally:
        probe.close()
