"""Commands on all hosts side by side, by OpenSSH, each within a deadline."""

import os
import shlex
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from slurmkit.hosts.model import Host, Hosts
from slurmkit.hosts.outcome import SSH_FAILED, Fault, Outcome, fault_of, no_ssh, too_late

# Each is a process of ours; sshd's MaxStartups is not met, because each host has its own.
_SIDE_BY_SIDE = 64
_HOST_KEYS = {"known": "yes", "accept-new": "accept-new", "off": "no"}


def ssh_settings(hosts: Hosts) -> dict[str, str]:
    """Return keywords of ssh_config(5) for all hosts, in the order in which they count."""
    settings = {
        # Nobody sits there to type a password or to compare a key.
        "BatchMode": "yes",
        "ConnectTimeout": str(hosts.connect_timeout_s),
        "StrictHostKeyChecking": _HOST_KEYS[hosts.host_keys],
        "LogLevel": "ERROR",
        # A host that dies under a connection is noticed within 15 s, not after two hours.
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
    }
    if hosts.host_keys == "off":
        settings["UserKnownHostsFile"] = "/dev/null"
    if hosts.user is not None:
        settings["User"] = hosts.user
    if hosts.port is not None:
        settings["Port"] = str(hosts.port)
    return settings | hosts.ssh_options


def ssh_config(hosts: Hosts, selected: Iterable[Host]) -> str:
    """Return an SSH configuration file for these hosts; a person's own files still hold below it.

    An mpirun gives ssh nothing but the host's name, so all else has to stand in a file.
    """
    lines = ["# How these hosts are reached; made by slurmkit from hosts.yaml."]
    for host in selected:
        if host.address is not None:
            lines += [f"Host {host.name}", f"    HostName {host.address}"]
    lines.append("Host *")
    lines += [f"    {keyword} {value}" for keyword, value in ssh_settings(hosts).items()]
    lines += ["    Include ~/.ssh/config", "    Include /etc/ssh/ssh_config"]
    return "\n".join(lines) + "\n"


def ssh_command(hosts: Hosts, host: Host, command: str) -> list[str]:
    """Return the words that run a shell command on one host."""
    options = [f"-o{keyword}={value}" for keyword, value in ssh_settings(hosts).items()]
    return ["ssh", *options, host.address or host.name, command]


def is_here(host: Host) -> bool:
    """Whether a host is this machine, which needs no SSH to itself.

    That is so when it has this machine's name, or an address that this machine has.
    """
    own = os.uname().nodename
    if host.address is None and host.name in (own, own.partition(".")[0], "localhost"):
        return True
    try:
        found = socket.getaddrinfo(host.address or host.name, 0, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(_is_own(family, address[0]) for family, _, _, _, address in found)


def _is_own(family: int, address: str | int) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
        return True


def run_all(
    hosts: Hosts,
    command: Sequence[str] | str,
    deadline_s: float,
    *,
    stdin: str = "",
    only: Iterable[Host] | None = None,
) -> dict[str, Outcome]:
    """Run a command on every host at once and return what became of it, by host name.

    On this machine it is run by ``sh``, on the others by SSH without a terminal. Nothing is raised
    for a host that fails: its outcome says why.

    Args:
        hosts: the hosts and how they are reached.
        command: program and arguments, or a line for the login shell of the hosts.
        deadline_s: seconds for all of them together; who has not answered then is a timeout.
        stdin: text for the command's standard input.
        only: some of the hosts; None for all.
    """
    line = command if isinstance(command, str) else shlex.join(command)
    selected = list(hosts.hosts if only is None else only)
    end = time.monotonic() + deadline_s
    with ThreadPoolExecutor(max(1, min(_SIDE_BY_SIDE, len(selected)))) as pool:
        found = pool.map(lambda host: _run(hosts, host, line, end, stdin), selected)
        return {outcome.host: outcome for outcome in found}


def _run(hosts: Hosts, host: Host, line: str, end: float, stdin: str) -> Outcome:
    started = time.monotonic()
    here = is_here(host)
    words = ["sh", "-c", line] if here else ssh_command(hosts, host, line)
    left_s = end - started

    def outcome(code: int | None, out: str, err: str, fault: Fault | None) -> Outcome:
        return Outcome(host.name, code, out, err, fault, time.monotonic() - started)

    try:
        done = subprocess.run(
            words,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=max(0.01, left_s),
            check=False,
            start_new_session=True,  # Ctrl-C is ours to handle, also while hosts are tidied up
        )
    except FileNotFoundError:
        return outcome(None, "", "", no_ssh())
    except subprocess.TimeoutExpired as late:
        said = late.stderr.decode(errors="replace") if isinstance(late.stderr, bytes) else ""
        return outcome(None, "", said, too_late(left_s))
    if not here and done.returncode == SSH_FAILED and _ssh_spoke(done.stderr):
        return outcome(None, done.stdout, done.stderr, fault_of(done.stderr))
    return outcome(done.returncode, done.stdout, done.stderr, None)


def _ssh_spoke(stderr: str) -> bool:
    """Whether 255 is ssh's own and not that of the command: then it says something or nothing."""
    return not stderr.strip() or fault_of(stderr).kind != "ssh" or "ssh" in stderr


def resolve(hosts: Iterable[Host]) -> Mapping[str, str]:
    """Return the address of each host by name; without those whose name does not resolve."""
    found = {}
    for host in hosts:
        try:
            entries = socket.getaddrinfo(host.address or host.name, 0, type=socket.SOCK_STREAM)
        except OSError:
            continue
        # A name may have both; every MPI speaks IPv4, which the others' defaults prefer, too.
        entries.sort(key=lambda entry: entry[0] != socket.AF_INET)
        found[host.name] = str(entries[0][4][0])
    return found
