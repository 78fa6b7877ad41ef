"""``slurmkit health program``: what Slurm runs on each node as its HealthCheckProgram.

It looks at the node, decides with ``health.drains``, and asks Slurm for what was decided. It is
about this node alone; of the others it only counts how many are drained.
"""

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from slurmkit.errors import RefusedError, SlurmError, SlurmkitError, SlurmUnreachableError
from slurmkit.health import drains
from slurmkit.health.check import FULL
from slurmkit.health.config import HealthConfig, configured, node_of, own_name, read_own
from slurmkit.health.counters import Counters
from slurmkit.health.files import put_file
from slurmkit.health.published import publish, published_path
from slurmkit.health.refusals import pause, read_refusals, write_refusals
from slurmkit.health.registry import checks_of
from slurmkit.health.run import run_checks
from slurmkit.health.verdict import Verdict
from slurmkit.slurm.nodes import NodeControl, NodeRecord

_SETTLE_S = 1.1
# After a drain that was one too many: for so long the prolog lets jobs start in spite of what it
# finds, else Slurm would drain the node again with the next job.
_PAUSE_S = 600.0
# A job with a slurmkit supervisor moves by itself; this long it has for it.
_OWN_WAY_S = 60.0
# Jobs that are requeued end first, which takes KillWait: what is not done now, the next run does.
_START_S = 8.0
# Later Slurm starts them by itself.
_MOVE_S = 180.0
_LOG_BYTES = 1 << 20
_IN_MEMORY = Path("/run/slurmkit/health")
_HELP = """\
usage: slurmkit health program

Run by Slurm's HealthCheckProgram as root: checks this node, and drains it or puts it back.
"""


def main(arguments: list[str]) -> int:
    """Look at this node and do what follows; exit code 0 unless the node's own files fail."""
    if arguments:
        sys.stdout.write(_HELP)
        return 0 if arguments[0] in ("-h", "--help") else 2
    config, host = read_own(os.environ), own_name(os.environ)
    config = config.replace(state_dir=_usable(config.state_dir))
    with _alone(config.state_dir / "lock") as alone:
        if alone:
            HealthProgram(config, host).run()
    return 0


def _usable(folder: Path) -> Path:
    """Return the folder, or one in memory when its disk is what is broken.

    Raises:
        SlurmkitError: neither can be written, as by a user.
    """
    for place in (folder, _IN_MEMORY):
        with contextlib.suppress(OSError):
            put_file(place / "alive", "")
            return place
    raise SlurmkitError(
        f"neither {folder} nor {_IN_MEMORY} can be written",
        hint="Slurm runs this as root; slurmkit health check is for everybody",
    )


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Hold a lock; False when another one does: Slurm starts the next run when one is slow."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


