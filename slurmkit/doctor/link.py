"""What a link of the chain is: one function, what it reads, its limits, and what to do.

A link says two things of a node: whether it is right by itself, and facts that have to be the same
on all nodes. The second finds what the first cannot: nobody knows which driver is right, but nine
nodes with one and a tenth with another are wrong.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from slurmkit.health.check import Check, Node
from slurmkit.health.verdict import FAIL, NOTE, PASSED, SKIPPED, WARN
from slurmkit.record import Record
from slurmkit.site.fabric_presets import Expectation

Facts = Mapping[str, str]


class Answer(Record):
    """What a link says of one node.

    Attributes:
        verdict: pass, warn, fail or skipped.
        detail: what was seen, in a few words; for skipped, why it was not looked at.
        facts: (name, value) pairs to compare between nodes, such as ``("MTU of eth0", "9000")``.
        todo: what to do, where that is not what the link always says.
    """

    verdict: str
    detail: str
    facts: tuple[tuple[str, str], ...] = ()
    todo: str = ""


def passed(detail: str, facts: Facts | None = None) -> Answer:
    """All is well."""
    return Answer(PASSED, detail, _pairs(facts))


def warn(detail: str, facts: Facts | None = None, *, todo: str = "") -> Answer:
    """Ranks can run, but not as well as they should."""
    return Answer(WARN, detail, _pairs(facts), todo)


def fail(detail: str, facts: Facts | None = None, *, todo: str = "") -> Answer:
    """A job will fail, hang or crawl because of this."""
    return Answer(FAIL, detail, _pairs(facts), todo)


def skipped(why: str, facts: Facts | None = None) -> Answer:
    """It was not looked at, or there is nothing to look at."""
    return Answer(SKIPPED, why, _pairs(facts))


def _pairs(facts: Facts | None) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((facts or {}).items()))


class Place(Record):
    """The node to look at, and what is known about it.

    Attributes:
        host: its name, as the others know it.
        hosts: all hosts that are looked at, in order; this one alone when there are no others.
        root: where ``proc``, ``sys`` and ``dev`` are; tests give a prepared tree.
        fabric: what the site says of its network.
        shared_dir: a folder on the shared file system; empty for none.
        token: name of this examination, for files in the shared folder.
        ssh: the words before a host that run a command there, and () when SSH is not wanted.
        addresses: what SSH connects to for each of the hosts; () for their names.
        wait_s: how long to wait for the other hosts.
    """

    host: str
    hosts: tuple[str, ...]
    root: Path = Path("/")
    fabric: Expectation = Expectation()
    shared_dir: str = ""
    token: str = ""
    ssh: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    wait_s: float = 15.0

    def address(self, host: str) -> str:
        """Return what SSH connects to for a host."""
        return dict(zip(self.hosts, self.addresses, strict=False)).get(host, host)

    @property
    def others(self) -> tuple[str, ...]:
        """The other hosts, beginning with the next one."""
        if self.host not in self.hosts:
            return self.hosts
        at = self.hosts.index(self.host)
        return self.hosts[at + 1 :] + self.hosts[:at]

    @property
    def node(self) -> Node:
        """The same node as the checks of health see it."""
        return Node(root=self.root)

    def read(self, path: str) -> str:
        """Return a file of the node, stripped; empty when it cannot be read."""
        return self.node.read(path)

    def names(self, path: str) -> list[str]:
        """Return the names in a folder of the node, sorted."""
        return self.node.names(path)


class Link(Record):
    """One link of the chain.

    Attributes:
        id: its stable name, as ``--only`` takes it.
        group: the part of the chain that it belongs to.
        reads: what it looks at.
        limits: when it warns and when it fails, in words.
        todo: what to do when it does.
        look: looks at a node.
        differs: what a fact that is not the same on all nodes means: fail or warn.
        timeout_s: how long it may take, seconds; longer is a failure.
        on_request: whether it is looked at only when its id is named.
        rdma: whether it is about RDMA alone, and nothing to a site whose fabric has none.
    """

    id: str
    group: str
    reads: str
    limits: str
    todo: str
    look: Callable[[Place], Answer]
    differs: str = FAIL
    timeout_s: float = 10.0
    on_request: bool = False
    rdma: bool = False

    def answer(self, place: Place) -> Answer:
        """Look, if the site has a use for it."""
        if self.rdma and not place.fabric.rdma:
            return skipped(f"the site's fabric ({place.fabric.preset}) has no RDMA")
        return self.look(place)

    def check(self, place: Place, within_s: float) -> Check:
        """Return the link as a check that runs in a process of its own: it cannot hang doctor.

        Args:
            place: the node.
            within_s: how long all links together may take.
        """
        return Check(
            id=self.id,
            reads=self.reads,
            limits=self.limits,
            action=NOTE,
            function=lambda _node: pack(self.answer(place)),
            blocking=True,
            timeout_s=min(self.timeout_s, within_s),
        )


def pack(answer: Answer) -> tuple[str, str]:
    """Return an answer as a health check gives it: verdict and one text."""
    rest = {"detail": answer.detail, "facts": list(answer.facts), "todo": answer.todo}
    return answer.verdict, json.dumps(rest)


def unpack(verdict: str, text: str) -> Answer:
    """Return the answer that :func:`pack` gave; other texts are a detail without facts."""
    try:
        rest = json.loads(text)
        facts = tuple((str(name), str(value)) for name, value in rest["facts"])
        return Answer(verdict, str(rest["detail"]), facts, str(rest["todo"]))
    except (ValueError, TypeError, KeyError):
        return Answer(verdict, text)
