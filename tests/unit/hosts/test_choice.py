"""Which hosts are chosen, what mpirun is told, and what hosts' answers mean: all of it pure."""

import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from slurmkit.errors import SlurmkitError, UsageError
from slurmkit.hosts.command import Start, comment_on_ucx, options
from slurmkit.hosts.files import etc_hosts, hostfile, ssh_wrapper
from slurmkit.hosts.model import Hosts
from slurmkit.hosts.mpi import Mpirun
from slurmkit.hosts.outcome import Outcome, fault_of
from slurmkit.hosts.probe import HostsError, Question, Trouble, answers, judge, script
from slurmkit.hosts.select import select
from slurmkit.launch.daemons import lost_hosts


def hosts_of(*slots: int) -> Hosts:
    entries = [{"name": f"n{i}", "slots": count} for i, count in enumerate(slots, 1)]
    return Hosts.model_validate({"hosts": entries})


def words_of(mpirun: Mpirun, **values: Any) -> list[str]:
    start = Start("run-1", 8, 2, "/r/hostfile", "/r/ssh", "/w", **values)
    return [word for group in options(mpirun, start) for word in group.words]


# -- hosts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slots", "nodes", "ranks", "more", "chosen"),
    [
        ((8, 8, 8), 2, 8, {}, "n1 n2"),
        ((4, 8, 8), 2, 8, {}, "n2 n3"),
        ((8, 8, 8), 1, 8, {"wanted": ["n3"]}, "n3"),
        ((8, 8, 8), 2, 8, {"wanted": ["n3"]}, "n1 n3"),
        ((8, 8, 8), 2, 8, {"excluded": ["n1"]}, "n2 n3"),
    ],
)
def test_hosts_with_room_are_taken_in_order(
    slots: tuple[int, ...], nodes: int, ranks: int, more: Mapping[str, list[str]], chosen: str
) -> None:
    found = select(hosts_of(*slots), nodes, ranks, **more)
    assert " ".join(host.name for host in found) == chosen


