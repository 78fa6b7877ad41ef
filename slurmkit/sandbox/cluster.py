"""A real Slurm cluster in Linux namespaces on this machine, with faults on demand."""

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from slurmkit.errors import UsageError
from slurmkit.sandbox import enter, processes, programs, record, scripts, shims, slurm_conf
from slurmkit.sandbox.layout import CONTROLLER, LOGIN, Layout, Size, check_name, choose_subnet
from slurmkit.sandbox.record import SandboxError
from slurmkit.sandbox.surroundings import networks_in_use, shared_folders

Progress = Callable[[str], None]

_BOOT_TIMEOUT_S = 30.0
_POLL_S = 0.03
_DAEMON_ENV = {"PATH": scripts.PATH, "LANG": "C.UTF-8", "HOME": "/root", "SHELL": "/bin/sh"}
# Node states, without Slurm's suffixes, in which a node takes or runs jobs.
_USABLE = frozenset({"idle", "mixed", "allocated", "completing"})


@dataclass(frozen=True)
class HostStatus:
    """One host now.

    Attributes:
        condition: up, killed, frozen or partitioned.
        slurm_state: what Slurm thinks of a compute node, such as ``idle`` or ``down*``; empty for
            other hosts, and where the controller does not answer.
    """

    name: str
    address: str
    condition: str
    slurm_state: str = ""


def _silent(_message: str) -> None:
    pass


