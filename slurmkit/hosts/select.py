"""Which hosts take a job's ranks: a pure choice, and its refusals."""

from collections.abc import Collection

from slurmkit.errors import UsageError
from slurmkit.hostlist import compress
from slurmkit.hosts.model import Host, Hosts


def select(
    hosts: Hosts,
    num_nodes: int,
    ranks_per_node: int,
    *,
    wanted: Collection[str] = (),
    excluded: Collection[str] = (),
) -> list[Host]:
    """Return the hosts that the job runs on, in the order of the file.

    Args:
        hosts: those that there are.
        num_nodes: how many the job needs.
        ranks_per_node: how many ranks each of them takes.
        wanted: hosts that have to be among them (``resources.nodelist``).
        excluded: hosts that must not be (``resources.exclude``).

    Raises:
        UsageError: there are too few, or they have too few slots; names which.
    """
    names = [host.name for host in hosts.hosts]
    if unknown := [name for name in wanted if name not in names]:
        raise UsageError(
            f"the job wants {compress(unknown)}, which hosts.yaml does not have",
            hint=f"it has {compress(names)}",
        )
    able = [host for host in hosts.hosts if host.name not in excluded]
    small = [host for host in able if hosts.slots_of(host) < ranks_per_node]
    able = [host for host in able if host not in small]
    able.sort(key=lambda host: host.name not in wanted)  # stable: the order of the file otherwise
    if len(able) < num_nodes or any(host.name in wanted for host in small):
        raise UsageError(
            _too_few(hosts, num_nodes, ranks_per_node, len(able), small),
            hint="lower resources.nodes or tasks_per_node, or raise slots in hosts.yaml",
        )
    chosen = able[:num_nodes]
    return [host for host in hosts.hosts if host in chosen]


def _too_few(
    hosts: Hosts, num_nodes: int, ranks_per_node: int, num_able: int, small: list[Host]
) -> str:
    slots_each = f"{ranks_per_node} slot{'s' if ranks_per_node != 1 else ''} each"
    wish = f"the job needs {_hosts(num_nodes)} with {slots_each}"
    if small:
        slots = ", ".join(f"{host.name} slots={hosts.slots_of(host)}" for host in small[:8])
        more = f" and {len(small) - 8} more" if len(small) > 8 else ""
        have = f"too few slots on {slots}{more}"
    else:
        have = f"hosts.yaml leaves {_hosts(num_able)}"
    return f"{wish}; {have}"


def _hosts(count: int) -> str:
    return f"{count} host" if count == 1 else f"{count} hosts"
