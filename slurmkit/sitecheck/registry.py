"""What a fault is: a stable code, what is wrong, and what to do; and the rules that find faults."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from slurmkit.errors import Location, Problem
from slurmkit.sitecheck.config import Cluster

Problems = Iterator[Problem]
Rule = Callable[[Cluster], Problems]

#: Every fault by its code, in the order of the modules that define them.
FAULTS: dict[str, "Fault"] = {}
#: Every rule.
RULES: list[Rule] = []


@dataclass(frozen=True)
class Fault:
    """One thing that can be wrong with a site.

    Attributes:
        code: its stable name.
        what: what is wrong, in one sentence.
        fix: what to do, in one sentence.
        warning: whether Slurm works all the same.
        group: heading on the reference page.
    """

    code: str
    what: str
    fix: str
    warning: bool = False
    group: str = ""

    def __call__(
        self, message: str, where: Location | None, hint: str = "", key: str = ""
    ) -> Problem:
        """Return a problem of this kind.

        Args:
            message: what is wrong here.
            where: the place.
            hint: what to do here; the fault's own fix when empty.
            key: the keyword it concerns.
        """
        return Problem(
            message.removeprefix(f"{key}: "), key, where, hint or self.fix, self.code, self.warning
        )


def fault(code: str, what: str, fix: str, *, warning: bool = False, group: str = "") -> Fault:
    """Register a fault.

    Raises:
        ValueError: its code is taken.
    """
    if code in FAULTS:
        raise ValueError(f"two faults are called {code}")
    FAULTS[code] = Fault(code, what, fix, warning, group)
    return FAULTS[code]


def by_place(problem: Problem) -> tuple[str, int, int, str]:
    """Return what problems are sorted by: file, line, column; those without a place first."""
    where = problem.where
    return (where.file, where.line, where.column, problem.code) if where else ("", 0, 0, "")


def rule(function: Rule) -> Rule:
    """Register a rule: a function from a cluster to problems."""
    RULES.append(function)
    return function
