"""The supervisor of one life of a job: turns what happens into events, and carries decisions out.

Everything runs in one event loop. What may wait, such as a disk or Slurm, is done in threads, so
that the signs of life of the nodes are heard all the time.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from slurmkit.errors import SlurmkitError
from slurmkit.rundir.layout import ElementDir
from slurmkit.rundir.ledger import StaleWriterError
from slurmkit.rundir.secretfile import read_secrets
from slurmkit.supervise.aftermath import Aftermath
from slurmkit.supervise.attempt import Attempt
from slurmkit.supervise.boot import Life
from slurmkit.supervise.chronicle import note_decision, note_start
from slurmkit.supervise.clockwork import Times, ask_times
from slurmkit.supervise.closing import Closing
from slurmkit.supervise.context import step_hosts
from slurmkit.supervise.exit_hooks import hooks_of_job
from slurmkit.supervise.journal import Journal
from slurmkit.supervise.launching import CHECKPOINT_VARIABLE, LaunchPad, step_name
from slurmkit.supervise.policy import decide
from slurmkit.supervise.policy_values import (
    EXIT_AGAIN,
    Booted,
    Cancel,
    Checked,
    CheckNodes,
    Decide,
    DumpStacks,
    Ended,
    Event,
    Exclude,
    Finish,
    Launch,
    Refused,
    Requeue,
    State,
    SubmitSuccessor,
    Superseded,
    TellStop,
    Terminated,
    TimeIsUp,
    Warned,
)
from slurmkit.supervise.record import Recorder
from slurmkit.supervise.restart import write_warning
from slurmkit.supervise.saying import say
from slurmkit.supervise.slurm_effects import SlurmEffects

if TYPE_CHECKING:
    from slurmkit.supervise.watching import Watching

_RELAYED = (signal.SIGUSR1, signal.SIGUSR2)
_ENDING = (signal.SIGTERM, signal.SIGINT)
# Slurm kills a requeued job's script in less than a second.
_REQUEUE_S = 60.0
_PREPARE_AGAIN_S = 2.0
# How long before Slurm's end of the job a step that still runs is given up.
_TIME_UP_S = 3.0
_TASKS_GONE_S = 5.0
_STACKS_S = 10.0


class Supervisor:
    """Runs one life of a job to its end.

    Args:
        life: what it starts from.
        state: what the policy starts from.
        journal: makes the ledger's writer, given who is told that this incarnation is stale.
    """

    def __init__(
        self,
        life: Life,
        state: State,
        journal: Callable[[Callable[[StaleWriterError], None]], Journal],
    ) -> None:
        run, job = life.run, life.job
        self._options = life.options
        self._job = job
        self._run_dir = run
        self._life = life
        self._element: ElementDir = run.element(job.array_task)
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event | BaseException] = asyncio.Queue()
        self._journal = journal(self._on_stale)
        self._attempt: Attempt | None = None
        self._number = max(self._element.attempts(), default=0) + 1
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self._times = Times()
        self._asking: asyncio.Task[Times] | None = None
        self._terminated: signal.Signals | None = None
        hooks = hooks_of_job()
        self._secrets = read_secrets(run.path) or {}
        self._slurm = SlurmEffects(job, say)
        self._pad = LaunchPad(life, self._journal.incarnation, hooks, say)
        self._closing = Closing(run, job, self._journal, hooks)
        supervised = bool(state.rules.remedies)
        self._aftermath = Aftermath(
            job, self._journal, supervised, self._pad.checkpoints, self._post
        )
        self._watching: Watching | None = None
        self._exit_code: int | None = None
        self._do: dict[type, Callable[[Any], Awaitable[None]]] = {
            CheckNodes: self._check_nodes,
            Exclude: self._exclude,
            Decide: self._write_decision,
            Launch: self._launch,
            DumpStacks: self._dump_stacks,
            Cancel: self._cancel,
            TellStop: self._tell_stop,
            SubmitSuccessor: self._submit_successor,
            Requeue: self._requeue,
            Finish: self._finish,
        }

    # -- the loop -----------------------------------------------------------------------------

    async def run(self) -> int:
        """Run to the end and return the exit code of the batch script."""
        self._listen()
        self._boot()
        try:
            while self._exit_code is None:
                event = await self._events.get()
                if isinstance(event, BaseException):
                    raise event
                self._state, actions = decide(self._state, event)
                for action in actions:
                    await self._do[type(action)](action)
            return self._exit_code
        finally:
            for timer in self._timers:
                timer.cancel()
            for task in self._tasks:
                task.cancel()
            if self._watching:
                await self._watching.stop()
            await asyncio.to_thread(self._journal.close)

    def _post(self, event: Event) -> None:
        self._events.put_nowait(event)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: "asyncio.Task[None]") -> None:
        """A task has ended; what it could not handle ends the supervisor, instead of a silence."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._events.put_nowait(error)

    def _note(self, event: str, **fields: object) -> None:
        self._journal.note(event, self._number, **fields)

    def _on_stale(self, error: StaleWriterError) -> None:
        """A newer incarnation holds the fence; called in the ledger's thread."""
        say(str(error))
        self._loop.call_soon_threadsafe(self._post, Superseded(error.message))

    # -- boot and signals ---------------------------------------------------------------------

    def _boot(self) -> None:
        job = self._job
        note_start(self._journal, self._number, self._life, self._state)
        if job.key and (self._state.rules.remedies or CHECKPOINT_VARIABLE in os.environ):
            self._asking = asyncio.ensure_future(asyncio.to_thread(ask_times, job))
        self._post(Booted(tuple(step_hosts((), job)) or (job.host,)))

    def _listen(self) -> None:
        """Take over the signals; before the launch, so that none finds the default."""
        for number in _RELAYED:
            self._loop.add_signal_handler(number, self._on_warning, number)
        for number in _ENDING:
            self._loop.add_signal_handler(number, self._on_term, number)

    def _on_warning(self, number: signal.Signals) -> None:
        ours = os.environ.get("SLURMKIT_WARNING_SIGNAL", "").removeprefix("SIG")
        warning = number.name == f"SIG{ours}"
        if warning and self._state.rules.remedies:
            self._aftermath.warned_by = number.name
            self._spawn(self._warn_soon())
            return
        if warning:
            self._spawn(self._write_warning("the time limit", self._times.end_time))
        self._relay(number)

    async def _write_warning(self, why: str, deadline: float | None) -> None:
        """Tell programs that look for a file."""
        folder = self._element.attempt_dir(self._number)
        await asyncio.to_thread(write_warning, folder, why, deadline)

    async def _warn_soon(self) -> None:
        self._post(Warned("the time limit", (await self._known_times()).end_time))

    def _on_term(self, number: signal.Signals) -> None:
        self._terminated = number
        self._spawn(self._write_warning(number.name, self._times.deadline(time.time())))
        if self._attempt is not None:
            self._terminate(self._attempt, number)
        self._post(Terminated(self._times.deadline(time.time())))

    def _terminate(self, attempt: Attempt, number: signal.Signals) -> None:
        """A signal ends the job, and with it this attempt."""
        if attempt.terminated is None:
            attempt.terminated = number
            attempt.note("attempt_ending", signal=number.name)
            self._spawn(self._conclude_in_time(attempt))
        if not self._state.rules.remedies:
            attempt.signal(number)

    async def _conclude_in_time(self, attempt: Attempt) -> None:
        await self._aftermath.conclude_in_time(attempt, await self._known_times())

    async def _known_times(self) -> Times:
        if self._asking is not None:
            self._times = await self._asking
            self._asking = None
        return self._times

    # -- nodes --------------------------------------------------------------------------------

    async def _check_nodes(self, _action: CheckNodes) -> None:
        if not self._job.key:  # no Slurm: there is this host alone, and it is up
            self._post(Checked())
            return
        from slurmkit.supervise.watching import Watching  # noqa: PLC0415 (one attempt needs none)

        watching = Watching(
            self._options,
            self._element,
            self._journal,
            lambda: self._number,
            self._post,
            lambda host, why: self._spawn(self._slurm.drain(host, why)),
        )
        self._watching = self._aftermath.watching = watching
        try:
            await watching.start(self._state.allocated)
        except OSError as error:
            raise SlurmkitError(
                f"the agents of the nodes cannot be started: {error}",
                hint=f"see whether {self._element.path} can be written",
            ) from error
        self._spawn(self._call_roll(watching))

    async def _call_roll(self, watching: "Watching") -> None:
        bad = await watching.roll_call()
        self._post(Checked(tuple(sorted(bad.items()))))

    async def _exclude(self, action: Exclude) -> None:
        self._note("node_excluded", host=action.host, reason=action.reason)
        if self._watching:
            self._watching.excluded(action.host)

    async def _write_decision(self, action: Decide) -> None:
        say(f"{action.choice}: {action.reason}")
        note_decision(self._journal, self._number, action)

    # -- launching ----------------------------------------------------------------------------

    async def _launch(self, action: Launch) -> None:
        times = await self._known_times()
        if self._attempt is not None and not await self._slurm.answers():
            await self._slurm_is_back()  # srun would only wait in vain, and fail
        variables = self._watching.environment() if self._watching else {}
        try:
            prepared = await asyncio.to_thread(self._pad.prepare, action.nodes, times, variables)
        except StaleWriterError as error:
            self._post(Superseded(error.message))
            return
        except OSError as error:
            say(f"the launch cannot be prepared: {error}")
            await asyncio.sleep(_PREPARE_AGAIN_S)
            self._post(Ended("transient", f"the launch could not be prepared: {error}", 1))
            return
        self._number = prepared.plan.number
        if self._watching:
            self._watching.begin_attempt(self._number, action.nodes)
        attempt = Attempt(prepared.plan, self._job, self._journal, self._recorder, self._on_output)
        self._attempt = attempt
        attempt.begin()
        self._spawn(self._aftermath.see_through(attempt, prepared.release))
        if self._terminated:  # it came before there was anything to end
            self._terminate(attempt, self._terminated)

    def _recorder(self, *args: Any) -> Recorder:
        logs, hosts, on_exit = args
        return Recorder(logs, self._options.labels, hosts, on_exit, self._secrets.values())

    def _on_output(self) -> None:
        """Ranks have written something; called in the reading thread."""
        if self._watching and (attempt := self._attempt):
            what = attempt.plan.number, attempt.recorder.gave_up
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._watching.output_seen, *what)

    # -- acting on a running step -------------------------------------------------------------

    async def _dump_stacks(self, _action: DumpStacks) -> None:
        if self._watching:
            await self._watching.dump_stacks(self._element.attempt_dir(self._number), _STACKS_S)

    async def _cancel(self, _action: Cancel) -> None:
        """End the step: nothing here waits for a node that does not answer."""
        attempt = self._attempt
        if attempt is None:
            return
        attempt.cancel(self._state.cause)
        name = step_name(self._number)
        while not await self._slurm.end_step(name):
            if self._state.phase == "over":  # whoever took the run over does the rest
                return
            await self._slurm_is_back()
        if self._watching:
            await self._watching.tasks_gone(_TASKS_GONE_S)

    async def _slurm_is_back(self) -> None:
        await self._slurm.back(self._watching)
        self._attempt_last()

    def _attempt_last(self) -> None:
        """Let the policy hear of nodes that are back before it hears that their attempt is over."""
        waiting = [self._events.get_nowait() for _ in range(self._events.qsize())]
        for event in sorted(waiting, key=lambda item: isinstance(item, Ended)):
            self._events.put_nowait(event)

    async def _tell_stop(self, action: TellStop) -> None:
        self._note("warned", why=action.why, deadline=action.deadline)
        self._spawn(self._write_warning(action.why, action.deadline))
        if self._watching:
            self._watching.tell_stop(action.why, action.deadline)
        if action.relay and self._aftermath.warned_by:
            self._relay(signal.Signals[self._aftermath.warned_by])
        elif self._terminated and self._options.labels != "torchrun":
            self._spawn(self._slurm.pass_on_term(step_name(self._number)))
        if action.deadline is not None and self._state.again:
            left_s = max(0.0, action.deadline - time.time() - _TIME_UP_S)
            self._timers.append(self._loop.call_later(left_s, self._post, TimeIsUp()))

    def _relay(self, number: signal.Signals) -> None:
        """Pass a signal on to the ranks.

        srun and mpirun forward these signals to their tasks. torchrun dies of them and leaves its
        workers behind, so under it the ranks are told by their agents alone.
        """
        if self._options.labels == "torchrun":
            say(f"{number.name} is not passed on: torchrun would die of it")
        elif self._attempt is not None:
            self._attempt.signal(number)

    # -- the end ------------------------------------------------------------------------------

    async def _submit_successor(self, action: SubmitSuccessor) -> None:
        await self._journal.flush()
        try:
            job_id = await self._slurm.submit_successor(
                self._run_dir, self._journal.incarnation, action.exclude
            )
        except SlurmkitError as error:
            self._post(Refused("successor", f"Slurm takes no successor: {error.message}"))
            return
        self._note("successor_submitted", job_id=job_id, exclude=list(action.exclude))
        say(f"job {job_id} goes on with this run")
        await self._finish(Finish(EXIT_AGAIN, again=True))

    async def _requeue(self, _action: Requeue) -> None:
        self._note("requeued")
        if self._attempt is not None:
            await self._closing.call_hooks(self._attempt, EXIT_AGAIN)
        await self._journal.flush()  # Slurm kills us in less than a second
        try:
            await self._slurm.requeue()
        except SlurmkitError as error:
            self._post(Refused("requeue", error.message))
            return
        await asyncio.sleep(_REQUEUE_S)
        self._exit_code = EXIT_AGAIN

    async def _finish(self, action: Finish) -> None:
        # Slurm starts no step any more in a job that it ends; where agents are, they tidy.
        by_step = not (self._watching or self._terminated)
        await self._closing.finish(action, self._attempt, self._number, by_step=by_step)
        self._exit_code = action.code