class Sandbox:
    """A running sandbox; :meth:`up` makes one, :meth:`open` finds one.

    As a context manager it takes itself down at the end.

    Attributes:
        layout: size, addresses and files.
    """

    def __init__(self, layout: Layout, progress: Progress = _silent) -> None:
        self.layout = layout
        self._progress = progress

    # -- coming and going ---------------------------------------------------------------------

    @classmethod
    def up(
        cls,
        name: str = "default",
        size: Size | None = None,
        *,
        release: str = "host",
        share: Sequence[Path] = (),
        slurmd_timeout_s: int = 10,
        slurm_conf_lines: Sequence[str] = (),
        progress: Progress = _silent,
    ) -> "Sandbox":
        """Make a sandbox and return when every node is idle; remains of a crashed one go first.

        Args:
            name: name of the sandbox; several live side by side.
            size: nodes and what they claim to have.
            release: ``host`` for this machine's Slurm, or a Debian suite such as ``forky``.
            share: further folders that the hosts see at the same path. The work tree around the
                current folder, $HOME and the Python in use are always among them.
            slurmd_timeout_s: seconds after which Slurm declares a silent node DOWN.
            slurm_conf_lines: further lines for slurm.conf; of a repeated key the last one counts.
            progress: called with one line per step.

        Raises:
            UsageError: not root, or impossible arguments.
            SandboxError: programs are missing, it is up already, or it does not come up; then
                nothing is left of it, and the message ends with what the daemons said.
        """
        check_name(name)
        programs.require_root()
        programs.require_programs(
            programs.HOST_PROGRAMS if release == "host" else programs.RELEASE_PROGRAMS
        )
        root_dir = None
        with record.locked(name):
            known = record.read_record(name)
            if known and known[1] == "up" and cls(known[0])._room():
                raise SandboxError(
                    f"sandbox {name} is up already",
                    hint=f"use it, or take it down first: slurmkit sandbox down --name {name}",
                )
            _remove(name)
            taken = [*networks_in_use(), *record.recorded_subnets()]
            layout = Layout(
                name=name,
                state_dir=record.state_dir(name),
                subnet=choose_subnet(name, taken),
                size=size or Size(),
                release=release,
                root_dir=root_dir,
                shared=shared_folders(share),
                slurmd_timeout_s=slurmd_timeout_s,
                slurm_conf=tuple(slurm_conf_lines),
            )
            sandbox = cls(layout, progress)
            try:
                sandbox._boot()
            except BaseException:
                _remove(name)
                raise
        return sandbox

    @classmethod
    def open(cls, name: str = "default") -> "Sandbox":
        """Return the running sandbox of that name.

        Raises:
            SandboxError: there is none, or only what a crash left of one.
        """
        known = record.read_record(check_name(name))
        if known is None:
            raise SandboxError(
                f"there is no sandbox {name}", hint=f"slurmkit sandbox up --name {name}"
            )
        sandbox = cls(known[0])
        if known[1] != "up" or not sandbox._room():
            raise SandboxError(
                f"sandbox {name} is not running; it crashed or is still starting",
                hint=f"slurmkit sandbox down --name {name} removes what is left",
            )
        return sandbox

    def down(self) -> None:
        """End every process of the sandbox and remove its state folder, shared folder included."""
        take_down(self.name)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()

    # -- what it is ---------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the sandbox."""
        return self.layout.name

    @property
    def hosts(self) -> tuple[str, ...]:
        """All hosts: ``ctl``, ``login``, ``node1`` ..."""
        return self.layout.hosts

    @property
    def nodes(self) -> tuple[str, ...]:
        """The compute nodes."""
        return self.layout.nodes

    @property
    def shared_dir(self) -> Path:
        """A folder that every host and this machine see at the same path; open to all users."""
        return self.layout.shared_dir

    @property
    def slurm_version(self) -> str:
        """Release of the running Slurm, such as ``22.05.8``."""
        return self.exec(LOGIN, ["sinfo", "--version"], check=True).stdout.split()[-1]

    def status(self) -> list[HostStatus]:
        """Return the condition of every host, as it really is, and Slurm's view of the nodes."""
        inits = self._inits()
        cut = self._unplugged()
        states = self._node_states()
        return [
            HostStatus(
                host,
                self.layout.address(host),
                self._condition(inits.get(host), host in cut),
                states.get(host, ""),
            )
            for host in self.hosts
        ]

    @staticmethod
    def _condition(init: processes.Process | None, unplugged: bool) -> str:
        if init is None:
            return "killed"
        if init.stopped():
            return "frozen"
        return "partitioned" if unplugged else "up"

    # -- running programs on hosts ------------------------------------------------------------

    def exec(
        self,
        host: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        timeout: float | None = 60.0,
        check: bool = False,
        input: str | None = None,  # noqa: A002 (as in subprocess.run)
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on a host and return its output.

        Args:
            host: ``login``, ``ctl`` or ``node1`` ...
            argv: program and arguments.
            env: variables on top of this process's own.
            cwd: folder on the host; by default the current one, or the shared folder where the host
                does not see that.
            timeout: seconds; None for no limit.
            check: raise when the program fails.
            input: text for its standard input; nothing by default.

        Raises:
            SandboxError: the host does not run, or ``check`` and the program failed.
            subprocess.TimeoutExpired: it took too long.
        """
        done = subprocess.run(
            self._enter_command(host, argv, cwd),
            env=self._environment(env),
            input=input or "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip())[-2000:]
            words = " ".join(str(word) for word in argv)
            raise SandboxError(f"{host}: {words} ended with {done.returncode}: {said}")
        return done

    def popen(
        self,
        host: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        stdin: int | IO[Any] | None = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
    ) -> "subprocess.Popen[str]":
        """Start a program on a host; signals sent to the result reach the program.

        Raises:
            SandboxError: the host does not run.
        """
        return subprocess.Popen(
            self._enter_command(host, argv, cwd),
            env=self._environment(env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
        )

    def run_here(self, host: str, argv: Sequence[str]) -> int:
        """Run a program on a host with this process's streams and terminal; return its wait status."""
        return enter.enter(
            self._init(host).pid,
            argv,
            cwd=os.getcwd(),  # noqa: PTH109
            fallback=str(self.shared_dir),
            env=self._environment(None),
        )

    def shell_lines(self) -> str:
        """Return what a shell evaluates so that sbatch, squeue ... mean this sandbox."""
        return shims.shell_lines(self.layout)

    def _enter_command(
        self, host: str, argv: Sequence[str | Path], cwd: Path | str | None
    ) -> list[str]:
        folder = str(cwd) if cwd is not None else os.getcwd()  # noqa: PTH109
        fallback = str(self.shared_dir) if cwd is None else ""
        program = [sys.executable, "-I", "-S", enter.__file__, str(self._init(host).pid)]
        return [*program, folder, fallback, *(str(word) for word in argv)]

    def _environment(self, extra: Mapping[str, str] | None) -> dict[str, str]:
        # The caller's PATH may lack the sbin folders, and its SLURM_CONF names another cluster.
        env = {**os.environ, "SLURM_CONF": str(self.layout.slurm_conf_path), **(extra or {})}
        path = [p for p in enter.without_shims(env.get("PATH", "")).split(":") if p]
        env["PATH"] = ":".join(path + [p for p in scripts.PATH.split(":") if p not in path])
        return env

    # -- faults ---------------------------------------------------------------------------------

    def kill(self, host: str) -> None:
        """Pull a host's plug: its link goes dark and every process on it ends at that moment.

        The link goes first, so that no farewell reaches the others: a machine without power sends
        none either.
        """
        init = self._init(host)
        self._plug(host, connected=False)
        if not processes.end(init):
            raise SandboxError(f"{host}: process {init.pid} does not end")

    def freeze(self, host: str) -> None:
        """Stop every process of a host; its kernel still answers, as with a hung machine."""
        processes.freeze(self._init(host))

    def partition(self, host: str) -> None:
        """Unplug a host's network cable; its processes go on."""
        self._init(host)
        self._plug(host, connected=False)

    def heal(self, host: str, timeout_s: float = 60.0) -> None:
        """Undo kill, freeze and partition; a compute node is usable for Slurm afterwards.

        A node that is drained is resumed, too.

        Raises:
            SandboxError: Slurm does not take the node back in time.
        """
        self._check_host(host)
        self._plug(host, connected=True)
        init = self._inits().get(host)
        if init and init.stopped():
            processes.thaw(init)
        elif init is None:
            self._start([host])
            self._wait_booted([host])
        if host in self.nodes:
            self._wait_usable([host], timeout_s)

    # -- making it ------------------------------------------------------------------------------

    def _boot(self) -> None:
        version = programs.slurm_version(str(self.layout.root_dir or "/"))
        self._write_files(programs.parse_version(version))
        self._progress(
            f"sandbox {self.name}: Slurm {version}, {self.layout.size.nodes} nodes,"
            f" network {self.layout.subnet}"
        )
        self._start_room()
        self._start(self.hosts)
        self._wait_booted(self.hosts)
        self._wait_usable(self.nodes, _BOOT_TIMEOUT_S)
        record.write_record(self.layout, "up")

    def _write_files(self, version: tuple[int, int]) -> None:
        """Make the state folder; the record goes first, so that a crash leaves nothing unknown."""
        layout = self.layout
        layout.state_dir.mkdir(parents=True)
        layout.state_dir.chmod(0o755)
        record.write_record(layout, "starting")
        layout.shared_dir.mkdir()
        layout.shared_dir.chmod(0o1777)
        for folder in ("dev", "log", "ctl-state", "munge", "etc/slurm", "hosts"):
            (layout.state_dir / folder).mkdir(parents=True)
        layout.munge_dir.chmod(0o711)
        key = layout.munge_dir / "key"
        key.touch(0o400)
        key.write_bytes(secrets.token_bytes(128))
        etc = layout.state_dir / "etc"
        (etc / "hosts").write_text(slurm_conf.etc_hosts(layout))
        (etc / "nsswitch.conf").write_text(slurm_conf.nsswitch_conf())
        (etc / "slurm" / "gres.conf").write_text(slurm_conf.gres_conf(layout))
        (etc / "slurm" / "cgroup.conf").write_text(slurm_conf.cgroup_conf(version))
        (etc / "slurm" / "plugstack.conf").write_text("")
        layout.slurm_conf_path.write_text(slurm_conf.slurm_conf(layout, version))
        shims.write_shims(layout)
        layout.room_script.write_text(scripts.room_script(layout))
        (layout.state_dir / "net.batch").write_text(scripts.network_batch(layout))
        for host in layout.hosts:
            (layout.host_dir(host) / "spool").mkdir(parents=True)
            layout.host_script(host).write_text(scripts.host_script(layout, host))

    def _start_room(self) -> None:
        room = subprocess.Popen(
            [
                *("unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork"),
                *("--kill-child", "--propagation", "private"),
                *("/bin/sh", str(self.layout.room_script)),
            ],
            cwd="/",
            env=_DAEMON_ENV,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + _BOOT_TIMEOUT_S
        while not self.layout.room_ready.exists():
            if room.poll() is not None or time.monotonic() > deadline:
                raise SandboxError(
                    f"sandbox {self.name}: namespaces, network or munged failed{self._logs(['room'])}"
                )
            time.sleep(0.005)
        room.returncode = 0  # it outlives us on purpose; Popen shall not warn about it

    def _start(self, hosts: Sequence[str]) -> None:
        """Start process 1 of each host as a child of the room, which reaps it."""
        room = self._room()
        if room is None:
            raise SandboxError(f"sandbox {self.name} has crashed")
        starting = []
        for host in hosts:
            self.layout.host_ready(host).unlink(missing_ok=True)
            starting.append(
                subprocess.Popen(
                    [
                        *_room_entry(room),
                        *("setsid", "--fork", "nsenter", f"--net=/run/netns/{host}"),
                        *("unshare", "--uts", "--ipc", "--mount", "--pid", "--fork"),
                        *("--kill-child", "--propagation", "private"),
                        *("/bin/sh", str(self.layout.host_script(host))),
                    ],
                    cwd="/",
                    env={**_DAEMON_ENV, "SLURM_CONF": str(self.layout.slurm_conf_path)},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        for host, process in zip(hosts, starting, strict=True):
            if process.wait(_BOOT_TIMEOUT_S) != 0:
                raise SandboxError(f"{host} did not start: nsenter ended with {process.returncode}")

    def _wait_booted(self, hosts: Sequence[str]) -> None:
        deadline = time.monotonic() + _BOOT_TIMEOUT_S
        waiting = list(hosts)
        while waiting := [h for h in waiting if not self.layout.host_ready(h).exists()]:
            if time.monotonic() > deadline:
                raise SandboxError(f"{', '.join(waiting)} did not boot{self._logs(waiting)}")
            time.sleep(0.005)
        if LOGIN in hosts:  # for the stand-ins of a person's shell
            (self.layout.host_dir(LOGIN) / "pid").write_text(f"{self._init(LOGIN).pid}\n")

    def _wait_usable(self, nodes: Sequence[str], timeout_s: float) -> None:
        started = time.monotonic()
        waiting = set(nodes)
        while True:
            states = self._node_states()
            for node in sorted(waiting, key=nodes.index):
                state = states.get(node, "")
                if state in _USABLE:
                    waiting.discard(node)
                    self._progress(f"{node} {state} after {time.monotonic() - started:.1f} s")
                elif state.startswith("drain"):
                    self._resume(node)
            if not waiting:
                return
            if time.monotonic() - started > timeout_s:
                seen = ", ".join(f"{n} is {states.get(n) or 'unknown'}" for n in sorted(waiting))
                raise SandboxError(
                    f"sandbox {self.name}: {seen} after {timeout_s:.0f} s"
                    f"{self._logs([CONTROLLER, *sorted(waiting)[:2]])}"
                )
            time.sleep(_POLL_S)

    def _resume(self, node: str) -> None:
        self.exec(LOGIN, ["scontrol", "update", f"nodename={node}", "state=resume"])

    def _logs(self, hosts: Sequence[str]) -> str:
        """Return the last lines of what the daemons of these hosts wrote, for an error message."""
        layout = self.layout
        text = ""
        for host in hosts:
            files = {
                "room": [layout.log_dir / "room.log", layout.munge_dir / "log"],
                CONTROLLER: [layout.log_dir / "slurmctld.log"],
            }.get(host, [layout.log_dir / f"slurmd-{host}.log"])
            if host != "room":
                files.append(layout.host_dir(host) / "console.log")
            for path in files:
                if path.is_file() and (lines := path.read_text(errors="replace").splitlines()):
                    text += f"\n  {path}:\n    " + "\n    ".join(lines[-8:])
        return text

    # -- looking --------------------------------------------------------------------------------

    def _room(self) -> processes.Process | None:
        found = processes.find_inits(self.layout.state_dir)
        return found.get(self.layout.room_script)

    def _inits(self) -> dict[str, processes.Process]:
        """Return process 1 of each host that runs."""
        found = processes.find_inits(self.layout.state_dir)
        by_script = {self.layout.host_script(host): host for host in self.hosts}
        return {by_script[path]: process for path, process in found.items() if path in by_script}

    def _check_host(self, host: str) -> None:
        if host not in self.hosts:
            raise UsageError(
                f"sandbox {self.name} has no host {host!r}",
                hint=f"its hosts are {CONTROLLER}, {LOGIN} and {self.layout.node_range}",
            )

    def _init(self, host: str) -> processes.Process:
        self._check_host(host)
        init = self._inits().get(host)
        if init is None:
            raise SandboxError(
                f"{host} of sandbox {self.name} does not run",
                hint=f"slurmkit sandbox heal {host} --name {self.name}",
            )
        return init

    def _node_states(self) -> dict[str, str]:
        """Return Slurm's long state of each node; empty while the controller does not answer."""
        if LOGIN not in self._inits():
            return {}
        try:
            done = self.exec(LOGIN, ["sinfo", "-h", "-p", "long", "-N", "-o", "%N %T"], timeout=15)
        except subprocess.TimeoutExpired:
            return {}
        pairs = (line.split() for line in done.stdout.splitlines())
        return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}

    # -- the network ----------------------------------------------------------------------------

    def _plug(self, host: str, *, connected: bool) -> None:
        state = "up" if connected else "down"
        self._in_room(["ip", "link", "set", f"v-{host}", state])

    def _unplugged(self) -> set[str]:
        text = self._in_room(["ip", "-o", "link", "show", "type", "veth"])
        cut = set()
        for line in text.splitlines():
            link, _, rest = line.split(": ", 1)[1].partition(": ")
            flags = rest[rest.index("<") + 1 : rest.index(">")].split(",")
            if "UP" not in flags:
                cut.add(link.partition("@")[0].removeprefix("v-"))
        return cut

    def _in_room(self, argv: Sequence[str]) -> str:
        room = self._room()
        if room is None:
            raise SandboxError(f"sandbox {self.name} has crashed")
        done = subprocess.run(
            [*_room_entry(room), *argv],
            env=_DAEMON_ENV,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        if done.returncode != 0:
            raise SandboxError(f"{' '.join(argv)} failed: {done.stderr.strip()}")
        return done.stdout


def _room_entry(room: processes.Process) -> list[str]:
    return [
        "nsenter",
        "--target",
        str(room.pid),
        "--mount",
        "--uts",
        "--ipc",
        "--net",
        "--pid",
        "--",
    ]


def sandbox_names() -> list[str]:
    """Return the names of all sandboxes of this machine, running or crashed."""
    return record.names()


def take_down(name: str) -> bool:
    """Remove a sandbox, running or crashed; return whether there was anything of it.

    Raises:
        UsageError: not root.
        SandboxError: something of it does not end.
    """
    check_name(name)
    programs.require_root()
    with record.locked(name):
        return _remove(name)


def _remove(name: str) -> bool:
    folder = record.state_dir(name)
    # The room first: its end is the end of everything in it. Hosts on their own cannot outlive it,
    # but a half-made sandbox is no place to rely on that.
    inits = processes.find_inits(folder)
    for script in sorted(inits, key=lambda path: path.parent != folder):
        if not processes.end(inits[script]):
            raise SandboxError(f"sandbox {name}: process {inits[script].pid} does not end")
    there = folder.exists()
    if there:
        shutil.rmtree(folder)
    return there or bool(inits)
