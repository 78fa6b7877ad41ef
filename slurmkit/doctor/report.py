"""What doctor says in the end: each host's answers, and what differs between hosts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slurmkit.doctor.compare import Difference, compare, hosts_text
from slurmkit.doctor.link import Link
from slurmkit.doctor.node import HostReport
from slurmkit.errors import EXIT_FAILED, EXIT_OK
from slurmkit.health.verdict import FAIL, ORDER, PASSED, SKIPPED, WARN


@dataclass(frozen=True)
class HostAnswer:
    """What a link says of one host.

    Attributes:
        host: its name.
        verdict: pass, warn, fail or skipped.
        detail: what was seen; for skipped, why it was not looked at.
        facts: what is compared between hosts.
    """

    host: str
    verdict: str
    detail: str
    facts: dict[str, str]


@dataclass(frozen=True)
class Disagreement:
    """One fact that is not the same on all hosts.

    Attributes:
        fact: such as ``MTU of eth0``.
        verdict: fail or warn.
        values: the hosts of each value, as host lists.
        text: one sentence.
    """

    fact: str
    verdict: str
    values: dict[str, str]
    text: str


@dataclass(frozen=True)
class LinkReport:
    """What is known of one link of the chain.

    Attributes:
        link: its id.
        group: its part of the chain.
        verdict: the worst of its hosts and of what differs.
        hosts: each host's answer.
        differences: what hosts do not agree on.
        todo: what to do; empty when nothing is wrong.
    """

    link: str
    group: str
    verdict: str
    hosts: tuple[HostAnswer, ...]
    differences: tuple[Disagreement, ...]
    todo: tuple[str, ...]


@dataclass(frozen=True)
class Silent:
    """A host that did not answer.

    Attributes:
        host: its name.
        why: what happened in its place.
    """

    host: str
    why: str


@dataclass(frozen=True)
class DoctorReport:
    """The whole chain on all hosts.

    Attributes:
        verdict: the worst of all: pass, warn or fail.
        hosts: the hosts that answered, in order.
        silent: those that did not; each is a failure.
        links: the links in the order of the chain.
    """

    verdict: str
    hosts: tuple[str, ...]
    silent: tuple[Silent, ...]
    links: tuple[LinkReport, ...]

    @property
    def exit_code(self) -> int:
        """0 unless something fails."""
        return EXIT_FAILED if self.verdict == FAIL else EXIT_OK


def make_report(
    links: Sequence[Link], reports: Sequence[HostReport], silent: Mapping[str, str]
) -> DoctorReport:
    """Join what the hosts say, and compare them.

    Args:
        links: the links that were looked at.
        reports: what each host found, in order.
        silent: why each host that did not answer is silent.
    """
    found = tuple(_link_report(link, reports) for link in links)
    lost = tuple(Silent(host, why) for host, why in silent.items())
    verdicts = [link.verdict for link in found] + [FAIL] * bool(lost)
    verdict = _worst([PASSED, *verdicts])
    return DoctorReport(verdict, tuple(report.host for report in reports), lost, found)


def _link_report(link: Link, reports: Sequence[HostReport]) -> LinkReport:
    answers = {r.host: r.answers[link.id] for r in reports if link.id in r.answers}
    differences = compare(link, answers)
    verdicts = [answer.verdict for answer in answers.values()]
    bad = [answer for answer in answers.values() if answer.verdict in (WARN, FAIL)]
    todo = dict.fromkeys(answer.todo or link.todo for answer in bad)
    if differences:
        todo[link.todo] = None
    return LinkReport(
        link=link.id,
        group=link.group,
        verdict=_worst([*verdicts, *(difference.verdict for difference in differences)]),
        hosts=tuple(
            HostAnswer(host, answer.verdict, answer.detail, dict(answer.facts))
            for host, answer in answers.items()
        ),
        differences=tuple(_disagreement(difference) for difference in differences),
        todo=tuple(todo),
    )


def _disagreement(difference: Difference) -> Disagreement:
    values = {value: hosts_text(hosts) for value, hosts in difference.values}
    return Disagreement(difference.fact, difference.verdict, values, difference.text)


def _worst(verdicts: Sequence[str]) -> str:
    return max(verdicts, key=ORDER.index, default=SKIPPED)


def rows(report: DoctorReport) -> list[tuple[str, str, str, str]]:
    """Return (link, verdict, hosts, what was seen) for a table: what is wrong, host by host.

    Hosts that say the same share a row; what is right takes one row per link.
    """
    found = [("hosts", FAIL, silent.host, f"no answer: {silent.why}") for silent in report.silent]
    for link in report.links:
        found += _rows_of(link, len(report.hosts))
    return found


def _rows_of(link: LinkReport, num_hosts: int) -> list[tuple[str, str, str, str]]:
    found = [(link.link, item.verdict, "", item.text) for item in link.differences]
    said: dict[tuple[str, str], list[str]] = {}
    for answer in link.hosts:
        if answer.verdict != PASSED:
            said.setdefault((answer.verdict, answer.detail), []).append(answer.host)
    for (verdict, detail), hosts in said.items():
        where = "" if len(hosts) == num_hosts else hosts_text(tuple(hosts))
        found.append((link.link, verdict, where, detail))
    if not found:
        # Details of what is right (free memory, speeds) differ; the first host's stands for all.
        found.append((link.link, PASSED, "", link.hosts[0].detail if link.hosts else ""))
    return sorted(found, key=lambda row: -ORDER.index(row[1]))
