"""What runs on each host: look at every link, print the answers, end.

Started as ``python -m slurmkit.doctor.node REQUEST`` by srun or SSH. It prints short lines, because
srun passes on lines whole up to a kilobyte and mixes longer ones of different nodes.
"""

import base64
import json
import os
import socket
import sys
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slurmkit.doctor.link import Answer, Place, pack, unpack
from slurmkit.doctor.registry import links_of
from slurmkit.health.run import run_checks
from slurmkit.hostlist import expand
from slurmkit.record import Record
from slurmkit.site.fabric_presets import Expectation

_MARK = "slurmkit-doctor"
_CHUNK = 600
# The last line, written when all else is done, so that its arrival tells how far clocks are apart.
_TIME = "time"


class Request(Record):
    """What a host is asked to do; travels as JSON.

    Attributes:
        token: name of this examination.
        only: ids of links or groups; empty for all.
        hosts: all hosts; empty when each knows them from Slurm.
        addresses: what SSH connects to for each of them; empty for their names.
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
    addresses: tuple[str, ...] = ()
    name: str = ""
    fabric: Expectation = Expectation()
    shared_dir: str = ""
    ssh: tuple[str, ...] = ()
    root: str = "/"
    wait_s: float = 15.0
    within_s: float = 60.0

    def to_json(self) -> str:
        """Return it as one word for a command line."""
        values = {name: getattr(self, name) for name in self._fields}
        return json.dumps({**values, "fabric": self.fabric._asdict()}, separators=(",", ":"))


def from_json(text: str) -> Request:
    """Return the request that ``to_json`` gave."""
    values: dict[str, Any] = json.loads(text)
    lists = {name: tuple(values[name]) for name in ("only", "hosts", "addresses", "ssh")}
    return Request(**{**values, **lists, "fabric": Expectation(**values["fabric"])})


class HostReport(Record):
    """What one host found.

    Attributes:
        time: its clock when it answered, Unix seconds.
        hosts: all hosts that it knows of.
        answers: by link.
    """

    host: str
    time: float
    hosts: tuple[str, ...]
    answers: Mapping[str, Answer]


def examine(request: Request, environ: Mapping[str, str]) -> HostReport:
    """Look at every link of this host."""
    host = request.name or environ.get("SLURMD_NODENAME") or _own_name(request)
    place = Place(
        host=host,
        hosts=request.hosts or _hosts_of_step(environ) or (host,),
        root=Path(request.root.replace("%h", host)),
        fabric=request.fabric,
        shared_dir=request.shared_dir,
        token=request.token,
        ssh=request.ssh,
        addresses=request.addresses,
        wait_s=request.wait_s,
    )
    links = links_of(request.only)
    checks = [link.check(place, request.within_s) for link in links]
    found = run_checks(checks, place.node, within_s=request.within_s)
    answers = {
        link.id: unpack(verdict.verdict, verdict.detail)
        for link, verdict in zip(links, found, strict=True)
    }
    return HostReport(host, time.time(), place.hosts, answers)


def _own_name(request: Request) -> str:
    """Return which of the hosts this one is: by its name, else by an address that is its own."""
    own = os.uname().nodename
    for name in (own, own.partition(".")[0]):
        if name in request.hosts:
            return name
    for name, address in zip(request.hosts, request.addresses, strict=False):
        if _is_own(address):
            return name
    return own


def _is_own(address: str) -> bool:
    """Whether an address is one of this host's: then a socket can be bound to it."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _hosts_of_step(environ: Mapping[str, str]) -> tuple[str, ...]:
    listed = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST") or ""
    return tuple(expand(listed)) if listed else ()


def to_lines(report: HostReport) -> list[str]:
    """Return a report as lines that survive being mixed with those of other hosts."""
    answers = {link: pack(answer) for link, answer in report.answers.items()}
    body = {"host": report.host, "hosts": list(report.hosts), "answers": answers}
    text = base64.b64encode(zlib.compress(json.dumps(body).encode())).decode()
    parts = [text[at : at + _CHUNK] for at in range(0, len(text), _CHUNK)]
    lines = [f"{_MARK} {report.host} {at}/{len(parts)} {part}" for at, part in enumerate(parts, 1)]
    return [*lines, _last_line(report.host, report.time)]


def _last_line(host: str, seconds: float) -> str:
    return f"{_MARK} {host} {_TIME} {seconds:.6f}"


def from_lines(lines: Iterable[str]) -> list[HostReport]:
    """Return the reports that are whole; other lines are left out."""
    parts: dict[str, dict[int, str]] = {}
    totals: dict[str, int] = {}
    times: dict[str, float] = {}
    for line in lines:
        words = line.split()
        if len(words) != 4 or words[0] != _MARK:
            continue
        if words[2] == _TIME:
            times[words[1]] = float(words[3])
            continue
        at, _, total = words[2].partition("/")
        if not (at.isdigit() and total.isdigit()):
            continue
        parts.setdefault(words[1], {})[int(at)] = words[3]
        totals[words[1]] = int(total)
    reports = []
    for host, found in parts.items():
        if len(found) == totals[host] and host in times:
            data = base64.b64decode("".join(found[at] for at in sorted(found)))
            body = json.loads(zlib.decompress(data))
            reports.append(_report(body, times[host]))
    return reports


def last_of(line: str) -> str:
    """Return the host whose last line this is; empty for any other line."""
    words = line.split()
    return words[1] if len(words) == 4 and words[0] == _MARK and words[2] == _TIME else ""


def _report(body: dict[str, Any], seconds: float) -> HostReport:
    answers = {str(link): unpack(*packed) for link, packed in body["answers"].items()}
    hosts = tuple(str(host) for host in body["hosts"])
    return HostReport(str(body["host"]), seconds, hosts, answers)


def main(arguments: Sequence[str]) -> int:
    """Examine this host as the request says."""
    report = examine(from_json(arguments[0]), os.environ)
    *lines, _ = to_lines(report)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
    sys.stdout.write(f"{_last_line(report.host, time.time())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
