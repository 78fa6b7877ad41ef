"""The machinery of one sandbox: its files, its namespaces, its hosts and their cables."""

import secrets
import subprocess
import time
from collections.abc import Mapping, Sequence

from slurmkit.sandbox import hardware, processes, record, scripts, shims, slurm_conf, sshd
from slurmkit.sandbox.layout import CONTROLLER, DATABASE, LOGIN, Layout
from slurmkit.sandbox.record import SandboxError
from slurmkit.site.generate.files import File
from slurmkit.topology.model import Topology

BOOT_TIMEOUT_S = 30.0
DAEMON_ENV = {"PATH": scripts.PATH, "LANG": "C.UTF-8", "HOME": "/root", "SHELL": "/bin/sh"}

_POLL_S = 0.005
# The database of a sandbox is its own.
_OURS = ("slurmdbd.conf",)
_LOG_LINES = 8


def write_files(
    layout: Layout,
    version: tuple[int, int],
    node: Topology | None = None,
    site: Mapping[str, File] | None = None,
) -> None:
    """Make the state folder; the record goes first, so that a crash leaves nothing unknown.

    Args:
        layout: the sandbox.
        version: Slurm release as (major, minor).
        node: what the nodes look like; None leaves them as the machine is.
        site: a site's files by absolute path, in place of the sandbox's own.
    """
    layout.state_dir.mkdir(parents=True)
    layout.state_dir.chmod(0o755)  # all users' jobs come here, whatever the umask says
    record.write_record(layout, record.PHASE_STARTING)
    etc = layout.state_dir / "etc"
    for folder in (etc / "slurm", layout.state_dir / "dev", layout.state_dir / "ctl-state"):
        folder.mkdir(parents=True)
    for folder, mode in ((layout.shared_dir, 0o1777), (layout.munge_dir, 0o711)):
        folder.mkdir()
        folder.chmod(mode)
    layout.log_dir.mkdir()
    key = layout.munge_dir / "key"
    key.touch(0o400)
    key.write_bytes(secrets.token_bytes(128))
    (etc / "hosts").write_text(slurm_conf.etc_hosts(layout))
    (etc / "nsswitch.conf").write_text(slurm_conf.nsswitch_conf())
    gres = slurm_conf.gres_conf(layout) if node is None else hardware.gres_conf(layout, node)
    (etc / "slurm" / "gres.conf").write_text(gres)
    if node is not None:
        hardware.write_files(layout, node)
    (etc / "slurm" / "cgroup.conf").write_text(slurm_conf.cgroup_conf(version))
    (etc / "slurm" / "plugstack.conf").write_text("")
    if layout.accounting:
        path = etc / "slurm" / "slurmdbd.conf"
        path.touch(0o600)  # slurmdbd refuses one that others may read
        path.write_text(slurm_conf.slurmdbd_conf(layout))
    layout.slurm_conf_path.write_text(slurm_conf.slurm_conf(layout))
    _write_site(layout, site or {}, keep_gres=node is not None)
    if layout.sshd:
        sshd.write_files(layout)
    layout.room_script.write_text(scripts.room_script(layout))
    (layout.state_dir / "net.batch").write_text(scripts.network_batch(layout))
    for host in layout.hosts:
        (layout.host_dir(host) / "spool").mkdir(parents=True)
        layout.host_script(host).write_text(scripts.host_script(layout, host))
    shims.write_shims(layout)


def _write_site(layout: Layout, site: Mapping[str, File], *, keep_gres: bool) -> None:
    """Write a site's files: those of Slurm over ours, the others where hosts show them in /etc."""
    for path, file in site.items():
        if path.startswith("/etc/slurm/"):
            name = path.removeprefix("/etc/slurm/")
            if name in _OURS or (name == "gres.conf" and keep_gres):
                continue
            place = layout.state_dir / "etc/slurm" / name
        else:
            place = layout.site_dir / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(file.text)
        place.chmod(file.mode)


def room(layout: Layout) -> processes.Process | None:
    """Return process 1 of the whole sandbox, or None when it does not run."""
    return processes.find_inits(layout.state_dir).get(layout.room_script)


def inits(layout: Layout) -> dict[str, processes.Process]:
    """Return process 1 of each host that runs."""
    found = processes.find_inits(layout.state_dir)
    scripts_by_host = {host: layout.host_script(host) for host in layout.hosts}
    return {host: found[script] for host, script in scripts_by_host.items() if script in found}


