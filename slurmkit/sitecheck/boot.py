"""Starts a candidate's slurmctld for a moment, in a room that leaves nothing behind, and asks it.

Nothing is written to this machine's disks and no process outlives us: the room is memory, and the
kernel takes it away with its first process, which dies with us.
"""

import io
import ipaddress
import os
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slurmkit.errors import SlurmkitError
from slurmkit.sandbox import programs, rootfs
from slurmkit.sandbox.scripts import PATH
from slurmkit.site.generate.release import Release
from slurmkit.sitecheck import boot_script, without_accounts
from slurmkit.sitecheck.candidate import Candidate, File
from slurmkit.sitecheck.config import Cluster, number, split_hosts
from slurmkit.sitecheck.config import hosts as expand_hosts
from slurmkit.sitecheck.rules.places import controllers

#: Debian releases whose root file systems the sandbox makes, and the Slurm in each.
SUITES = ("trixie", "forky")
#: What the room itself takes at most, beside two waits in it.
_ROOM_S = 20.0
#: Until slurmctld listens: 8000 nodes below 500 switches took 5 s with 24.11 and 7 s with 26.05.
_LISTEN_S, _NODES_PER_S = 5.0, 400


@dataclass(frozen=True)
class Engine:
    """A slurmctld that a candidate can be tried with.

    Attributes:
        release: of its Slurm.
        root: ``/``, or a release's root file system.
        place: where that is, for people.
    """

    release: Release
    root: Path
    place: str


@dataclass(frozen=True)
class Booted:
    """What became of a candidate in a slurmctld.

    Attributes:
        engine: what it was tried with.
        up: whether it listened in the end.
        log: what slurmctld said, line by line.
        config: what ``scontrol show config`` prints; empty where it is not up.
        nodes: the same for nodes, one line each.
        partitions: the same for partitions.
        seconds: how long it took.
        left_out: what was taken out of the files first, and why; empty for nothing.
        without_accounts: whether slurmdbd is among that.
    """

    engine: Engine
    up: bool
    log: tuple[str, ...]
    config: str = ""
    nodes: str = ""
    partitions: str = ""
    seconds: float = 0.0
    left_out: tuple[str, ...] = ()
    without_accounts: bool = False


def engines() -> list[Engine]:
    """Return every slurmctld of this machine: its own, and those of root file systems made."""
    found = []
    for root, place in ((Path("/"), "this machine"), *_root_dirs()):
        release = _release(root)
        if release is not None:
            found.append(Engine(release, root, place))
    return found


def _root_dirs() -> Iterator[tuple[Path, str]]:
    for suite in SUITES:
        for accounting in (False, True):
            folder = rootfs.rootfs_dir(suite, accounting=accounting)
            if os.access(folder / "usr/sbin/slurmctld", os.X_OK):
                yield folder, f"the sandbox's {suite}"
                break


def _release(root: Path) -> Release | None:
    if not os.access(root / "usr/sbin/slurmctld", os.X_OK):
        return None
    try:
        return Release.parse(programs.slurm_version(None if root == Path("/") else root))
    except (SlurmkitError, OSError):
        return None


def choose(known: list[Engine], wanted: Release) -> Engine | None:
    """Return the slurmctld of a release; None where there is none: another one reads otherwise."""
    return next((engine for engine in known if engine.release.major == wanted.major), None)


