"""hosts.yaml as pydantic models: the machines of a cluster that has no Slurm."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from slurmkit.hostlist import HostlistError, expand
from slurmkit.yamlfile.shapes import Form
from slurmkit.yamlfile.types import Line, Positive, Section, Word

# RFC 1123, and the underscore that many sites have in their names.
HOST_PATTERN = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
_HOST = re.compile(HOST_PATTERN)
_ADDRESS = re.compile(rf"{HOST_PATTERN}|[0-9A-Fa-f:.]+")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*\$?")
_KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9]*")
# ssh_config(5): these would change what a command is, or wait for a person.
_OURS = frozenset({"host", "match", "include", "batchmode", "remotecommand", "requesttty"})
_OURS_TOO = frozenset({"stricthostkeychecking", "connecttimeout", "user", "port", "hostname"})


def _name(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError(f"{value!r} is not a host name; use letters, digits, '.', '-' and '_'")
    return value


def _address(value: str) -> str:
    if not _ADDRESS.fullmatch(value):
        raise ValueError(f"{value!r} is neither an IP address nor a host name")
    return value


def _user(value: str) -> str:
    if not _USER.fullmatch(value):
        raise ValueError(f"{value!r} is not a user name")
    return value


def _keyword(value: str) -> str:
    if not _KEYWORD.fullmatch(value):
        raise ValueError(f"{value!r} is not a keyword of ssh_config(5), such as IdentityFile")
    if value.lower() in _OURS:
        raise ValueError(f"slurmkit sets {value} itself")
    if value.lower() in _OURS_TOO:
        raise ValueError(f"{value} has a key of its own in hosts.yaml")
    return value


def _shared_dir(value: str) -> str:
    if not value.startswith(("/", "~", "$")):
        raise ValueError(f"{value!r} must be an absolute path, the same on every host")
    return value


def host_entries(value: Any) -> Any:
    """Accept names, and host lists such as ``node[01-16]``, for entries of their own."""
    if not isinstance(value, list):
        value = [value]
    entries: list[Any] = []
    for item in value:
        if not isinstance(item, str):
            entries.append(item)
            continue
        try:
            entries += [{"name": name} for name in expand(item)]
        except HostlistError as error:
            raise ValueError(f"{item!r} is not a host list: {error.message}") from None
    return entries


HostName = Annotated[str, AfterValidator(_name), Form("a host name", HOST_PATTERN)]
Address = Annotated[str, AfterValidator(_address), Form("an IP address or a host name")]
Keyword = Annotated[str, AfterValidator(_keyword), Form("a keyword of ssh_config(5)")]


class Host(Section):
    """One host."""

    name: HostName = Field(description="Its name, as it stands in the hostfile.")
    address: Address | None = Field(
        None, description="What SSH connects to. Default: the name, which must resolve."
    )
    slots: Positive | None = Field(None, description="Ranks it takes. Default: slots of the file.")


class Hosts(Section):
    """Hosts without Slurm, and how they are reached."""

    hosts: Annotated[
        list[Annotated[Host, Form(short={"type": "string"})]],
        BeforeValidator(host_entries),
        Field(min_length=1),
        Form(single=True),
    ] = Field(description="The hosts in the order in which they are filled; node[01-16] is a list.")
    slots: Positive = Field(1, description="Ranks of each host that does not say.")
    user: Annotated[Word, AfterValidator(_user)] | None = Field(
        None, description="User name on the hosts. Default: yours, or what your SSH files say."
    )
    port: int | None = Field(
        None, ge=1, le=65535, description="Port of sshd. Default: 22, or what your SSH files say."
    )
    host_keys: Literal["known", "accept-new", "off"] = Field(
        "known",
        description="known: hosts must be in a known_hosts file; accept-new: new ones are added"
        " to it, changed ones refused; off: nothing is verified (a laboratory).",
    )
    connect_timeout_s: Positive = Field(
        10, description="Seconds for a connection before a host counts as unreachable."
    )
    ssh_options: dict[Keyword, Line] = Field(
        default={}, description="Further keywords of ssh_config(5), such as IdentityFile."
    )
    network: Line | None = Field(
        None,
        description="Network of the MPI's own connections, such as 10.0.0.0/24, on hosts that"
        " have several. Default: what the MPI finds.",
    )
    shared_dir: Annotated[Line, AfterValidator(_shared_dir)] | None = Field(
        None,
        description="Folder that all hosts share; runs are kept in its slurmkit-runs. Default: the"
        " site's run_root, which must then be shared.",
    )

    def slots_of(self, host: Host) -> int:
        """Return how many ranks a host takes."""
        return host.slots if host.slots is not None else self.slots
