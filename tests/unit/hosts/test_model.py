"""hosts.yaml: what it may say, and where its mistakes are."""

from pathlib import Path

import pytest

from slurmkit.errors import InvalidInputError, Problem
from slurmkit.hosts.lookup import read_hosts
from slurmkit.hosts.model import Hosts


def read(tmp_path: Path, text: str) -> Hosts:
    path = tmp_path / "hosts.yaml"
    path.write_text(text)
    return read_hosts(path)


def problems(tmp_path: Path, text: str) -> list[Problem]:
    with pytest.raises(InvalidInputError) as caught:
        read(tmp_path, text)
    return caught.value.problems


def test_one_line_is_enough(tmp_path: Path) -> None:
    hosts = read(tmp_path, "hosts: node[01-03]\nslots: 8\n")
    assert [host.name for host in hosts.hosts] == ["node01", "node02", "node03"]
    assert [hosts.slots_of(host) for host in hosts.hosts] == [8, 8, 8]


def test_entries_may_be_names_lists_and_mappings(tmp_path: Path) -> None:
    text = "hosts:\n- {name: node01, address: 10.0.0.1, slots: 4}\n- node[02-03]\n- big\n"
    hosts = read(tmp_path, text)
    assert [host.name for host in hosts.hosts] == ["node01", "node02", "node03", "big"]
    assert [hosts.slots_of(host) for host in hosts.hosts] == [4, 1, 1, 1]
    assert hosts.hosts[0].address == "10.0.0.1"
    assert hosts.host_keys == "known"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("hosts: [a]\nslot: 8\n", 2, "unknown key 'slot'"),
        ("hosts: []\n", 1, "must not be empty"),
        ("slots: 8\n", 1, "'hosts' is missing"),
        ("hosts:\n- {name: node01, slots: 0}\n", 2, "at least 1"),
        ("hosts:\n- name: -oProxyCommand=evil\n", 2, "not a host name"),
        ("hosts: [a]\nuser: -l\n", 2, "not a user name"),
        ("hosts: ['node[3-1]']\n", 1, "runs backwards"),
        ("hosts: [a]\nssh_options: {BatchMode: 'no'}\n", 2, "slurmkit sets BatchMode itself"),
        ("hosts: [a]\nssh_options: {Port: '22'}\n", 2, "has a key of its own"),
        ("hosts: [a]\nssh_options: {'Bad Key': x}\n", 2, "not a keyword of ssh_config"),
        ("hosts: [a]\nshared_dir: runs\n", 2, "must be an absolute path"),
        ("hosts: [a]\nhost_keys: yes\n", 2, "known, accept-new or off"),
        ("hosts: [b, a, b]\n", 1, "b stands there a second time"),
    ],
)
def test_mistakes_have_a_place_and_words(tmp_path: Path, text: str, line: int, words: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert words in problem.message
    assert problem.where is not None
    assert problem.where.line == line
    assert problem.where.file.endswith("hosts.yaml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"none\.yaml cannot be read"):
        read_hosts(tmp_path / "none.yaml")
