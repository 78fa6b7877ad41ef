"""What is asked of ssh, and what its answers mean; no connection is made."""

import subprocess
import time
from pathlib import Path

import pytest

from slurmkit.hosts.model import Host, Hosts
from slurmkit.hosts.outcome import fault_of
from slurmkit.hosts.ssh import is_here, run_all, ssh_command, ssh_config


def hosts_of(**values: object) -> Hosts:
    return Hosts.model_validate({"hosts": ["node01", "node02"], **values})


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("ssh: connect to host n port 22: Connection refused", "refused"),
        ("ssh: connect to host n port 22: Connection timed out", "timeout"),
        ("Timeout, server n not responding.", "timeout"),
        ("ssh: connect to host n port 22: No route to host", "unreachable"),
        ("ssh: Could not resolve hostname n: Name or service not known", "name"),
        ("No ED25519 host key is known for n and you have requested strict checking.", "host-key"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification", "host-key"),
        ("u@n: Permission denied (publickey).", "permission"),
        ("kex_exchange_identification: Connection closed by remote host", "closed"),
        ("Bad owner or permissions on /home/u/.ssh/config", "ssh"),
        ("", "ssh"),
    ],
)
def test_words_of_ssh_are_told_apart(said: str, kind: str) -> None:
    assert fault_of(said).kind == kind


def test_a_changed_key_is_not_taken_for_an_unknown_one() -> None:
    said = "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed.\n"
    assert "another one" in fault_of(said).message


def test_nobody_is_asked_and_nothing_waits_for_ever() -> None:
    words = ssh_command(hosts_of(connect_timeout_s=3), Host(name="node01"), "true")
    assert {"-oBatchMode=yes", "-oConnectTimeout=3", "-oStrictHostKeyChecking=yes"} <= set(words)
    assert words[-2:] == ["node01", "true"]


def test_the_address_is_what_is_connected_to() -> None:
    assert ssh_command(hosts_of(), Host(name="a", address="10.0.0.1"), "true")[-2] == "10.0.0.1"


def test_the_file_for_mpirun_says_the_same_and_openssh_understands_it(tmp_path: Path) -> None:
    hosts = hosts_of(user="user1", port=2222, ssh_options={"IdentityFile": "~/.ssh/id_mpi"})
    path = tmp_path / "ssh_config"
    path.write_text(ssh_config(hosts, [Host(name="node01", address="10.0.0.1")]))
    asked = subprocess.run(
        ["ssh", "-G", "-F", str(path), "node01"], capture_output=True, text=True, check=True
    )
    lines = set(asked.stdout.splitlines())
    assert {"hostname 10.0.0.1", "user user1", "port 2222", "batchmode yes"} <= lines
    assert "identityfile ~/.ssh/id_mpi" in lines


def test_this_machine_needs_no_ssh() -> None:
    here = Host(name="anything", address="127.0.0.1")
    assert is_here(here)
    assert not is_here(Host(name="node01", address="192.0.2.1"))
    hosts = Hosts(hosts=[here])
    outcome = run_all(hosts, ["cat"], 10, stdin="hello")["anything"]
    assert outcome.ok
    assert outcome.stdout == "hello"


def test_the_deadline_holds_for_all_together() -> None:
    hosts = Hosts(hosts=[Host(name=f"n{i}", address="127.0.0.1") for i in range(3)])
    started = time.monotonic()
    found = run_all(hosts, "sleep 30", 0.3)
    assert time.monotonic() - started < 10
    assert {outcome.fault.kind for outcome in found.values() if outcome.fault} == {"timeout"}
