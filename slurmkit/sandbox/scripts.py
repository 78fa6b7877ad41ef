"""The shell scripts that process 1 of the sandbox and process 1 of each host run."""

import shlex
import sys
import uuid
from pathlib import Path

from slurmkit.sandbox import hardware, sshd
from slurmkit.sandbox.layout import CONTROLLER, DATABASE, LOGIN, Layout

# Folders that every host has for itself.
PRIVATE_DIRS = (Path("/tmp"), Path("/run"), Path("/dev/shm"))  # noqa: S108

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_DEVICES = {
    "null": "1 3",
    "zero": "1 5",
    "full": "1 7",
    "random": "1 8",
    "urandom": "1 9",
    "tty": "5 0",
    "ptmx": "5 2",
}

# The shell reaps whatever is orphaned in its process namespace while it waits.
_REAP_FOR_EVER = "while :; do sleep 1000000 & wait || :; done\n"


def hidden_shares(layout: Layout) -> list[tuple[Path, Path]]:
    """Return (path, keep) for each shared folder that a private folder would hide.

    ``keep`` is where the room holds on to it, so that each host can put it back at ``path``.
    """
    hidden = [
        path for path in layout.shared if any(private in path.parents for private in PRIVATE_DIRS)
    ]
    return [(path, layout.state_dir / "keep" / str(i)) for i, path in enumerate(hidden)]


def room_script(layout: Layout) -> str:
    """Return the script of the machine room: root file system, devices, network, munged.

    It runs as process 1 of namespaces of its own (mount, pid, net, uts, ipc), in which all hosts
    live: when it dies, the kernel ends every process, mount and link of the sandbox.
    """
    return "".join(
        [
            "#!/bin/sh\n",
            f"# The machine room of sandbox {layout.name}; made by slurmkit sandbox up.\n",
            "set -eu\n",
            f"exec </dev/null >>{_q(layout.log_dir / 'room.log')} 2>&1\n",
            f"state={_q(layout.state_dir)}\n",
            "mount -t proc proc /proc\n",
            "\n# Folders that the hosts' private /tmp and /run would hide.\n",
            *(
                f"mkdir -p {_q(keep)}\nmount --rbind {_q(path)} {_q(keep)}\n"
                for path, keep in hidden_shares(layout)
            ),
            _release_root(layout) if layout.root_dir else "",
            _devices(layout),
            _site_files(layout) if layout.site and not layout.root_dir else "",
            _configuration(),
            _shared_folder(),
            _network(),
            _munged(layout),
            f"\n: >{_q(layout.room_ready)}\n",
            _REAP_FOR_EVER,
        ]
    )


def _release_root(layout: Layout) -> str:
    """Enter the release's root file system; what is written there goes to memory, not to the cache.

    This machine's users, work folders and Python are shown in it, so that the same program runs.
    """
    hidden = {path for path, _ in hidden_shares(layout)}
    folders = [layout.state_dir, *(path for path in layout.shared if path not in hidden)]
    return "".join(
        [
            "\n# Another release's root file system, with this machine's work folders and users.\n",
            "mount -t tmpfs -o mode=755 run /run\n",
            "root=/run/root\n",
            "mkdir $root /run/upper /run/work\n",
            f"mount -t overlay -o lowerdir={_q(layout.root_dir or Path())}"
            ",upperdir=/run/upper,workdir=/run/work overlay $root\n",
            *(f"mkdir -p $root{_q(p)}\nmount --rbind {_q(p)} $root{_q(p)}\n" for p in folders),
            *_system_python(),
            f"cp -R {_q(layout.site_dir)}/. $root/\n" if layout.site else "",
            'for file in /etc/passwd /etc/group; do mount --bind "$file" "$root$file"; done\n',
            'for folder in /dev /proc /sys; do mount --rbind "$folder" "$root$folder"; done\n',
            "mkdir -p $root/mnt\n",
            "cd $root\npivot_root . mnt\ncd /\numount -l /mnt\n",
        ]
    )


