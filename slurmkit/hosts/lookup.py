"""Reads hosts.yaml."""

from pathlib import Path

from slurmkit.errors import InvalidInputError, Problem
from slurmkit.hosts.model import Hosts
from slurmkit.yamlfile.nodes import SourceMap
from slurmkit.yamlfile.reader import read_bytes, read_document
from slurmkit.yamlfile.validate import build


def read_hosts(path: Path) -> Hosts:
    """Return the hosts that a file describes.

    Raises:
        InvalidInputError: the file cannot be read or is wrong, with every problem and its place.
    """
    try:
        data = read_bytes(str(path))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        hint = "Write one: hosts: node[01-04], slots: 8."
        message = f"{path} cannot be read: {reason}"
        raise InvalidInputError([Problem(message, hint=hint, code="no-file")]) from None
    root = read_document(data, str(path))
    hosts = build(Hosts, root)
    if problems := _repeated(hosts, SourceMap(root)):
        raise InvalidInputError(problems)
    return hosts


def _repeated(hosts: Hosts, source: SourceMap) -> list[Problem]:
    """Return a problem for each host that stands there twice: MPI would count it as two."""
    seen: set[str] = set()
    problems = []
    for index, host in enumerate(hosts.hosts):
        if host.name in seen:
            key = f"hosts.{index}.name"
            message = f"{host.name} stands there a second time"
            hint = "Name it once and give it more slots."
            problems.append(Problem(message, key, source.locate(key), hint, "repeated"))
        seen.add(host.name)
    return problems
