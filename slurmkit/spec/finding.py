"""What a rule finds, before its place in the file is looked up."""

from typing import NamedTuple

from slurmkit.errors import Problem
from slurmkit.yamlfile.nodes import SourceMap


class Finding(NamedTuple):
    """A problem by its key; fields as in ``Problem``."""

    message: str
    key: str
    hint: str = ""
    warning: bool = False
    code: str = "impossible"

    def problem(self, source: SourceMap) -> Problem:
        """Return the problem with its place."""
        where = source.locate(self.key)
        code = "unlikely" if self.warning and self.code == "impossible" else self.code
        return Problem(self.message, self.key, where, self.hint, code, self.warning)
