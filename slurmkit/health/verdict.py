"""What a check of a node says: values that travel from the node to the supervisor."""

from slurmkit.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

PASSED: "Final" = "pass"
WARN: "Final" = "warn"
FAIL: "Final" = "fail"
SKIPPED: "Final" = "skipped"
#: From harmless to bad; what a node as a whole is, is its worst.
ORDER = (SKIPPED, PASSED, WARN, FAIL)

#: What should follow when a check fails: write it down; start nothing there; drain the node; drain
#: it and end the jobs that run there, so that they go on elsewhere.
NOTE: "Final" = "note"
REFUSE: "Final" = "refuse"
DRAIN: "Final" = "drain"
EVICT: "Final" = "evict"
#: From mild to strong.
ACTIONS = (NOTE, REFUSE, DRAIN, EVICT)


class Verdict(Record):
    """What one check found on one node.

    Attributes:
        check: the check's id, such as ``gpu-count``.
        verdict: pass, warn, fail or skipped.
        detail: what was seen, in a few words; for skipped, why it was not looked at.
        action: note, refuse, drain or evict; only of interest when the verdict is fail.
    """

    check: str
    verdict: str
    detail: str = ""
    action: str = NOTE

    @property
    def refuses(self) -> bool:
        """Whether no rank should be started on the node."""
        return self.verdict == FAIL and self.action in (REFUSE, DRAIN, EVICT)

    @property
    def drains(self) -> bool:
        """Whether the site should be asked to drain the node."""
        return self.verdict == FAIL and self.action in (DRAIN, EVICT)

    @property
    def evicts(self) -> bool:
        """Whether the jobs on the node should be ended, too."""
        return self.verdict == FAIL and self.action == EVICT

    def fields(self) -> "dict[str, Any]":
        """Return it as JSON values."""
        return {
            "check": self.check,
            "verdict": self.verdict,
            "detail": self.detail,
            "action": self.action,
        }


def from_fields(fields: "dict[str, Any]") -> Verdict:
    """Return the verdict that ``fields`` gave; what another release adds is left out."""
    known = {name: str(fields[name]) for name in Verdict._fields if name in fields}
    return Verdict(**known)


def worst(verdicts: "tuple[Verdict, ...] | list[Verdict]") -> str:
    """Return what they say together: the worst of them; pass when there are none."""
    found = max((ORDER.index(item.verdict) for item in verdicts), default=ORDER.index(PASSED))
    return ORDER[max(found, ORDER.index(PASSED))]