class HealthProgram:
    """One run on one node.

    Args:
        config: what the site says.
        host: the node's name in Slurm.
        control: the door to Slurm; None for Slurm's own programs.
    """

    def __init__(self, config: HealthConfig, host: str, control: NodeControl | None = None) -> None:
        self._config = config
        self._host = host
        self._control = control or NodeControl()
        self._state = _read_state(config.state_dir / "state.json")
        self._memory = drains.memory_of(self._state.get("memory") or {})
        self._leaving: dict[str, float] = self._state.get("leaving") or {}
        self._moving: dict[str, float] = self._state.get("moving") or {}
        self._now = time.time()

    def run(self) -> None:
        """Look, decide, act, and remember."""
        verdicts = self._look()
        evict = ""
        try:
            evict = self._act(verdicts)
        except SlurmUnreachableError as error:
            self._note("no answer", error.message)
            evict = str(self._state.get("evict") or "")
        except SlurmError as error:
            self._note("refused", error.message)
        # Moving jobs takes a while: those that move by themselves hear of it first, and should
        # this process be ended then, what was decided is known.
        self._keep(verdicts, evict)
        try:
            self._move_jobs(evict)
        except SlurmError as error:
            self._note("no answer", error.message)
        if self._leaving or self._moving:
            self._keep(verdicts, evict)

    def _keep(self, verdicts: Sequence[Verdict], evict: str) -> None:
        kept = {
            "memory": self._memory.fields(),
            "evict": evict,
            "leaving": self._leaving,
            "moving": self._moving,
        }
        try:
            publish(published_path(), self._host, verdicts, evict)
            put_file(self._config.state_dir / "state.json", json.dumps(kept))
        except OSError as error:  # what was decided has been done all the same
            self._note("forgets", f"{error.filename}: {error.strerror}")

    def _look(self) -> list[Verdict]:
        counters = Counters(self._config.state_dir / "counters.json", self._now)
        node = node_of(self._config, self._host).replace(counters=counters)
        checks = checks_of(FULL, configured(self._config, self._host))
        found = run_checks(checks, node, within_s=self._config.within_s)
        try:
            counters.save()
        except OSError as error:
            self._note("forgets", f"{error.filename}: {error.strerror}")
        return found

    def _act(self, verdicts: Sequence[Verdict]) -> str:
        """Do what is due; return why jobs have to leave the node, empty when they need not."""
        node = _view(self._control.node(self._host))
        limits = self._config.drains
        decision = drains.adoption(node, read_refusals(self._config.state_dir))
        if decision is None:
            decision, self._memory = drains.decide(node, verdicts, self._memory, limits, self._now)
        if decision.action == drains.DRAIN:
            decision = drains.confirm(decision, self._all(), limits)
        if decision.action == drains.HELD:
            self._note("held", decision.why)
        elif decision.action != drains.NOTHING:
            decision = self._carry_out(decision)
        stays = decision.action == drains.DRAIN or (decision.action == drains.NOTHING and node.ours)
        return decision.why if decision.evict and stays else ""

    def _carry_out(self, decision: drains.Decision) -> drains.Decision:
        """Do it, if the node is still as it was when it was decided; return what was done."""
        if not drains.still_so(decision, _view(self._control.node(self._host))):
            self._note("left alone", f"the node has changed meanwhile: {decision.why}")
            return drains.Decision(drains.NOTHING)
        if decision.action == drains.UNDRAIN:
            self._control.undrain(self._host)
        else:
            self._control.drain(self._host, decision.reason)
        self._memory = drains.after(decision, self._memory, self._now)
        self._note(decision.action, decision.why)
        if decision.action == drains.UNDRAIN:
            return decision
        # Slurm says in whole seconds when a node was drained: only when this one is over, each of
        # several that were drained in it sees the others, and all agree on who was first.
        time.sleep(_SETTLE_S)
        return drains.Decision(drains.HELD) if self._too_many() else decision

    def _too_many(self) -> bool:
        """Take our drain back when several nodes were drained at once, and together too many."""
        limits = self._config.drains
        if not drains.over_limit(self._host, self._all(), limits):
            return False
        if not _view(self._control.node(self._host)).ours:
            return False
        self._control.undrain(self._host)
        kept = self._memory.drains[:-1]
        self._memory = self._memory.replace(drained="", causes=(), drains=kept)
        pause(self._config.state_dir, self._now + _PAUSE_S)
        self._note("taken back", "more nodes are drained by us than may be at once")
        return True

    def _all(self) -> list[drains.NodeView]:
        return [_view(record) for record in self._control.nodes()]

    def _move_jobs(self, evict: str) -> None:
        """Let jobs start elsewhere: those that the prolog refused, and those that have to leave."""
        jobs = self._refused()
        if evict:
            jobs += self._evict(evict)
        else:
            self._leaving = {}
        self._moving = {job: self._moving.get(job, self._now) for job in [*self._moving, *jobs]}
        if self._moving:
            ending = self._control.start_now(self._moving, within_s=_START_S)
            self._moving = {
                job: since
                for job, since in self._moving.items()
                if job in ending and self._now - since < _MOVE_S
            }

    def _refused(self) -> list[str]:
        """Return the jobs that the prolog refused, and forget those of which all is known.

        Slurm may take a moment to drain the node for it: until then a refusal is kept.
        """
        refusals = read_refusals(self._config.state_dir)
        known = bool(self._memory.drained)
        kept = [r for r in refusals if not known and self._now - r.at < drains.SAME_EVENT_S]
        if kept != refusals:
            with contextlib.suppress(OSError):
                write_refusals(self._config.state_dir, kept)
        return list(dict.fromkeys(refusal.job_id for refusal in refusals if refusal.job_id))

    def _evict(self, why: str) -> list[str]:
        """Requeue the jobs on this node that do not leave by themselves; return them."""
        jobs = self._control.jobs_on(self._host)
        self._leaving = {job.id: self._leaving.get(job.id, self._now) for job in jobs}
        supervised = _supervised_jobs(Path("/proc"))
        requeued = []
        for job in jobs:
            in_time = self._now - self._leaving[job.id] < _OWN_WAY_S
            if job.id in supervised and (in_time or not supervised[job.id]):
                continue  # its ranks are about to leave, or have left
            if not (job.batch and job.can_requeue):
                self._note("stays", f"job {job.id} cannot be requeued: {why}")
                continue
            try:
                self._control.requeue(job.id)
            except RefusedError as error:
                self._note("stays", error.message)
            else:
                self._note("requeued", f"job {job.id} of {job.user}: {why}")
                requeued.append(job.id)
        return requeued

    def _note(self, what: str, words: str) -> None:
        """Write down what was done, as a line of JSON in a file that does not grow for ever."""
        path = self._config.state_dir / "log"
        line = {"time": round(self._now, 3), "host": self._host, "what": what, "why": words}
        with contextlib.suppress(OSError):
            if path.stat().st_size > _LOG_BYTES:
                path.replace(path.with_name("log.1"))
        with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        sys.stdout.write(f"slurmkit: {self._host}: {what}: {words}\n")


def _read_state(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _view(record: NodeRecord) -> drains.NodeView:
    return drains.NodeView(record.name, record.flags, record.reason, record.reason_at)


def _supervised_jobs(proc: Path) -> dict[str, bool]:
    """Return the jobs with an agent of slurmkit on this node, and whether they have ranks here.

    Processes of a job's steps know their step; the batch script and the supervisor do not.
    """
    agents, ranks = set(), set()
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            entries = (folder / "environ").read_bytes().split(b"\0")
            known = dict(entry.split(b"=", 1) for entry in entries if b"=" in entry)
            job_id = known.get(b"SLURM_JOB_ID", b"").decode()
            if b"agent" in words[:5] and any(b"slurmkit" in word for word in words[:4]):
                agents.add(job_id)
            elif b"SLURM_STEP_ID" in known:
                ranks.add(job_id)
    return {job_id: job_id in ranks for job_id in agents}