def start_room(layout: Layout) -> None:
    """Start the namespaces that hold all others; return when network, devices and munged are there.

    Raises:
        SandboxError: one of them failed; the message says why.
    """
    with (layout.log_dir / "room.log").open("a") as log:
        process = subprocess.Popen(
            [
                *("unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork"),
                *("--kill-child", "--propagation", "private"),
                *("/bin/sh", str(layout.room_script)),
            ],
            cwd="/",
            env=DAEMON_ENV,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + BOOT_TIMEOUT_S
    while not layout.room_ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SandboxError(
                f"sandbox {layout.name}: namespaces, devices, network or munged failed"
                f"{log_tails(layout, ['room'])}"
            )
        time.sleep(_POLL_S)
    process.returncode = 0  # it outlives us on purpose; Popen shall not warn about it


def start_hosts(layout: Layout, hosts: Sequence[str]) -> None:
    """Boot hosts side by side.

    Process 1 of each is orphaned inside the room at once, so that the room reaps it.

    Raises:
        SandboxError: a host does not boot; the message says why.
    """
    entry = room_entry(layout)
    starting = []
    for host in hosts:
        layout.host_ready(host).unlink(missing_ok=True)
        command = [
            *(*entry, "setsid", "--fork", "nsenter", f"--net=/run/netns/{host}"),
            *("unshare", "--uts", "--ipc", "--mount", "--pid", "--fork"),
            *("--kill-child", "--propagation", "slave"),
            *("/bin/sh", str(layout.host_script(host))),
        ]
        starting.append(
            subprocess.Popen(
                command,
                cwd="/",
                env={**DAEMON_ENV, "SLURM_CONF": str(layout.slurm_conf_path)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
    for process in starting:
        process.wait(BOOT_TIMEOUT_S)
    _wait_booted(layout, hosts)
    if LOGIN in hosts:  # for the stand-ins in a person's shell
        (layout.host_dir(LOGIN) / "pid").write_text(f"{inits(layout)[LOGIN].pid}\n")


def _wait_booted(layout: Layout, hosts: Sequence[str]) -> None:
    deadline = time.monotonic() + BOOT_TIMEOUT_S
    waiting = list(hosts)
    while waiting := [host for host in waiting if not layout.host_ready(host).exists()]:
        if time.monotonic() > deadline:
            names = ", ".join(waiting)
            raise SandboxError(f"{names} did not boot{log_tails(layout, waiting)}")
        time.sleep(_POLL_S)


def daemon(host: str, init: processes.Process) -> processes.Process | None:
    """Return the daemon of a host that runs, or None where there is none."""
    name = scripts.daemon_name(host)
    return processes.find_daemon(init, name) if name else None


def plug(layout: Layout, host: str, *, connected: bool) -> None:
    """Plug a host's network cable in or out, at the switch."""
    in_room(layout, ["ip", "link", "set", f"v-{host}", "up" if connected else "down"])


def unplugged(layout: Layout) -> set[str]:
    """Return the hosts whose network cable is out."""
    text = in_room(layout, ["ip", "-o", "link", "show", "type", "veth"])
    cut = set()
    for line in text.splitlines():  # "3: v-node1@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu ..."
        _, name, rest = line.split(": ", 2)
        flags = rest[rest.index("<") + 1 : rest.index(">")].split(",")
        if "UP" not in flags:
            cut.add(name.partition("@")[0].removeprefix("v-"))
    return cut


def log_tails(layout: Layout, hosts: Sequence[str]) -> str:
    """Return the last lines of what the daemons of these hosts wrote, for an error message.

    Args:
        layout: the sandbox.
        hosts: hosts; ``room`` stands for the machine room itself.
    """
    logs = layout.log_dir
    text = ""
    for host in hosts:
        own = {
            "room": [logs / "room.log", layout.munge_dir / "log"],
            CONTROLLER: [logs / "slurmctld.log", layout.host_dir(host) / "console.log"],
            DATABASE: [logs / "slurmdbd.log", layout.host_dir(host) / "console.log"],
        }
        default = [logs / f"slurmd-{host}.log", layout.host_dir(host) / "console.log"]
        for path in own.get(host, default):
            if path.is_file() and (lines := path.read_text(errors="replace").splitlines()):
                text += "\n  ".join([f"\n{path}:", *lines[-_LOG_LINES:]])
    return text


def room_entry(layout: Layout) -> list[str]:
    """Return the words in front of a program that make it run in the machine room.

    Raises:
        SandboxError: the sandbox has crashed.
    """
    process = room(layout)
    if process is None:
        raise SandboxError(
            f"sandbox {layout.name} has crashed",
            hint=f"slurmkit sandbox down --name {layout.name} removes what is left",
        )
    namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid")
    return ["nsenter", "--target", str(process.pid), *namespaces, "--"]


def in_room(layout: Layout, argv: Sequence[str]) -> str:
    """Run a program in the machine room, in no host; return what it printed.

    Raises:
        SandboxError: the sandbox has crashed, or the program failed.
    """
    done = subprocess.run(
        [*room_entry(layout), *argv],
        env=DAEMON_ENV,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    if done.returncode != 0:
        raise SandboxError(f"{' '.join(argv)} failed: {done.stderr.strip()}")
    return done.stdout
