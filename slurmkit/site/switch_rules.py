"""What switches, blocks and elastic nodes of a site must not say."""

from collections.abc import Iterator

from slurmkit.hostlist import compress, expand
from slurmkit.site.models import Site
from slurmkit.site.switches import check_switches
from slurmkit.topology.fabric.errors import FabricError

_Found = tuple[str, str, str, str]  # message, key, hint, code


def broken_switches(site: Site) -> Iterator[_Found]:
    """Yield message, key, hint and code of each problem."""
    declared = {
        host for kind in site.node_types.values() if kind.nodes for host in expand(kind.nodes)
    }
    if site.elastic is not None and declared:
        strange = [host for host in expand(site.elastic.nodes) if host not in declared]
        if strange:
            message = f"{compress(strange)} is among no node_types.NAME.nodes"
            yield message, "elastic.nodes", "Name nodes that the site has.", "unknown-name"
    if site.switches is not None:
        yield from _blocks(site)
        yield from _strangers(site, declared)


def _blocks(site: Site) -> Iterator[_Found]:
    assert site.switches is not None
    try:
        check_switches(site.switches)
    except FabricError as error:
        key = "switches.block_sizes" if "block size" in error.message else "switches.blocks"
        yield error.message, key, error.hint, "impossible"


def _strangers(site: Site, declared: set[str]) -> Iterator[_Found]:
    """Yield hosts under switches that are no nodes of the site: Slurm knows no others."""
    assert site.switches is not None
    if not declared:
        return
    lists = {
        f"switches.leaves.{name}.nodes": one.nodes for name, one in site.switches.leaves.items()
    }
    lists |= {f"switches.blocks.{name}": hosts for name, hosts in site.switches.blocks.items()}
    for key, hosts in lists.items():
        strange = [host for host in expand(hosts) if host not in declared]
        if strange:
            message = f"{compress(strange)} is among no node_types.NAME.nodes"
            yield message, key, "Name nodes that the site has.", "unknown-name"
