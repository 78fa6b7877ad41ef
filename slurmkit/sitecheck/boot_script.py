"""The shell script that starts a candidate's slurmctld in a room of its own. Pure.

The room is a mount, network, pid, uts and ipc namespace. Its root is an overlay of this machine's
root file system, or of a release's, with a tmpfs on top: what is written goes to memory, and is
gone when the last process is. The candidate's files come as a tar archive on standard input; what
slurmctld and scontrol say goes to standard output, between marks.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmkit.sandbox.scripts import PATH

#: Starts a part of what the script prints; the part's name follows.
MARK = "\x01slurmkit-site-check "
PARTS = ("config", "nodes", "partitions")

#: Addresses of the hosts of the site, all of them on the room's loopback; and of others.
ADDRESS, NETWORK, NOWHERE = "10.254.0.1", "10.254.0.0/15", "10.253.0.0/16"
_DEVICES = "null zero full random urandom tty"


@dataclass(frozen=True)
class Room:
    """What a slurmctld is started in.

    Attributes:
        hostname: of its first controller.
        users: users that must exist.
        folders: folders that daemons write to, and whose they are.
        slurm_conf: path of slurm.conf.
        port: where slurmctld listens.
        socket: of munged.
        wait_s: most seconds until it listens.
    """

    hostname: str
    users: tuple[str, ...]
    folders: tuple[tuple[str, str], ...]
    slurm_conf: str
    port: int
    socket: str
    wait_s: float


def outer_command() -> list[str]:
    """Return the words that start a shell in namespaces that die with their starter."""
    return [
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child"),
        *("--mount-proc", "--propagation", "private", "/bin/sh", "-c"),
    ]


def outer_script(root: Path, inner: str, addresses: Sequence[str] = ()) -> str:
    """Return what makes the room and runs ``inner`` in it.

    Args:
        root: ``/``, or the root file system of a release.
        inner: the script to run inside.
        addresses: of the first controller, where slurm.conf gives it some.
    """
    lines = [
        "set -eu",
        "ip link set lo up",
        # Every host of the site is here, and none of its daemons: what is sent there is refused at
        # once. A resolver with AI_ADDRCONFIG takes names only where there is more than 127.0.0.1.
        f"ip addr add {ADDRESS} dev lo",
        f"ip route add local {NETWORK} dev lo",
        # But the other controllers are nowhere: a slurmctld that found itself at their address
        # would wait for its own answer (measured at 24.11).
        f"ip route add unreachable {NOWHERE}",
        *(f"ip addr add {address} dev lo" for address in addresses),
        "mount -t tmpfs -o mode=755 room /mnt",
        "mkdir /mnt/root /mnt/upper /mnt/work",
        f"mount -t overlay -o lowerdir={_q(root)},upperdir=/mnt/upper,workdir=/mnt/work"
        " overlay /mnt/root",
        "cd /mnt/root",
        # Where /usr or /opt is a file system of its own, the overlay of / lacks it.
        *(
            f"if mountpoint -q {_q(root / name)}; then mount --rbind {_q(root / name)} {name}; fi"
            for name in ("usr", "opt")
        ),
        "mount -t tmpfs -o mode=755 dev dev",
        f"for name in {_DEVICES}; do : >dev/$name; mount --bind /dev/$name dev/$name; done",
        "mkdir dev/shm && mount -t tmpfs -o mode=1777 shm dev/shm",
        "ln -s /proc/self/fd dev/fd",
        # No /sys: slurmctld reads nothing there, and what a site's plugins do, they do in memory.
        "mkdir -p proc run tmp",
        "mount -t proc proc proc",
        "mount -t tmpfs -o mode=755 run run",
        "mount -t tmpfs -o mode=1777 tmp tmp",
        f"exec chroot . /bin/sh -c {shlex.quote(inner)}",
    ]
    return "\n".join(lines)


def inner_script(room: Room) -> str:
    """Return what starts munged and slurmctld, waits, and asks scontrol what became of it all."""
    rounds = max(1, int(room.wait_s / 0.02))
    listening = f"grep -qi ':{room.port:04X} [0-9A-F:]* 0A ' /proc/net/tcp /proc/net/tcp6"
    conf, socket = _q(room.slurm_conf), _q(room.socket)
    return "\n".join(
        [
            "set -u",
            f"export PATH={PATH} LANG=C.UTF-8 SLURM_CONF={conf}",
            f"hostname {_q(room.hostname)}",
            *(_user(name, 64100 + index) for index, name in enumerate(room.users)),
            "rm -rf /etc/slurm/*",
            "tar -C / -x -f - || exit 3",
            "mkdir -p /run/munge /run/check /var/spool /var/log",
            *(_folder(folder, user) for folder, user in room.folders),
            "head -c 128 /dev/urandom >/run/check/key && chmod 400 /run/check/key",
            f"mkdir -p {_q(Path(room.socket).parent)}",
            f"munged --force --socket={socket} --key-file=/run/check/key"
            " --pid-file=/run/check/munged.pid --log-file=/run/check/munged.log"
            " --seed-file=/run/check/seed || exit 3",
            f"echo {_q(MARK + 'log')}",
            f"slurmctld -D -f {conf} </dev/null 2>&1 &",
            "ctld=$!",
            *_until(listening, rounds),
            # In the background, because it goes on asking a slurmctld that has ended meanwhile.
            "(",
            *(f"scontrol -o show {part} >/run/check/{part} 2>&1 </dev/null" for part in PARTS),
            ": >/run/check/asked",
            ") &",
            *_until("[ -e /run/check/asked ]", rounds),
            # All that slurmctld has to say of its files, it has said by now.
            *(f"echo {_q(MARK + part)}; cat /run/check/{part}" for part in PARTS),
            f"echo {_q(MARK + 'end up')}",
        ]
    )


def _until(condition: str, rounds: int) -> list[str]:
    """Return what waits for a condition, and leaves where slurmctld ends before."""
    return [
        f"n=0; until {condition}; do",
        f"  n=$((n+1)); if [ $n -gt {rounds} ] || ! kill -0 $ctld 2>/dev/null; then",
        "    kill -9 $ctld 2>/dev/null; wait $ctld 2>/dev/null",
        f"    echo {_q(MARK + 'end')} $?; exit 0; fi",
        "  sleep 0.02",
        "done",
    ]


def _folder(folder: str, user: str) -> str:
    return f"mkdir -p {_q(folder)}; chown {_q(user)} {_q(folder)}"


def _user(name: str, number: int) -> str:
    line = f"{name}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin"
    return f"getent passwd {_q(name)} >/dev/null || echo {_q(line)} >>/etc/passwd"


def split_parts(output: str) -> dict[str, str]:
    """Return what was printed, by part; slurmctld goes on with its log between later marks."""
    parts: dict[str, str] = {}
    for chunk in output.split(MARK)[1:]:
        head, _, body = chunk.partition("\n")
        name, _, more = head.partition(" ")
        parts[name] = parts.get(name, "") + (f"{more}\n" if more else "") + body
    return parts


def _q(word: Path | str) -> str:
    return shlex.quote(str(word))
