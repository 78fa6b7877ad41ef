"""Ports: below the ephemeral range, and never two jobs on one."""

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.launch.ports import candidates, port_range, reserve, system_port_range


@pytest.mark.parametrize(
    ("ephemeral", "chosen"),
    [
        ((32768, 60999), (16384, 32767)),
        ((20000, 65535), (10240, 19999)),
        ((11264, 65535), (10240, 11263)),
        ((10000, 60999), (61000, 65535)),
        ((1024, 65000), (37620, 65000)),
        ((1024, 65535), (37887, 65535)),
    ],
)
def test_range_of_ports(ephemeral: tuple[int, int], chosen: tuple[int, int]) -> None:
    assert port_range(ephemeral) == chosen


@given(st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(sorted))
def test_a_range_is_always_one_of_unprivileged_ports(ephemeral: list[int]) -> None:
    first, last = port_range((ephemeral[0], ephemeral[1]))
    assert 1024 <= first <= last <= 65535 or ephemeral[1] <= 10240


@given(st.integers(0, 2**40))
def test_every_port_is_tried_once(seed: int) -> None:
    assert sorted(candidates(100, 200, seed)) == list(range(100, 201))


def test_jobs_begin_at_different_ports() -> None:
    first, last = 16384, 32767
    starts = {next(candidates(first, last, job * 64)) for job in range(1000, 2000)}
    assert len(starts) > 900


def test_a_thousand_jobs_at_once_never_collide() -> None:
    """As jobs of one id do: every one begins to look at the same port."""
    with ThreadPoolExecutor(32) as threads:
        held = list(threads.map(reserve, [4711] * 500 + list(range(500))))
    try:
        ports = [port for port, _ in held]
        assert len(set(ports)) == 1000
        first, last = system_port_range()
        assert all(first <= port <= last for port in ports)
    finally:
        for _, holder in held:
            assert holder
            holder.close()


def test_a_thousand_processes_at_once_never_collide() -> None:
    """In processes of their own: 1,000 that reserve, say so and hold until their input ends."""
    script = (
        "import os, sys\n"
        "from slurmkit.launch.ports import reserve\n"
        "children = []\n"
        "for number in range(int(sys.argv[1])):\n"
        "    if os.fork() == 0:\n"
        "        port, holder = reserve(number % 7)\n"
        "        os.write(1, b'%d\\n' % port)\n"
        "        sys.stdin.read()\n"
        "        os._exit(0)\n"
        "for number in range(int(sys.argv[1])): os.wait()\n"
    )
    parents = [
        subprocess.Popen(
            [sys.executable, "-c", script, "250"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        ports = []
        for parent in parents:
            assert parent.stdout
            ports += [int(parent.stdout.readline()) for _ in range(250)]
        assert len(set(ports)) == 1000
    finally:
        for parent in parents:
            parent.communicate(timeout=60)
    assert [parent.returncode for parent in parents] == [0] * 4


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_a_port_in_use_is_passed_over(family: socket.AddressFamily, address: str) -> None:
    port, holder = reserve(99)
    assert holder
    holder.close()
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.bind((address, port))
        server.listen()
        other, holder = reserve(99)
        assert holder
        holder.close()
    assert other != port


def test_a_reservation_ends_with_its_holder() -> None:
    port, holder = reserve(5)
    assert holder
    taken, second = reserve(5)
    assert second
    assert taken != port
    holder.close()
    second.close()
    again, third = reserve(5)
    assert third
    third.close()
    assert again == port
