"""A release of Slurm as a value that can be compared: 22.05, 24.11.5."""

import functools
import re
from dataclasses import dataclass

from slurmkit.errors import UsageError

#: What `slurmctld -V` prints differs by packager: "slurm 26.05.5", "slurm-wlm 22.05.8".
_FORM = re.compile(r"(?<![\d.])(\d\d)\.(\d\d)(?:\.(\d+))?(?!\d)")


@functools.total_ordering
@dataclass(frozen=True)
class Release:
    """A release such as 24.11.5, ordered by age.

    Attributes:
        year: of the first release, two digits: 24.
        month: of the first release: 5 or 11; Slurm 23.02 and older have 2 and 8, too.
        patch: which maintenance release of it; 0 for the first one and where nobody said.
    """

    year: int
    month: int
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> "Release":
        """Return the release that a text names: ``22.05``, ``24.11.5``, ``slurm-wlm 22.05.8``.

        Raises:
            UsageError: it names none.
        """
        found = _FORM.search(text)
        if found is None or not 1 <= int(found[2]) <= 12:
            raise UsageError(
                f"{text.strip()!r} is no release of Slurm",
                hint="Write it as YEAR.MONTH or YEAR.MONTH.PATCH, such as 24.11 or 24.11.5.",
            )
        return cls(int(found[1]), int(found[2]), int(found[3] or 0))

    @property
    def major(self) -> "Release":
        """The release without its patch: what decides which keywords exist."""
        return Release(self.year, self.month)

    def at_least(self, other: "Release | str") -> bool:
        """Return whether this is ``other`` or newer: ``release.at_least("23.11")``."""
        return self >= (Release.parse(other) if isinstance(other, str) else other)

    def __lt__(self, other: "Release") -> bool:
        return (self.year, self.month, self.patch) < (other.year, other.month, other.patch)

    def __str__(self) -> str:
        patch = f".{self.patch}" if self.patch else ""
        return f"{self.year:02d}.{self.month:02d}{patch}"


#: Releases that the shipped sites are generated and tested for.
SUPPORTED = tuple(Release.parse(text) for text in ("22.05", "23.11", "24.11", "25.11", "26.05"))
