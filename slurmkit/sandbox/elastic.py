"""A driver that really starts and stops the nodes of a sandbox, for Slurm's power saving.

Slurm's controller lives in a namespace from which no other host can be reached, as a controller
cannot reach into the machines of a cloud. So an agent outside, with the rights to boot hosts, takes
requests at a socket in the sandbox's folder, and `elastic_driver.py`, which Slurm's side runs, is
its client: ``PROGRAM start|stop|list HOST...``.
"""

import json
import os
import selectors
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from slurmkit.sandbox import elastic_driver, faults, machine, processes, record
from slurmkit.sandbox.layout import Layout
from slurmkit.sandbox.record import SandboxError

_START_S = 20.0
_REQUEST_S = 5.0
# Slurm compares a node's boot with its own request in whole seconds, either rounded: a node that is
# there within the same second may count as one that has not booted since, and is given up.
_BOOT_S = 1.2


def folder(layout: Layout) -> Path:
    """Return the folder of the driver: its program and the agent's socket."""
    return layout.state_dir / "elastic"


def program(layout: Layout) -> Path:
    """Return the driver program, for elastic.driver; :func:`start_agent` writes it."""
    return folder(layout) / "driver"


def start_agent(layout: Layout) -> Path:
    """Start the agent of a running sandbox; return the driver program, for elastic.driver.

    The agent ends when the sandbox does.

    Raises:
        SandboxError: it does not start.
    """
    place = folder(layout)
    place.mkdir(exist_ok=True)
    driver = program(layout)
    words = [sys.executable, "-I", "-S", elastic_driver.__file__, str(place / "socket")]
    driver.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    driver.chmod(0o755)
    for node in layout.nodes:
        # Slurm takes a node back only when it has booted since, and a sandbox's nodes all have the
        # boot time of this machine; slurmd(8): -b reports a boot.
        (layout.host_dir(node) / "slurmd-options").write_text("-b\n")
    with (layout.log_dir / "elastic.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "slurmkit.sandbox.elastic", layout.name],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_S
    while not (place / "socket").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            said = (layout.log_dir / "elastic.log").read_text()[-500:]
            raise SandboxError(f"sandbox {layout.name}: the elastic agent does not start: {said}")
        time.sleep(0.01)
    process.returncode = 0  # it outlives us on purpose; Popen shall not warn about it
    return driver


def serve(name: str) -> None:
    """Serve requests until the sandbox ends."""
    known = record.read_record(name)
    room = machine.room(known[0]) if known else None
    if known is None or room is None:
        raise SandboxError(f"sandbox {name} does not run")
    layout = known[0]
    path = folder(layout) / "socket"
    path.unlink(missing_ok=True)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server,
        selectors.DefaultSelector() as selector,
    ):
        server.bind(str(path))
        server.listen(64)
        ended = os.pidfd_open(room.pid)
        selector.register(server, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while room.alive():
            ready = {key.fileobj for key, _ in selector.select()}
            if ended in ready:
                return
            client, _ = server.accept()
            with client:
                client.settimeout(_REQUEST_S)
                _answer(layout, client)


def _answer(layout: Layout, client: socket.socket) -> None:
    """Answer one request; a client that went away is none of our business."""
    try:
        with client.makefile("rw", encoding="utf-8") as stream:
            action, *hosts = json.loads(stream.readline())
            stream.write("".join(f"{line}\n" for line in respond(layout, action, hosts)))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"a request failed: {error}\n")


def respond(layout: Layout, action: str, hosts: Sequence[str]) -> list[str]:
    """Do what is asked; return the driver's lines."""
    known = [host for host in hosts if host in layout.nodes]
    lines = [f"{host} failed it is no node of this sandbox" for host in hosts if host not in known]
    if action == "list":
        up = faults.conditions(layout)
        return [f"{host} {'stopped' if up[host] == faults.KILLED else 'running'}" for host in known]
    acts: dict[str, Callable[[Layout, Sequence[str]], None]] = {"start": _start, "stop": _stop}
    if action not in acts:
        return [f"{host} failed {action!r} is none of start, stop and list" for host in hosts]
    try:
        acts[action](layout, known)
    except SandboxError as error:
        words = " ".join(error.message.split())
        return [*lines, *(f"{host} failed {words}" for host in known)]
    return [*lines, *(f"{host} ok" for host in known)]


def _start(layout: Layout, hosts: Sequence[str]) -> None:
    running = machine.inits(layout)
    if todo := [host for host in hosts if host not in running]:
        time.sleep(_BOOT_S)
        for host in todo:
            machine.plug(layout, host, connected=True)
        machine.start_hosts(layout, todo)


def _stop(layout: Layout, hosts: Sequence[str]) -> None:
    running = machine.inits(layout)
    for host in hosts:
        if host in running and not processes.end(running[host]):
            raise SandboxError(f"{host}: process {running[host].pid} does not end")


if __name__ == "__main__":
    serve(sys.argv[1])
