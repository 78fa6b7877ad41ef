"""Run checks so that none can hold up the others: what may hang is done in a child process."""

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from slurmkit.health.check import Check, Node
from slurmkit.health.registry import checks_of
from slurmkit.health.verdict import FAIL, Verdict, from_fields

_READ_BYTES = 1 << 16


def preflight(
    level: str, *, folder: Path | None, num_gpus: int | None, within_s: float
) -> list[Verdict]:
    """Return what the checks of a level say about this node.

    Args:
        level: quick or full.
        folder: a folder on the shared file system; None for none.
        num_gpus: GPUs that the node should have; None when unknown.
        within_s: how long all of it may take, seconds.
    """
    local_dir = Path(os.environ.get("SLURMKIT_LOCAL_DIR") or "/tmp")  # noqa: S108
    node = Node(
        shared_dir=folder,
        local_dir=local_dir,
        num_gpus=num_gpus,
        job_id=os.environ.get("SLURM_JOB_ID", ""),
    )
    return run_checks(checks_of(level), node, within_s=within_s)


def run_checks(checks: Sequence[Check], node: Node, *, within_s: float) -> list[Verdict]:
    """Return one verdict per check, in their order.

    Those that may hang run side by side in children of their own; one that does not end in time
    fails, as what it looked at hangs.
    """
    started = time.monotonic()
    waiting = {}
    for check in checks:
        if check.blocking:
            waiting[_start(check, node)] = check
    found = {check.id: check.run(node) for check in checks if not check.blocking}
    processes = dict(waiting.keys())
    answers: dict[int, bytes] = dict.fromkeys(processes, b"")
    by_descriptor = {descriptor: check for (descriptor, _pid), check in waiting.items()}
    while by_descriptor:
        now = time.monotonic() - started
        limits = {fd: min(check.timeout_s, within_s) for fd, check in by_descriptor.items()}
        ready, _, _ = select.select(
            list(by_descriptor), [], [], max(0.0, min(limits.values()) - now)
        )
        late = [fd for fd, limit in limits.items() if time.monotonic() - started >= limit]
        for descriptor in {*ready, *late}:
            data = os.read(descriptor, _READ_BYTES) if descriptor in ready else b""
            answers[descriptor] += data
            if data:
                continue
            check = by_descriptor.pop(descriptor)
            found[check.id] = _verdict(check, answers[descriptor], late=descriptor in late)
            _end(descriptor, processes[descriptor])
    return [found[check.id] for check in checks]


def _start(check: Check, node: Node) -> tuple[int, int]:
    """Run a check in a child; return the descriptor of its answer, and its process id."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reading)
            os.write(writing, json.dumps(check.run(node).fields()).encode())
            code = 0
        finally:
            os._exit(code)  # whatever it was, it must not run on as a second copy of the caller
    os.close(writing)
    return reading, pid


def _verdict(check: Check, answer: bytes, *, late: bool) -> Verdict:
    with contextlib.suppress(ValueError):
        return from_fields(json.loads(answer))
    if late:
        return check.verdict(FAIL, f"did not answer within {check.timeout_s:g} s")
    return check.verdict(FAIL, "the check itself ended without an answer")


def _end(descriptor: int, pid: int) -> None:
    os.close(descriptor)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    # A process that hangs in the kernel cannot be collected, and must not be waited for.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
