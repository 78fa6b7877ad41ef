"""What all ranks do together, from what each of them says that it does: pure."""

#: Phases that all ranks go through together, and that may take long.
_COMMON = ("load", "save", "stopping")


class PhaseBoard:
    """What all members, ranks or nodes, do together.

    A phase such as ``save`` counts from when every member has entered it until the last has left
    it. A rank that never enters while the others wait for it in there hangs, and so the phase must
    not count before all are in; one that is out already waits for the others, and that is no hang.
    """

    def __init__(self) -> None:
        self._now: dict[object, str] = {}
        self._entered: dict[str, set[object]] = {phase: set() for phase in _COMMON}
        self.phase = "run"

    def clear(self) -> None:
        """Forget everything: a new attempt begins."""
        self.__init__()  # type: ignore[misc]

    def join(self, member: object) -> None:
        """There is such a member."""
        self._now.setdefault(member, "run")

    def leave(self, member: object) -> bool:
        """A member takes no part any more; return whether the common phase has changed."""
        self._now.pop(member, None)
        return self._settle()

    def enter(self, member: object, phase: str) -> bool:
        """A member's phase has changed; return whether the common one has."""
        if phase in _COMMON:
            if phase not in self._now.values():
                self._entered[phase].clear()
            self._entered[phase].add(member)
        self._now[member] = phase
        return self._settle()

    def _settle(self) -> bool:
        before = self.phase
        self.phase = "run"
        for phase in _COMMON:
            if phase in self._now.values() and self._entered[phase] >= self._now.keys():
                self.phase = phase
        return self.phase != before
