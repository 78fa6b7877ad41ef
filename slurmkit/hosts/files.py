"""Texts of the files that an mpirun without Slurm needs, and lines for /etc/hosts."""

import shlex
from collections.abc import Mapping, Sequence

from slurmkit.errors import SlurmkitError
from slurmkit.hosts.model import Host, Hosts
from slurmkit.hosts.mpi import Family


def hostfile(hosts: Hosts, selected: Sequence[Host], family: Family) -> str:
    """Return the hostfile: ``node01 slots=8`` for Open MPI, ``node01:8`` for Hydra (MPICH, Intel).

    Args:
        hosts: the file that they are from, for their slots.
        selected: the hosts, in the order in which ranks fill them.
        family: whose mpirun reads it.
    """
    separator = " slots=" if family == "openmpi" else ":"
    return "".join(f"{host.name}{separator}{hosts.slots_of(host)}\n" for host in selected)


def etc_hosts(selected: Sequence[Host], addresses: Mapping[str, str]) -> str:
    """Return the lines that make the names known to every host's /etc/hosts.

    Args:
        selected: the hosts.
        addresses: numeric addresses by name, for hosts whose entry has none.

    Raises:
        SlurmkitError: the address of a host is not known.
    """
    unknown = [host.name for host in selected if host.name not in addresses]
    if unknown:
        raise SlurmkitError(
            f"no address is known of {', '.join(unknown)}",
            hint="give each an address: in hosts.yaml",
        )
    width = max(len(address) for address in addresses.values())
    return "".join(f"{addresses[host.name]:{width}} {host.name}\n" for host in selected)


def ssh_wrapper(config_path: str) -> str:
    """Return a program that is ssh with a configuration file: mpirun takes a program's name."""
    return (
        "#!/bin/sh\n"
        "# ssh as hosts.yaml says; mpirun starts its daemons by this.\n"
        f'exec ssh -F {shlex.quote(config_path)} "$@"\n'
    )
