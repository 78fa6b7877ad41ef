"""What a sandbox takes from the machine around it: folders to share, networks to keep clear of."""

import ipaddress
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import slurmkit
from slurmkit.sandbox.scripts import PATH, PRIVATE_DIRS

# A host's own system folders, which differ from release to release and are never shared as a whole.
_SYSTEM_DIRS = tuple(
    Path(p) for p in ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/proc", "/sys", "/boot")
)


def work_tree(folder: Path) -> Path:
    """Return the top of the work tree around ``folder``: where .git is, else the folder itself."""
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").exists():
            return candidate
    return folder


def shared_folders(extra: Sequence[Path] = ()) -> tuple[Path, ...]:
    """Return the folders that every host shall see at the same path, none inside another.

    Args:
        extra: what the user asks for beyond the work tree, $HOME, /home, /opt and this Python.
    """
    package = Path(slurmkit.__file__).resolve().parent.parent
    wanted = [
        *(path.resolve() for path in extra),
        work_tree(Path.cwd()),
        Path(os.environ.get("HOME") or "/root").resolve(),
        Path("/home"),
        Path("/opt"),
        Path(sys.prefix).resolve(),
        Path(sys.base_prefix).resolve(),
        package,
    ]
    return outermost(path for path in wanted if path.is_dir() and _shareable(path))


def _shareable(path: Path) -> bool:
    if path == Path("/") or path in PRIVATE_DIRS:
        return False
    local = Path("/usr/local")
    if path == local or local in path.parents:
        return True
    return not any(path == system or system in path.parents for system in _SYSTEM_DIRS)


def outermost(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return the paths without those that lie in another one, in their order."""
    unique = list(dict.fromkeys(paths))
    return tuple(p for p in unique if not any(other in p.parents for other in unique))


def networks_in_use() -> list[ipaddress.IPv4Network]:
    """Return every IPv4 network that this machine has a route to, the default route left out."""
    done = subprocess.run(
        ["ip", "-4", "-o", "route", "show", "table", "all"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={"PATH": PATH},
    )
    networks = []
    for line in done.stdout.splitlines():
        words = [word for word in line.split() if word not in ("local", "broadcast", "unreachable")]
        try:
            networks.append(ipaddress.IPv4Network(words[0], strict=False))
        except (ValueError, IndexError):
            continue  # "default", or a kind of route without an address
    return networks