def _system_python() -> list[str]:
    """Lines that show Debian's own Python in the release, where slurmkit runs on that.

    A Python in a folder of its own is among the shared folders; this one is spread over /usr.
    """
    if sys.base_prefix != "/usr":
        return []
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return [
        f": >$root/usr/bin/{name}\nmount --bind /usr/bin/{name} $root/usr/bin/{name}\n",
        f"mkdir -p $root/usr/lib/{name}\nmount --rbind /usr/lib/{name} $root/usr/lib/{name}\n",
        f"ln -sf {name} $root/usr/bin/python3\n",
    ]


def _devices(layout: Layout) -> str:
    gpus = [f'mknod -m 666 "$dev/nvidia{i}" c 1 3\n' for i in range(layout.size.gpus)]
    return "".join(
        [
            "\n# A private /dev: the GPUs must not appear on the machine itself.\n",
            'dev="$state/dev"\n',
            'mount -t tmpfs -o mode=755 dev "$dev"\n',
            *(f'mknod -m 666 "$dev/{name}" c {numbers}\n' for name, numbers in _DEVICES.items()),
            *gpus,
            'mkdir "$dev/pts" "$dev/shm"\n',
            'ln -s /proc/self/fd "$dev/fd"\n',
            'ln -s fd/0 "$dev/stdin"\nln -s fd/1 "$dev/stdout"\nln -s fd/2 "$dev/stderr"\n',
            'mount --rbind /dev/pts "$dev/pts"\n',
            # For disks that are slow on request; programs on the hosts may use it, too.
            'mknod -m 666 "$dev/fuse" c 10 229\n',
            'mount --rbind "$dev" /dev\n',
        ]
    )


def _configuration() -> str:
    return (
        "\n# Names come from these files alone; Slurm's programs find the sandbox's slurm.conf.\n"
        'mount --bind "$state/etc/hosts" /etc/hosts\n'
        'mount --bind "$state/etc/nsswitch.conf" /etc/nsswitch.conf\n'
        'if [ -d /etc/slurm ]; then mount --bind "$state/etc/slurm" /etc/slurm; fi\n'
    )


def _site_files(layout: Layout) -> str:
    """Show the site's files in /etc; what is written there goes to memory."""
    return (
        "\n# The site's files, at their places in /etc.\n"
        'mkdir "$state/etc-memory"\n'
        'mount -t tmpfs -o mode=755 etc "$state/etc-memory"\n'
        'mkdir "$state/etc-memory/upper" "$state/etc-memory/work"\n'
        f"mount -t overlay -o lowerdir={_q(layout.site_dir / 'etc')}:/etc"
        ',upperdir="$state/etc-memory/upper",workdir="$state/etc-memory/work" overlay /etc\n'
    )


def _shared_folder() -> str:
    return (
        "\n# What is mounted below the shared folder later on, the hosts shall see, too.\n"
        'mount --bind "$state/shared" "$state/shared"\n'
        'mount --make-shared "$state/shared"\n'
    )


def _network() -> str:
    return (
        "\n# The switch: this network namespace; each host is a namespace with one cable into it.\n"
        "mount -t tmpfs -o mode=755 run /run\n"
        'ip -batch "$state/net.batch"\n'
    )


def network_batch(layout: Layout) -> str:
    """Return the input of ``ip -batch`` that builds switch, namespaces and cables."""
    lines = ["link set lo up", "link add br0 type bridge", "link set br0 up"]
    for host in layout.hosts:
        lines += [
            f"netns add {host}",
            f"link add v-{host} type veth peer name eth0 netns {host}",
            f"link set v-{host} master br0 up",
        ]
    return "\n".join(lines) + "\n"


