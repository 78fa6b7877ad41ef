"""Do the names of all hosts resolve, alike on every node, and to no loopback?"""

import socket

from slurmkit.doctor.link import Answer, Link, Place, fail, passed


def _addresses(host: str) -> str:
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return "nothing"
    return ",".join(sorted({str(entry[4][0]) for entry in found}))


def _look(place: Place) -> Answer:
    facts = {f"address of {host}": _addresses(host) for host in place.hosts}
    lost = [host for host in place.hosts if facts[f"address of {host}"] == "nothing"]
    if lost:
        return fail(f"does not resolve: {', '.join(lost[:8])}", facts)
    looped = [host for host in place.hosts if _is_loopback(facts[f"address of {host}"])]
    if looped and len(place.hosts) > 1:
        # Without facts: in these the nodes would differ once more.
        return fail(
            f"{', '.join(looped[:8])} resolves to {facts[f'address of {looped[0]}']}",
            todo="remove the name from the 127.0.1.1 line of /etc/hosts: other nodes are told that "
            "address, and meet themselves there",
        )
    if len(place.hosts) == 1:
        return passed(f"{place.host} is {facts[f'address of {place.host}']}", facts)
    return passed(f"{len(place.hosts)} names resolve", facts)


def _is_loopback(addresses: str) -> bool:
    return any(address.startswith("127.") for address in addresses.split(","))


LINK = Link(
    id="names",
    group="access",
    reads="the addresses of all hosts by their names, as getaddrinfo finds them",
    limits="fails when a name does not resolve, resolves to a loopback address, or not alike on "
    "all nodes",
    todo="give all nodes the same /etc/hosts or the same DNS: ranks meet by these names",
    look=_look,
    timeout_s=25.0,
)
