"""Which nodes are silent for too long: pure, with a clock that stands still while we do.

A supervisor that was stopped or starved for ten seconds has heard nobody for ten seconds, and that
says nothing about the nodes. So silence is measured on a clock that advances only while the
supervisor itself runs: a longer pause between two looks at it counts as one short one.
"""

from dataclasses import dataclass

#: Heartbeats that may be missing before a node is lost.
MISSED = 3


class AwakeClock:
    """Seconds in which this process was running.

    Args:
        now: monotonic seconds.
        longest_s: the longest time between two calls of ``tick`` that counts in full.
    """

    def __init__(self, now: float, longest_s: float) -> None:
        self.time = 0.0
        self.stalled_s = 0.0
        self._last = now
        self._longest_s = longest_s

    def tick(self, now: float) -> float:
        """Advance to now and return the time."""
        passed = max(0.0, now - self._last)
        self._last = now
        counted = min(passed, self._longest_s)
        self.stalled_s += passed - counted
        self.time += counted
        return self.time


@dataclass
class NodeState:
    """One node, as far as it is known.

    Attributes:
        heard: when anything last came from it, on the awake clock.
        beat: when its last heartbeat came.
        connected: whether there is a connection that has proved itself.
        was_up: whether it has ever been up.
        lost: whether it has been declared lost.
    """

    heard: float
    beat: float = 0.0
    connected: bool = False
    was_up: bool = False
    lost: bool = False


@dataclass(frozen=True)
class Patience:
    """How long silence may last, seconds.

    Attributes:
        silent_s: without a heartbeat, of a node whose connection stands or was cut without a word.
        quiet_s: without any word of such a node: one that came between two heartbeats stands for
            the next of them, not for more.
        reconnect_s: of a node whose connection was closed in good order: its kernel lives, so its
            agent ended alone or was ended, and another one is on its way.
        start_s: of a node whose agent has not been there yet.
        nobody_s: of nodes whose connections were closed, while no agent at all is connected: then
            it is the starting of agents that does not work, and not the nodes.
    """

    silent_s: float
    quiet_s: float
    reconnect_s: float = 30.0
    start_s: float = 60.0
    nobody_s: float = 120.0


def overdue(
    state: NodeState, now: float, patience: Patience, *, anybody: bool
) -> tuple[float, str] | None:
    """Return for how long a node has been silent, and what that means; None while it may be.

    Args:
        state: the node.
        now: on the awake clock.
        patience: the limits.
        anybody: whether any agent at all is connected.
    """
    if state.connected:
        silent_s = now - state.beat
        if silent_s <= patience.silent_s or now - state.heard <= patience.quiet_s:
            return None
        return silent_s, f"{MISSED} heartbeats in a row are missing"
    silent_s = now - state.heard
    limit_s = patience.reconnect_s if state.was_up else patience.start_s
    if not anybody:
        limit_s = max(limit_s, patience.nobody_s)
    if silent_s <= limit_s:
        return None
    if state.was_up:
        return silent_s, f"its agent ended and did not come back within {limit_s:g} s"
    return silent_s, f"its agent did not start within {limit_s:g} s"