def _munged(layout: Layout) -> str:
    files = {
        "socket": "socket",
        "key-file": "key",
        "pid-file": "pid",
        "log-file": "log",
        "seed-file": "seed",
    }
    options = " ".join(f'--{option}="$state/munge/{name}"' for option, name in files.items())
    return (
        f"\n# --force: as root; {layout.name}'s own key and socket, not the system's.\n"
        f"munged --force {options}\n"
    )


def host_script(layout: Layout, host: str) -> str:
    """Return the script of one host: its name, private folders, address, daemon."""
    state = layout.host_dir(host)
    return "".join(
        [
            "#!/bin/sh\n",
            f"# Host {host} of sandbox {layout.name}.\n",
            "set -eu\n",
            f"exec </dev/null >>{_q(state / 'console.log')} 2>&1\n",
            f"hostname {host}\n",
            "mount -t proc proc /proc\n",
            # UCX and others take hosts of one boot id for one host, and try its shared memory.
            f"echo {_boot_id(layout, host)} >{_q(state / 'boot_id')}\n",
            f"mount --bind {_q(state / 'boot_id')} /proc/sys/kernel/random/boot_id\n",
            "mount -t tmpfs -o mode=1777 tmp /tmp\n",
            "mount -t tmpfs -o mode=755 run /run\n",
            "mount -t tmpfs -o mode=1777 shm /dev/shm\n",
            *(
                f"mkdir -p {_q(path)}\nmount --rbind {_q(keep)} {_q(path)}\n"
                for path, keep in hidden_shares(layout)
            ),
            *(
                hardware.mount_lines(layout, host)
                if layout.profile and host in layout.nodes
                else []
            ),
            "ip -batch - <<'EOF'\n",
            "link set lo up\n",
            f"addr replace {layout.address(host)}/{layout.subnet.prefixlen}"
            f" broadcast {layout.subnet.broadcast_address} dev eth0\n",
            "link set eth0 up\n",
            "EOF\n",
            sshd.start_lines(layout, host) if layout.sshd else "",
            _database(layout) if host == DATABASE else "",
            _daemon(state, host),
            f": >{_q(layout.host_ready(host))}\n",
            _REAP_FOR_EVER,
        ]
    )


def _boot_id(layout: Layout, host: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_DNS, f"{host}.{layout.name}")


def _daemon(state: Path, host: str) -> str:
    """Return the lines that start a host's daemon; of slurmd one more option may come later on."""
    name = daemon_name(host)
    if name != "slurmd":
        return f"{name} -D &\n" if name else ""
    option = _q(state / "slurmd-options")
    return (
        "set -- -D\n"
        f'if [ -f {option} ]; then\n  read -r option <{option}\n  set -- "$@" "$option"\nfi\n'
        'slurmd "$@" &\n'
    )


def daemon_name(host: str) -> str:
    """Return the daemon that a host runs; empty for none."""
    daemons = {CONTROLLER: "slurmctld", LOGIN: "", DATABASE: "slurmdbd"}
    return daemons.get(host, "slurmd")


def _database(layout: Layout) -> str:
    """MariaDB for slurmdbd: at the usual socket, which is private here, and on no port.

    It is small and leaves writing to the kernel: what it has committed survives a killed host, and
    no database outlives its sandbox.
    """
    data = _q(layout.state_dir / "database")
    quick = "--innodb-log-file-size=16M --innodb-flush-log-at-trx-commit=2"
    return (
        f"if ! [ -d {data} ]; then\n"
        f"  mariadb-install-db --no-defaults --user=root --datadir={data} --skip-test-db"
        f" --auth-root-authentication-method=socket --auth-root-socket-user=root {quick}\n"
        "fi\n"
        "mkdir /run/mysqld\n"
        f"mariadbd --no-defaults --user=root --datadir={data} --skip-networking"
        " --socket=/run/mysqld/mysqld.sock --pid-file=/run/mysqld/mysqld.pid"
        f" --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 {quick} &\n"
        "until [ -S /run/mysqld/mysqld.sock ]; do sleep 0.02; done\n"
    )


def _q(path: Path) -> str:
    return shlex.quote(str(path))
