"""What runs on each host: look at every link, print the answers, end.

Started as ``python -m slurmkit.doctor.node REQUEST`` by srun or SSH. It prints short lines, because
srun passes on lines whole up to a kilobyte and mixes longer ones of different nodes.
"""

import base64
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slurmkit.doctor.link import Answer, Fabric, Place, unpack
from slurmkit.doctor.registry import links_of
from slurmkit.health.check import Node
from slurmkit.health.run import run_checks
from slurmkit.hostlist import expand
from slurmkit.record import Record

_MARK = "slurmkit-doctor"
_CHUNK = 600


class Request(Record):
    """What a host is asked to do; travels as JSON.

    Attributes:
        token: name of this examination.
        only: ids of links or groups; empty for all.
        hosts: all hosts; empty when each knows them from Slurm.
        name: what the host is called here; empty when it knows that itself.
        fabric: what the site says of its network.
        shared_dir: a folder on the shared file system; empty for none.
        ssh: the words before a host that run a command there; empty when SSH is not wanted.
        root: where ``sys``, ``proc`` and ``dev`` are.
        wait_s: how long hosts wait for each other.
        within_s: how long all links together may take.
    """

    token: str
    only: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    name: str = ""
    fabric: Fabric = Fabric()
    shared_dir: str = ""
    ssh: tuple[str, ...] = ()
    root: str = "/"
    wait_s: float = 15.0
    within_s: float = 60.0

    def to_json(self) -> str:
        """Return it as one word for a command line."""
        values = {name: getattr(self, name) for name in self._fields}
        fabric = {name: getattr(self.fabric, name) for name in Fabric._fields}
        return json.dumps({**values, "fabric": fabric}, separators=(",", ":"))


def from_json(text: str) -> Request:
    """Return the request that ``to_json`` gave."""
    values: dict[str, Any] = json.loads(text)
    lists = {name: tuple(values[name]) for name in ("only", "hosts", "ssh")}
    return Request(**{**values, **lists, "fabric": Fabric(**values["fabric"])})


class HostReport(Record):
    """What one host found.

    Attributes:
        time: its clock when it answered, Unix seconds.
        answers: by link.
    """

    host: str
    time: float
    answers: Mapping[str, Answer]


def examine(request: Request, environ: Mapping[str, str]) -> HostReport:
    """Look at every link of this host."""
    host = request.name or environ.get("SLURMD_NODENAME") or os.uname().nodename
    place = Place(
        host=host,
        hosts=request.hosts or _hosts_of_step(environ) or (host,),
        root=Path(request.root.replace("%h", host)),
        fabric=request.fabric,
        shared_dir=request.shared_dir,
        token=request.token,
        ssh=request.ssh,
        wait_s=request.wait_s,
    )
    links = links_of(request.only)
    checks = [link.check(place) for link in links]
    found = run_checks(checks, Node(root=place.root), within_s=request.within_s)
    answers = {
        link.id: unpack(verdict.verdict, verdict.detail)
        for link, verdict in zip(links, found, strict=True)
    }
    return HostReport(host, time.time(), answers)


def _hosts_of_step(environ: Mapping[str, str]) -> tuple[str, ...]:
    listed = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST") or ""
    return tuple(expand(listed)) if listed else ()


def to_lines(report: HostReport) -> list[str]:
    """Return a report as lines that survive being mixed with those of other hosts."""
    answers = {
        link: {"verdict": a.verdict, "detail": a.detail, "facts": list(a.facts), "todo": a.todo}
        for link, a in report.answers.items()
    }
    body = {"host": report.host, "time": report.time, "answers": answers}
    text = base64.b64encode(json.dumps(body).encode()).decode()
    parts = [text[at : at + _CHUNK] for at in range(0, len(text), _CHUNK)]
    return [f"{_MARK} {report.host} {at}/{len(parts)} {part}" for at, part in enumerate(parts, 1)]


def from_lines(lines: Iterable[str]) -> list[HostReport]:
    """Return the reports that are whole; other lines are left out."""
    parts: dict[str, dict[int, str]] = {}
    totals: dict[str, int] = {}
    for line in lines:
        words = line.split()
        if len(words) != 4 or words[0] != _MARK:
            continue
        at, _, total = words[2].partition("/")
        parts.setdefault(words[1], {})[int(at)] = words[3]
        totals[words[1]] = int(total)
    reports = []
    for host, found in parts.items():
        if len(found) == totals[host]:
            body = json.loads(base64.b64decode("".join(found[at] for at in sorted(found))))
            reports.append(_report(body))
    return reports


def is_last(line: str) -> str:
    """Return the host whose last line this is; empty for any other line."""
    words = line.split()
    if len(words) != 4 or words[0] != _MARK:
        return ""
    at, _, total = words[2].partition("/")
    return words[1] if at == total else ""


def _report(body: dict[str, Any]) -> HostReport:
    answers = {
        str(link): Answer(
            str(value["verdict"]),
            str(value["detail"]),
            tuple((str(name), str(fact)) for name, fact in value["facts"]),
            str(value["todo"]),
        )
        for link, value in body["answers"].items()
    }
    return HostReport(str(body["host"]), float(body["time"]), answers)


def main(arguments: Sequence[str]) -> int:
    """Examine this host as the request says."""
    report = examine(from_json(arguments[0]), os.environ)
    sys.stdout.write("".join(f"{line}\n" for line in to_lines(report)))
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