def boot(cluster: Cluster, engine: Engine) -> Booted:
    """Start a candidate in a slurmctld and return what it says.

    Raises:
        SlurmkitError: the room cannot be made here.
    """
    started = time.monotonic()
    programs.require_root()
    programs.require_programs(("setpriv", "unshare", "mount", "ip"))
    candidate, left_out = without_accounts.rewrite(cluster)
    candidate, more = _without_what_is_elsewhere(candidate, cluster, engine)
    left_out += more
    room = _room(cluster)
    timeout_s = 2 * room.wait_s + _ROOM_S
    own = [controllers(cluster)[0][1]]
    script = boot_script.outer_script(
        engine.root, boot_script.inner_script(room), [ip for ip in own if _is_address(ip)]
    )
    try:
        done = subprocess.run(
            [*boot_script.outer_command(), script],
            input=_archive(candidate, _etc_hosts(cluster)),
            env={"PATH": PATH},
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SlurmkitError(
            f"slurmctld {engine.release} did not come up within {timeout_s:.0f} s",
            hint="--no-boot checks the files alone",
        ) from error
    parts = boot_script.split_parts(done.stdout.decode(errors="replace"))
    if done.returncode != 0 or "log" not in parts:
        said = done.stderr.decode(errors="replace").strip()[-2000:]
        raise SlurmkitError(
            f"cannot make a room for slurmctld: {said or done.returncode}",
            hint="it needs root and namespaces; --no-boot checks the files alone",
        )
    return Booted(
        engine,
        parts.get("end", "").startswith("up"),
        tuple(parts["log"].splitlines()),
        parts.get("config", ""),
        parts.get("nodes", ""),
        parts.get("partitions", ""),
        time.monotonic() - started,
        left_out,
        cluster.slurm.value("AccountingStorageType").endswith("slurmdbd"),
    )


def _without_what_is_elsewhere(
    candidate: Candidate, cluster: Cluster, engine: Engine
) -> tuple[Candidate, tuple[str, ...]]:
    """Return a candidate without what only the controller itself has, and what that was."""
    names, left_out = [], []
    folders = cluster.slurm.value("PluginDir")
    if not all((engine.root / one.lstrip("/")).is_dir() for one in folders.split(":") if one):
        names.append("PluginDir")
        left_out.append(f"PluginDir={folders}, which is not on {engine.place}")
    # Without its key slurmctld ends, and Debian has auth/jwt in a package of its own.
    keyed = {"AuthAltTypes": ["AuthAltParameters"], "AuthType": ["AuthInfo", "CredType"]}
    for name, others in keyed.items():
        said = cluster.slurm.value(name)
        if said and not said.endswith("munge"):
            names += [name, *others]
            left_out.append(f"{name}={said}, whose keys are secrets and not in the site")
    return without_accounts.without_lines(candidate, names), tuple(left_out)


def _room(cluster: Cluster) -> boot_script.Room:
    slurm = cluster.slurm
    user = slurm.value("SlurmUser", "root")
    state = slurm.value("StateSaveLocation", "/var/spool")
    folders = [(state, user)] if state.startswith("/") else []
    for name in ("SlurmctldLogFile", "SlurmctldPidFile", "JobCompLoc", "SlurmSchedLogFile"):
        path = slurm.value(name)
        if path.startswith("/"):
            folders.append((str(Path(path).parent), "root" if "Pid" in name else user))
    info = dict(word.partition("=")[::2] for word, _ in slurm.words("AuthInfo"))
    return boot_script.Room(
        hostname=controllers(cluster)[0][0],
        users=tuple({user, slurm.value("SlurmdUser", "root")} - {"root"}),
        folders=tuple(folders),
        slurm_conf=cluster.slurm.path,
        port=number(slurm.value("SlurmctldPort", "6817").partition("-")[0], 6817) or 6817,
        socket=info.get("socket") or "/run/munge/munge.socket.2",
        wait_s=_LISTEN_S + len(cluster.by_node) / _NODES_PER_S,
    )


def _etc_hosts(cluster: Cluster) -> str:
    """Return an address for every name that slurmctld looks up, as a site's DNS has it."""
    (first, address), *others = controllers(cluster)
    names = [first, address]
    for line in cluster.nodes:
        for key in ("NodeAddr", "NodeHostname"):
            names += [name for word in split_hosts(line.value(key)) for name in expand_hosts(word)]
        names += line.names
    lines = ["127.0.0.1 localhost"]
    nowhere = dict.fromkeys(name for pair in others for name in pair)
    here = [name for name in dict.fromkeys(names) if name not in nowhere]
    for network, chosen in ((boot_script.NETWORK, here), (boot_script.NOWHERE, [*nowhere])):
        addresses = ipaddress.IPv4Network(network)
        for index, name in enumerate(chosen, start=2):
            if name and name != "localhost" and not _is_address(name):
                lines.append(f"{addresses[index % addresses.num_addresses]} {name}")
    return "\n".join(lines) + "\n"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _archive(candidate: Candidate, etc_hosts: str) -> bytes:
    """Return the files as a tar archive, all of them root's, and the names of all hosts."""
    files = {
        **candidate.files,
        "/etc/hosts": File(etc_hosts.encode(), ""),
        "/etc/nsswitch.conf": File(b"passwd: files\ngroup: files\nhosts: files\n", ""),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, file in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(file.content), file.mode | 0o400
            archive.addfile(entry, io.BytesIO(file.content))
    return buffer.getvalue()
