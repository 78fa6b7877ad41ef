"""A real Slurm cluster in Linux namespaces on this machine, with faults on demand."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from slurmkit.sandbox import (
    console,
    disks,
    enter,
    faults,
    hardware,
    machine,
    preemption,
    programs,
    readiness,
    record,
    rootfs,
    shims,
    teardown,
)
from slurmkit.sandbox import sshd as secure_shell
from slurmkit.sandbox.boot import boot, trial_of
from slurmkit.sandbox.layout import LOGIN, Layout, Size, check_name, choose_subnet
from slurmkit.sandbox.readiness import Progress
from slurmkit.sandbox.record import SandboxError
from slurmkit.sandbox.rootfs import HOST_RELEASE
from slurmkit.sandbox.surroundings import networks_in_use, shared_folders

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on


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


class Sandbox:
    """A running sandbox; :meth:`up` makes one, :meth:`open` finds one.

    As a context manager it takes itself down at the end.

    Attributes:
        layout: size, addresses and files.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    # -- coming and going ---------------------------------------------------------------------

    @classmethod
    def up(  # noqa: PLR0913 (one argument per option of `sandbox up`, all but the name by keyword)
        cls,
        name: str = "default",
        *,
        nodes: int = Size.nodes,
        gpus: int | None = None,
        cpus: int | None = None,
        memory_mib: int = Size.memory_mib,
        gpu_type: str | None = None,
        profile: str = "",
        scale: bool = False,
        renumber: bool = False,
        release: str = HOST_RELEASE,
        share: Sequence[Path] = (),
        slurmd_timeout_s: int = 10,
        slurm_conf: Sequence[str] = (),
        accounting: bool = False,
        preempt_grace_s: int | None = None,
        sshd: bool = False,
        site: str = "",
        packages: Sequence[str] = (),
        progress: Progress = readiness.silent,
    ) -> "Sandbox":
        """Make a sandbox and return when every node is idle; remains of a crashed one go first.

        Args:
            name: name of the sandbox; several live side by side.
            nodes: number of compute nodes.
            gpus: GPUs per node; they only look like GPUs. None for 8, or as the profile says.
            cpus: cores that each node claims to have. None for 64, or as the profile says.
            memory_mib: memory that each node claims to have, MiB.
            gpu_type: GRES type of the GPUs; empty for untyped. None for h100, or the profile's.
            profile: platform that the nodes look like, such as ``dgx-h100``: /sys on them shows
                its GPUs, HCAs, NUMA nodes and cores.
            scale: with the cores of this machine in place of the platform's, so that ranks can be
                bound to them; and a GPU per core, unless ``gpus`` says how many.
            renumber: every second node has other numbers for its HCAs, as real machines do.
            release: ``host`` for this machine's Slurm, or a Debian suite such as ``forky``.
            share: further folders that the hosts see at the same path. The work tree around the
                current folder, $HOME and the Python in use are always among them.
            slurmd_timeout_s: seconds after which Slurm declares a silent node DOWN.
            slurm_conf: further lines for slurm.conf; they replace ours about the same keys.
            accounting: add a host ``dbd`` with MariaDB and slurmdbd, and with it sacct, accounts,
                QOS, limits and preemption.
            preempt_grace_s: add a partition ``urgent``, whose jobs push others aside; these get so
                many seconds between TERM and KILL. With accounting, of jobs of QOS ``normal``.
            sshd: start an sshd on every host; :attr:`hosts_yaml` says how the nodes are reached.
            site: folder of a site, or the name of a shipped one, whose configuration it has:
                ``nodes`` per node type, by their own names, with this machine's cores, and
                accounting where the site has it. :attr:`site_changes` lists what had to differ.
            packages: further Debian packages for hosts of another release, such as an MPI.
            progress: called with one line per step.

        Raises:
            UsageError: not root, or impossible arguments.
            SandboxUnavailableError: the machine lacks programs, or a release cannot be made.
            SandboxError: it is up already, or it does not come up; then nothing is left of it, and
                the message ends with what the daemons said.
        """
        check_name(name)
        trial = trial_of(site, nodes)
        if trial is not None:
            nodes, memory_mib = len(trial.nodes), trial.memory_mib
            profile, scale = trial.profile, bool(trial.profile)
            gpu_type = trial.kind.gpu_type if gpu_type is None else gpu_type
            if not profile:
                gpus = trial.kind.gpus if gpus is None else gpus
                cpus = trial.num_cores if cpus is None else cpus
            # Another release's slurmdbd takes a root file system of its own: only on request.
            accounting = trial.has_database and (release == HOST_RELEASE or accounting)
        node = hardware.look(profile, scale=scale, renumber=renumber, gpus=gpus, cpus=cpus)
        size = hardware.size(node, Size(nodes, memory_mib=memory_mib), gpus, cpus, gpu_type)
        programs.require_root()
        with programs.usual_umask():
            programs.require_namespaces()
            root_dir = rootfs.prepare(release, progress, accounting=accounting, more=packages)
            with record.locked(name):
                teardown.clear_name(name)
                layout = Layout(
                    name=name,
                    state_dir=record.state_dir(name),
                    subnet=choose_subnet(name, [*networks_in_use(), *record.recorded_subnets()]),
                    size=size,
                    release=release,
                    root_dir=root_dir,
                    shared=shared_folders(share),
                    slurmd_timeout_s=slurmd_timeout_s,
                    slurm_conf=tuple(slurm_conf),
                    accounting=accounting,
                    profile=profile,
                    scaled=scale,
                    renumber=renumber,
                    preempt_grace_s=preempt_grace_s,
                    sshd=sshd,
                    site=trial.site.name if trial else "",
                    node_names=trial.nodes if trial else (),
                )
                if sshd:
                    secure_shell.require(layout)
                boot(layout, node, trial, progress)
        return cls(layout)

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
        if known[1] != record.PHASE_UP or not machine.room(sandbox.layout):
            raise SandboxError(
                f"sandbox {name} is not running; it crashed or is still starting",
                hint=f"slurmkit sandbox down --name {name} removes what is left",
            )
        return sandbox

    def down(self) -> None:
        """End every process of the sandbox and remove its state folder, shared folder included."""
        teardown.take_down(self.name)

    def __enter__(self) -> "Self":
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
    def hosts_yaml(self) -> Path:
        """The file by which ``slurmkit run --hosts`` reaches the nodes, where they run sshd."""
        return secure_shell.ssh_dir(self.layout) / "hosts.yaml"

    @property
    def site_changes(self) -> list[str]:
        """What differs from the files of the site that it was made with, a line each."""
        return record.read_changes(self.layout)

    @property
    def slurm_version(self) -> str:
        """Release of the running Slurm, such as ``22.05.8``."""
        return self.exec(LOGIN, ["sinfo", "--version"], check=True).stdout.split()[-1]

    def status(self) -> list[HostStatus]:
        """Return the condition of every host, as it really is, and Slurm's view of the nodes."""
        states = readiness.node_states(self.layout)
        return [
            HostStatus(host, self.layout.address(host), condition, states.get(host, ""))
            for host, condition in faults.conditions(self.layout).items()
        ]

    # -- running programs on hosts ------------------------------------------------------------

    def exec(  # noqa: PLR0913 (as subprocess.run, with the host before it)
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
            console.entry_command(self.layout, host, argv, cwd),
            env=console.environment(self.layout, env),
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

    def popen(  # noqa: PLR0913 (as subprocess.Popen, with the host before it)
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
            console.entry_command(self.layout, host, argv, cwd),
            env=console.environment(self.layout, env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
        )

    def run_here(self, host: str, argv: Sequence[str]) -> int:
        """Run a program on a host with our own streams and terminal; return its wait status."""
        return enter.enter(
            console.running_init(self.layout, host).pid,
            argv,
            cwd=str(Path.cwd()),
            fallback=str(self.shared_dir),
            announce=True,
            env=console.environment(self.layout),
        )

    def shell_lines(self) -> str:
        """Return what a shell evaluates so that sbatch, squeue ... mean this sandbox."""
        return shims.shell_lines(self.layout)

    # -- faults -----------------------------------------------------------------------------------

    def kill(self, host: str) -> None:
        """Pull a host's plug: its link goes dark and every process on it ends at that moment."""
        faults.kill(self.layout, host)

    def freeze(self, host: str) -> None:
        """Stop every process of a host; its kernel still answers, as with a hung machine."""
        faults.freeze(self.layout, host)

    def partition(self, host: str) -> None:
        """Unplug a host's network cable; its processes go on."""
        faults.partition(self.layout, host)

    def heal(self, host: str, timeout_s: float = 60.0) -> None:
        """Undo kill, freeze and partition; Slurm works with the host again afterwards.

        A host whose daemon has crashed is booted afresh, and a drained node is resumed.

        Raises:
            SandboxError: Slurm does not take the host back in time.
        """
        faults.heal(self.layout, host, timeout_s)

    def make_disk(
        self, name: str, *, size_mib: int | None = None, slow: bool = False
    ) -> disks.Disk:
        """Mount a disk of its own in the shared folder of all hosts, to fill it or to slow it.

        Args:
            name: its folder below the shared one.
            size_mib: its size; None for one that is as large as the machine's own.
            slow: whether it can be slowed; it needs FUSE in this machine's kernel.

        Raises:
            SandboxError: the name is taken, or it cannot be mounted.
        """
        disk = disks.Disk(self.layout, name)
        disk.make(size_mib, slow=slow)
        return disk

    def disk(self, name: str) -> disks.Disk:
        """Return a disk that :meth:`make_disk` has made."""
        return disks.find(self.layout, name)

    def preempt(self, job: str, *, hold_s: int = 1, timeout_s: float = 60.0) -> str:
        """Push a running job aside, by a more important job on its nodes; return that job's id.

        Args:
            job: id of the job.
            hold_s: seconds that the other one keeps the nodes.
            timeout_s: most seconds to wait until it has them.

        Raises:
            UsageError: the sandbox has neither ``preempt_grace_s`` nor accounting, or the job does
                not run.
            SandboxError: the nodes are not taken in time.
        """
        return preemption.preempt(self.layout, job, hold_s, timeout_s)
