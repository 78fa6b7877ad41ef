"""Signals as flags: a handler writes down what came and when, and the next boundary acts on it."""

import signal
import threading
import time
from types import FrameType
from typing import Any


class SignalFlags:
    """What has been asked of this process, by signals or by the agent.

    A second signal never starts anything anew: all it can do is to bring the deadline nearer.

    Attributes:
        stop: why to stop: ``warning``, ``term``, or what the agent said; empty to go on.
        save: whether somebody asked for a save.
        deadline: unix time by which this process has to be gone; infinite when nobody said.
    """

    def __init__(self, warning: signal.Signals | None = None, grace_s: float = 30.0) -> None:
        self.stop = ""
        self.save = False
        self.deadline = float("inf")
        self._warning = warning
        self._grace_s = grace_s
        self._before: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        """Take over the signals, in the main thread; Python allows it in no other."""
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        handlers: dict[signal.Signals, Any] = {
            signal.SIGTERM: self._on_term,
            signal.SIGINT: self._on_interrupt,
        }
        if self._warning is not None:
            handlers[self._warning] = self._on_warning
        for number, handler in handlers.items():
            self._before[number] = signal.signal(number, handler)

    def remove(self) -> None:
        """Give the signals back to whoever had them.

        A warning is not given back but ignored: without a handler it would kill a program that has
        saved everything and is about to end.
        """
        for number, handler in self._before.items():
            if number == self._warning and handler is signal.SIG_DFL:
                signal.signal(number, signal.SIG_IGN)
            else:
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._before = {}

    def ignore(self) -> None:
        """Ignore the signals from now on: this process has saved and ends by itself, with 75."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)
        self._before = {}

    def ask_to_stop(self, why: str, deadline: float) -> None:
        """Stop at the next boundary; the first reason and the earliest deadline count."""
        self.stop = self.stop or why
        self.deadline = min(self.deadline, deadline)

    def _on_warning(self, _number: int, _frame: FrameType | None) -> None:
        self.stop = self.stop or "warning"

    def _on_term(self, _number: int, _frame: FrameType | None) -> None:
        self.ask_to_stop("term", time.time() + self._grace_s)

    def _on_interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if self.stop:  # a person who presses Ctrl-C twice does not want to wait
            raise KeyboardInterrupt
        self.stop = "interrupt"
