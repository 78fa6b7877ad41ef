"""What a check is: a small function with an id, a description and an example of what it says."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from slurmkit.check.subject import Subject
from slurmkit.errors import Problem
from slurmkit.limits import Limits, PartitionLimits

Problems = Iterator[Problem]
LocalFunction = Callable[[Subject], Problems]
ClusterFunction = Callable[[Subject, Limits], Problems]
PartitionFunction = Callable[[Subject, PartitionLimits], Problems]
F = TypeVar("F")


@dataclass(frozen=True)
class About:
    """What the reference page says about a check.

    Attributes:
        id: the stable name, also the ``code`` of its problems.
        compares: what is held against what, in one sentence.
        example: a message of this check.
        warning: True when the job can run all the same.
    """

    id: str
    compares: str
    example: str
    warning: bool = False

    def sign(self, problems: Iterable[Problem]) -> list[Problem]:
        """Return the problems under this check's name and severity."""
        return [problem.replace(code=self.id, warning=self.warning) for problem in problems]


@dataclass(frozen=True)
class Check(ABC):
    """One check: its description, and the function that looks."""

    about: About

    @property
    @abstractmethod
    def needs_cluster(self) -> bool:
        """Whether it reads the live cluster's limits."""


@dataclass(frozen=True)
class LocalCheck(Check):
    """Looks at the job, the script and this machine."""

    function: LocalFunction
    needs_cluster = False

    def run(self, subject: Subject) -> list[Problem]:
        """Return what is wrong."""
        return self.about.sign(self.function(subject))


@dataclass(frozen=True)
class ClusterCheck(Check):
    """Holds the job against the cluster as a whole."""

    function: ClusterFunction
    needs_cluster = True

    def run(self, subject: Subject, limits: Limits) -> list[Problem]:
        """Return what is wrong."""
        return self.about.sign(self.function(subject, limits))


@dataclass(frozen=True)
class PartitionCheck(Check):
    """Holds the job against one partition that it may run in.

    Attributes:
        only_if_clean: True for checks of everything together, which say something new only when
            no part is wrong on its own.
    """

    function: PartitionFunction
    only_if_clean: bool = False
    needs_cluster = True

    def run(self, subject: Subject, partition: PartitionLimits) -> list[Problem]:
        """Return what is wrong."""
        return self.about.sign(self.function(subject, partition))


def local(about: About) -> Callable[[LocalFunction], LocalCheck]:
    """Make a check of the job, the script and this machine out of a function."""
    return lambda function: LocalCheck(about, function)


def on_cluster(about: About) -> Callable[[ClusterFunction], ClusterCheck]:
    """Make a check against the whole cluster out of a function."""
    return lambda function: ClusterCheck(about, function)


def per_partition(
    about: About, *, only_if_clean: bool = False
) -> Callable[[PartitionFunction], PartitionCheck]:
    """Make a check against each partition of the job out of a function."""
    return lambda function: PartitionCheck(about, function, only_if_clean)