@pytest.mark.parametrize(
    ("slots", "nodes", "more", "words"),
    [
        ((8, 4), 2, {}, "too few slots on n2 slots=4"),
        ((8,), 2, {}, "the job needs 2 hosts with 8 slots each; hosts.yaml leaves 1 host"),
        ((8, 8), 2, {"excluded": ["n2"]}, "hosts.yaml leaves 1 host"),
        ((8, 8), 1, {"wanted": ["n9"]}, "the job wants n9, which hosts.yaml does not have"),
        ((8, 4), 1, {"wanted": ["n2"]}, "too few slots on n2 slots=4"),
    ],
)
def test_too_few_is_one_sentence_with_the_names(
    slots: tuple[int, ...], nodes: int, more: Mapping[str, list[str]], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        select(hosts_of(*slots), nodes, 8, **more)
    assert words in caught.value.message


# -- files ------------------------------------------------------------------------------------


def test_hostfiles_are_those_of_the_mpi() -> None:
    hosts = hosts_of(8, 4)
    assert hostfile(hosts, hosts.hosts, "openmpi") == "n1 slots=8\nn2 slots=4\n"
    assert hostfile(hosts, hosts.hosts, "mpich") == "n1:8\nn2:4\n"


def test_lines_of_etc_hosts_are_aligned_and_complete() -> None:
    hosts = hosts_of(1, 1)
    text = etc_hosts(hosts.hosts, {"n1": "10.0.0.1", "n2": "10.0.0.22"})
    assert text == "10.0.0.1  n1\n10.0.0.22 n2\n"
    with pytest.raises(SlurmkitError, match="no address is known of n2"):
        etc_hosts(hosts.hosts, {"n1": "10.0.0.1"})


def test_the_wrapper_of_ssh_survives_a_quote_in_its_path() -> None:
    checked = subprocess.run(
        ["sh", "-n"], input=ssh_wrapper("/it's/config"), text=True, check=False
    )
    assert checked.returncode == 0


# -- mpirun -----------------------------------------------------------------------------------


def test_open_mpi_4_and_5_are_told_by_their_own_names() -> None:
    four = words_of(Mpirun("/usr/bin/mpirun", "openmpi", "4.1.4"))
    assert four[:4] == ["-np", "8", "--hostfile", "/r/hostfile"]
    joined = " ".join(four)
    assert "--mca plm rsh --mca plm_rsh_agent /r/ssh" in joined
    assert "--mca slurmkit_run_id run-1" in joined
    assert "--tag-output" in joined
    five = " ".join(words_of(Mpirun("/usr/bin/mpirun", "openmpi", "5.0.7")))
    assert "--prtemca plm ssh --prtemca plm_ssh_agent /r/ssh" in five
    assert "--prtemca slurmkit_run_id run-1" in five
    assert "--output tag" in five
    assert "--prtemca prte_keepalive_time 5" in five


@pytest.mark.parametrize(
    ("has_ucx", "has_rdma", "asked"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_ucx_is_asked_for_only_where_it_works(has_ucx: bool, has_rdma: bool, asked: bool) -> None:
    mpirun = Mpirun("/usr/bin/mpirun", "openmpi", "4.1.4", has_ucx)
    assert ("--mca pml ucx" in " ".join(words_of(mpirun, has_rdma=has_rdma))) is asked


def test_an_mpi_of_its_own_place_is_told_to_the_daemons() -> None:
    assert "--prefix" not in words_of(Mpirun("/usr/bin/mpirun", "openmpi", "4.1.4"))
    words = words_of(Mpirun("/opt/ompi/bin/mpirun", "openmpi", "4.1.4"))
    assert words[words.index("--prefix") + 1] == "/opt/ompi"


def test_hydra_has_other_options() -> None:
    words = " ".join(words_of(Mpirun("/usr/bin/mpirun", "mpich", "4.0.2")))
    assert words.startswith("-n 8 -f /r/hostfile -ppn 2")
    assert "-launcher ssh -launcher-exec /r/ssh" in words
    assert "-prepend-rank" in words


def test_a_network_is_for_daemons_and_ranks() -> None:
    mpirun = Mpirun("/usr/bin/mpirun", "openmpi", "4.1.4")
    words = " ".join(words_of(mpirun, network="10.0.0.0/24"))
    assert "oob_tcp_if_include 10.0.0.0/24 --mca btl_tcp_if_include 10.0.0.0/24" in words
    hydra = words_of(Mpirun("/usr/bin/mpirun", "mpich", "4.0.2"), network="10.0.0.0/24")
    assert "10.0.0.0/24" not in hydra, "Hydra takes the name of an interface, not a network"


def test_why_ucx_is_used_or_not_is_said() -> None:
    mpirun = Mpirun("/usr/bin/mpirun", "openmpi", "4.1.4", has_ucx=True)
    assert "every host has" in comment_on_ucx(mpirun, ["a", "b"], 2)
    assert "only some hosts" in comment_on_ucx(mpirun, ["a"], 2)
    assert "no host has" in comment_on_ucx(mpirun, [], 2)


def test_the_host_that_an_mpirun_lost_is_read_from_its_words() -> None:
    said = (
        "ORTE has lost communication with a remote daemon.\n\n"
        "  HNP daemon   : [[1516,0],0] on node login\n"
        "  Remote daemon: [[1516,0],2] on node node2\n\nThis is usually due to\n"
    )
    (found,) = lost_hosts(said)
    assert found.host == "node2"
    assert not lost_hosts("rank 3 exited with code 1")


# -- answers ----------------------------------------------------------------------------------

_GOOD = (
    "Welcome!\nslurmkit-probe\nhostname=n1\nrdma=0\nshared=yes\npython=Python 3.11.2\n"
    "slurmkit=slurmkit 1\nmpirun=mpirun (Open MPI) 4.1.4\ndaemon=yes\nworkdir=yes\nprogram=yes\n"
)
_ASKED = Question(
    shared_file="/s/note",
    slurmkit="/v/slurmkit",
    slurmkit_version="slurmkit 1",
    python="/v/python",
    python_version="Python 3.11.2",
    mpirun="/usr/bin/mpirun",
    mpirun_version="mpirun (Open MPI) 4.1.4",
    daemon="/usr/bin/orted",
    workdir="/w",
    program="./hello",
)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("", "", ""),
        ("shared=yes\n", "", "does not see /s/note"),
        ("python=Python 3.11.2", "python=Python 3.9.2", "another python: /v/python is"),
        ("slurmkit=slurmkit 1", "slurmkit=slurmkit 2", "another slurmkit"),
        ("slurmkit=slurmkit 1\n", "", "there is no program /v/slurmkit"),
        ("4.1.4", "5.0.7", "another mpirun"),
        ("daemon=yes\n", "", "there is no program /usr/bin/orted"),
        ("workdir=yes\nprogram=yes\n", "", "there is no folder /w"),
        ("program=yes\n", "", "there is no program ./hello"),
        ("slurmkit-probe", "This account is not available.", "sh did not run there"),
    ],
)
def test_the_first_thing_that_is_wrong_is_named(old: str, new: str, words: str) -> None:
    trouble = judge(_ASKED, Outcome("n1", 0, _GOOD.replace(old, new)))
    assert (trouble is None) is (not words)
    assert trouble is None or words in trouble.message


def test_the_question_is_a_program_that_answers() -> None:
    question = Question(python="/usr/bin/python3", workdir="/", program="ls", path="/usr/bin:/bin")
    done = subprocess.run(
        ["sh", "-s"], input=script(question), capture_output=True, text=True, check=True
    )
    found = answers(done.stdout)
    assert found is not None
    assert found["program"] == found["workdir"] == "yes"
    assert found["rdma"].isdigit()


def test_hosts_with_the_same_trouble_are_named_together() -> None:
    fault = fault_of("Connection refused")
    troubles = [Trouble(f"n{i}", fault.message, "ssh HOST") for i in (1, 2, 3)]
    error = HostsError([*troubles, Trouble("m", "is odd", "look")], 9)
    assert error.message.splitlines()[0] == "4 of 9 hosts cannot take part:"
    assert "  n[1-3]: connection refused" in error.message
    assert "    ssh n1" in error.message
