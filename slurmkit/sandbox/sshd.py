"""An sshd on every host of a sandbox, with keys of its own, for MPI without Slurm."""

import shlex
import shutil
import subprocess
from pathlib import Path

from slurmkit.sandbox.layout import Layout
from slurmkit.sandbox.record import SandboxError, SandboxUnavailableError

_SSHD = Path("/usr/sbin/sshd")
_KEYGEN_TIMEOUT_S = 20.0


def ssh_dir(layout: Layout) -> Path:
    """Return the folder with keys, configuration and logs of the sandbox's sshds."""
    return layout.state_dir / "ssh"


def require(layout: Layout) -> None:
    """Raise a SandboxUnavailableError where the hosts would find no sshd."""
    root = layout.root_dir or Path("/")
    if not (root / _SSHD.relative_to("/")).exists():
        where = f"the root file system of {layout.release}" if layout.root_dir else "this machine"
        raise SandboxUnavailableError(
            f"there is no {_SSHD} on {where}",
            hint="install openssh-server, or leave --sshd out",
        )
    if shutil.which("ssh-keygen") is None:
        raise SandboxUnavailableError(
            "there is no ssh-keygen on this machine", hint="install openssh-client"
        )


def write_files(layout: Layout) -> None:
    """Make a key per host and one for its users, known_hosts, sshd_config and a hosts.yaml.

    Raises:
        SandboxError: ssh-keygen fails.
    """
    folder = ssh_dir(layout)
    folder.mkdir()
    folder.chmod(0o755)
    known = []
    for host in layout.hosts:
        public = _new_key(folder / f"host-{host}")
        known.append(f"{host},{layout.address(host)} {public}")
    (folder / "known_hosts").write_text("".join(known))
    (folder / "authorized_keys").write_text(_new_key(folder / "user_key"))
    (folder / "sshd_config").write_text(_sshd_config(layout))
    (folder / "hosts.yaml").write_text(hosts_yaml(layout, slots=2))


def _new_key(path: Path) -> str:
    """Make a key without a passphrase; return its public half."""
    done = subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)],
        capture_output=True,
        text=True,
        timeout=_KEYGEN_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise SandboxError(f"ssh-keygen failed: {done.stderr.strip() or done.stdout.strip()}")
    return path.with_suffix(".pub").read_text()


def _sshd_config(layout: Layout) -> str:
    """Return a configuration by which the sandbox's key, and nothing else, opens every account."""
    lines = [
        "UsePAM no",
        "PermitRootLogin prohibit-password",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        f"AuthorizedKeysFile {ssh_dir(layout) / 'authorized_keys'}",
        "StrictModes no",
        "PidFile /run/sshd.pid",
        # mpirun opens many connections at once; the default drops some of ten.
        "MaxStartups 200",
        "PrintMotd no",
        "UseDNS no",
    ]
    return "\n".join(lines) + "\n"


def start_lines(layout: Layout, host: str) -> str:
    """Return what a host's script runs to start its sshd, on port 22 of the host's own network."""
    folder = ssh_dir(layout)
    key, config = folder / f"host-{host}", folder / "sshd_config"
    log = folder / f"sshd-{host}.log"
    command = shlex.join([str(_SSHD), "-f", str(config), "-h", str(key), "-E", str(log)])
    return f"mkdir -p /run/sshd\n{command}\n"


def hosts_yaml(layout: Layout, slots: int) -> str:
    """Return a hosts.yaml by which `slurmkit run --hosts` reaches the nodes of a sandbox."""
    folder = ssh_dir(layout)
    lines = [
        f"# The nodes of sandbox {layout.name}; made by slurmkit sandbox up --sshd.",
        f"hosts: {layout.node_range}",
        f"slots: {slots}",
        f"shared_dir: {layout.shared_dir}",
        "ssh_options:",
        f"  IdentityFile: {folder / 'user_key'}",
        f"  UserKnownHostsFile: {folder / 'known_hosts'}",
    ]
    return "\n".join(lines) + "\n"
