"""What is not the same on all hosts: pure, from the facts of each host's answers.

The majority is taken for right, and the others are named. That is no proof, but the reader sees
both sides.
"""

from collections.abc import Mapping

from slurmkit.doctor.link import Answer, Link
from slurmkit.health.verdict import WARN
from slurmkit.hostlist import compress
from slurmkit.record import Record

#: What stands for a fact that a host has not, such as the MTU of an interface of another name.
_MISSING = "not there"


class Difference(Record):
    """One fact that hosts do not agree on.

    Attributes:
        link: id of the link.
        verdict: what it means: fail or warn.
        fact: such as ``MTU of eth0``.
        values: (value, the hosts that have it), the most common first.
    """

    link: str
    verdict: str
    fact: str
    values: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def text(self) -> str:
        """One sentence: ``node3: MTU of eth0 1500, the other 7: 9000``."""
        (common, most), *rest = self.values
        if len(most) == len(rest[0][1]):
            sides = (f"{hosts_text(hosts)}: {value}" for value, hosts in self.values)
            return f"{self.fact} differs: {'; '.join(sides)}"
        odd = "; ".join(f"{hosts_text(hosts)}: {self.fact} {value}" for value, hosts in rest)
        return f"{odd}{';' if len(rest) > 1 else ','} the other {len(most)}: {common}"


def compare(link: Link, answers: Mapping[str, Answer]) -> list[Difference]:
    """Return what differs in one link.

    Args:
        link: the link.
        answers: what it says of each host, in order.
    """
    facts = {host: dict(answer.facts) for host, answer in answers.items()}
    names = dict.fromkeys(name for found in facts.values() for name in found)
    differences = []
    for name in names:
        # A host that could not look at all knows nothing of it; that is said elsewhere.
        told = {host: found.get(name, _MISSING) for host, found in facts.items() if found}
        by_value: dict[str, list[str]] = {}
        for host, value in told.items():
            by_value.setdefault(value, []).append(host)
        if len(by_value) < 2:
            continue
        values = sorted(by_value.items(), key=lambda item: -len(item[1]))
        sides = tuple((value, tuple(hosts)) for value, hosts in values)
        # Hosts that are built otherwise are no failure by that alone.
        only_missing = len(by_value) == 2 and _MISSING in by_value
        verdict = WARN if only_missing else link.differs
        differences.append(Difference(link.id, verdict, name, sides))
    return differences


def hosts_text(hosts: tuple[str, ...]) -> str:
    """Return hosts as a host list, such as ``node[1-3,7]``."""
    return compress(hosts) if len(hosts) > 1 else hosts[0]
