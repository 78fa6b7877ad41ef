"""What became of one command on one host, and what OpenSSH's words mean."""

import re
from dataclasses import dataclass
from typing import Literal

FaultKind = Literal[
    "name",
    "refused",
    "timeout",
    "unreachable",
    "host-key",
    "permission",
    "closed",
    "no-ssh",
    "ssh",
]
# ssh(1): it ends with 255 if an error occurred, else with the exit status of the command.
SSH_FAILED = 255


@dataclass(frozen=True)
class Fault:
    """Why a host could not be reached.

    Attributes:
        kind: a short stable name.
        message: what is wrong, without the host's name.
        hint: what to do.
    """

    kind: FaultKind
    message: str
    hint: str


@dataclass(frozen=True)
class Outcome:
    """One command on one host.

    Attributes:
        host: the host's name.
        exit_code: the command's; None when it could not be run, or did not end in time.
        stdout: what it printed.
        stderr: what it, or SSH, complained about.
        fault: why the host could not be reached; None when the command ran to its end.
        seconds: how long it took.
    """

    host: str
    exit_code: int | None
    stdout: str = ""
    stderr: str = ""
    fault: Fault | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the command ran and succeeded."""
        return self.fault is None and self.exit_code == 0


# What ssh(1) says, in the order in which it is looked for; OpenSSH 8 to 10.
_SAYINGS: tuple[tuple[str, FaultKind, str, str], ...] = (
    (
        r"Could not resolve hostname",
        "name",
        "its name does not resolve",
        "give it an address in hosts.yaml, or add the lines of --etc-hosts to /etc/hosts",
    ),
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "host-key",
        "its host key is another one than known_hosts has",
        "if the machine was installed anew: ssh-keygen -R HOST, then ssh HOST once; else ask who"
        " answers there",
    ),
    (
        r"Host key verification failed|No .* host key is known",
        "host-key",
        "its host key is not in known_hosts",
        "ssh HOST once and compare the key, or say host_keys: accept-new in hosts.yaml",
    ),
    (
        r"Permission denied|Too many authentication failures",
        "permission",
        "permission denied: it takes none of your keys without a password",
        "ssh-copy-id HOST; or name the key by ssh_options: {IdentityFile: ...}, or load it with"
        " ssh-add",
    ),
    (
        r"Connection refused",
        "refused",
        "connection refused: nothing listens on its SSH port",
        "start sshd there, or give the port in hosts.yaml",
    ),
    (
        r"timed out|Timeout, server",
        "timeout",
        "no answer in time",
        "see whether it is up and whether a firewall is in between; connect_timeout_s gives more"
        " time",
    ),
    (
        r"No route to host|Network is unreachable|Host is down",
        "unreachable",
        "there is no way to it: no route to host",
        "see whether it is up, and its address in hosts.yaml or /etc/hosts",
    ),
    (
        r"Connection (?:closed|reset)|kex_exchange_identification|Broken pipe",
        "closed",
        "it closed the connection at once",
        "its sshd may be full (MaxStartups in sshd_config), or refuse this address or user",
    ),
)


def fault_of(stderr: str) -> Fault:
    """Return why ssh failed, given what it wrote before it ended with 255."""
    for pattern, kind, message, hint in _SAYINGS:
        if re.search(pattern, stderr):
            return Fault(kind, message, hint)
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    said = lines[-1] if lines else "it said nothing"
    return Fault("ssh", f"ssh failed: {said}", "try the same by hand: ssh -v HOST true")


def too_late(deadline_s: float) -> Fault:
    """Return the fault of a host that did not answer before the deadline."""
    return Fault(
        "timeout",
        f"no answer within {deadline_s:g} s",
        "it accepts connections but does not go on: a hung machine, or a login shell that waits",
    )


def no_ssh() -> Fault:
    """Return the fault of this machine having no ssh program."""
    return Fault("no-ssh", "there is no ssh program here", "install openssh-client")
