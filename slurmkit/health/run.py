"""Run checks so that none can hold up the others: what may hang is done in child processes."""

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from slurmkit.health.check import Check, Node
from slurmkit.health.config import (
    HealthConfig,
    HealthConfigError,
    configured,
    node_of,
    own_name,
    read_own,
)
from slurmkit.health.registry import checks_of
from slurmkit.health.verdict import FAIL, SKIPPED, WARN, Verdict, from_fields

_READ_BYTES = 1 << 16
_MOST_DESCRIPTORS = 4096


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
    config = HealthConfig()
    # A mistake in the site's file is for its health program to complain about, not for each job.
    with contextlib.suppress(HealthConfigError):
        config = read_own(os.environ)
    host = own_name(os.environ)
    node = node_of(config, host)
    node = node.replace(
        shared_dir=folder,
        local_dir=Path(os.environ.get("SLURMKIT_LOCAL_DIR") or node.local_dir),
        num_gpus=node.num_gpus if num_gpus is None else num_gpus,
        job_id=os.environ.get("SLURM_JOB_ID", ""),
    )
    return run_checks(checks_of(level, configured(config, host)), node, within_s=within_s)


class _Running:
    """Checks of one group in one child process.

    Attributes:
        checks: in the order in which they are done.
    """

    def __init__(self, checks: list[Check], node: Node) -> None:
        self.checks = checks
        self.limit_s = max(check.timeout_s for check in checks)
        self.answer = b""
        self.descriptor, self._pid = _start(checks, node)

    def verdicts(self, *, late_s: float | None) -> list[Verdict]:
        """Return what the child said; what it did not say has failed, once, and hides the rest."""
        found = []
        for line in self.answer.splitlines():
            with contextlib.suppress(ValueError):
                found.append(from_fields(json.loads(line)))
        missing = self.checks[len(found) :]
        if missing:
            found.append(_no_answer(missing[0], late_s))
            why = f"{missing[0].id} did not answer"
            found += [check.verdict(SKIPPED, why) for check in missing[1:]]
        return found

    def end(self) -> None:
        """Let nothing of it stay, as far as the kernel lets us."""
        os.close(self.descriptor)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        # A process that hangs in the kernel cannot be collected, and must not be waited for.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, os.WNOHANG)


def _no_answer(check: Check, late_s: float | None) -> Verdict:
    if late_s is None:
        return check.verdict(FAIL, "the check itself ended without an answer")
    if late_s < check.timeout_s:
        return check.verdict(WARN, f"{late_s:g} s were left for it, and it took longer")
    return check.verdict(FAIL, f"did not answer within {check.timeout_s:g} s")


def run_checks(checks: Sequence[Check], node: Node, *, within_s: float) -> list[Verdict]:
    """Return one verdict per check, in their order.

    Those that may hang run side by side in children of their own, one per group; one that does not
    end in time fails, as what it looked at hangs. One that was cut short by ``within_s`` alone
    warns.
    """
    started = time.monotonic()
    groups: dict[str, list[Check]] = {}
    for check in checks:
        if check.blocking:
            groups.setdefault(check.group or check.id, []).append(check)
    running = {child.descriptor: child for child in (_Running(g, node) for g in groups.values())}
    found = {check.id: _run(check, node) for check in checks if not check.blocking}
    while running:
        now = time.monotonic() - started
        limits = {fd: min(child.limit_s, within_s) for fd, child in running.items()}
        ready, _, _ = select.select(list(running), [], [], max(0.0, min(limits.values()) - now))
        late = [fd for fd, limit in limits.items() if time.monotonic() - started >= limit]
        for descriptor in {*ready, *late}:
            child = running[descriptor]
            data = os.read(descriptor, _READ_BYTES) if descriptor in ready else b""
            child.answer += data
            if data and descriptor not in late:
                continue
            del running[descriptor]
            late_s = limits[descriptor] if data or descriptor not in ready else None
            found |= {item.check: item for item in child.verdicts(late_s=late_s)}
            child.end()
    return [found[check.id] for check in checks]


def _let_go(kept: int) -> None:
    """Close what was inherited: a child that hangs in the kernel for ever must hold up nobody.

    Whoever reads our output waits until all have closed it, and a lock is held until then.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.closerange(3, kept)
    os.closerange(kept + 1, _MOST_DESCRIPTORS)


def _run(check: Check, node: Node) -> Verdict:
    try:
        return check.run(node)
    except Exception as error:  # noqa: BLE001 (a mistake in a check must not drain a cluster)
        return check.verdict(WARN, f"the check itself went wrong: {type(error).__name__}: {error}")


def _start(checks: list[Check], node: Node) -> tuple[int, int]:
    """Run checks in a child; return the descriptor of its answers, and its process id."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()  # what it starts ends with it
            _let_go(writing)
            for check in checks:
                os.write(writing, json.dumps(_run(check, node).fields()).encode() + b"\n")
            code = 0
        finally:
            os._exit(code)  # whatever it was, it must not run on as a second copy of the caller
    os.close(writing)
    return reading, pid
