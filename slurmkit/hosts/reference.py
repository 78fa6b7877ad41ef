"""The reference page of hosts.yaml and its JSON Schema, written from the model."""

from typing import Any

from slurmkit.hosts.model import Hosts
from slurmkit.yamlfile.reference import markdown as page_of
from slurmkit.yamlfile.schema import schema_of

#: An example of every key.
EXAMPLES: dict[str, object] = {
    "hosts": [{"name": "node01", "address": "10.0.0.1", "slots": 8}, "node[02-04]"],
    "hosts.name": "node01",
    "hosts.address": "10.0.0.1",
    "hosts.slots": 8,
    "slots": 8,
    "user": "user1",
    "port": 2222,
    "host_keys": "accept-new",
    "connect_timeout_s": 5,
    "ssh_options": {"IdentityFile": "~/.ssh/id_mpi"},
    "network": "10.0.0.0/24",
    "shared_dir": "/shared",
}
_INTRODUCTION = """\
# hosts.yaml

The machines of a cluster without Slurm, for `slurmkit run --hosts hosts.yaml JOB.yaml`; how to use
it is told in [Run on hosts without Slurm](../how-to/hosts-without-slurm.md). Two lines are enough
where names resolve and SSH asks for nothing:

```yaml
hosts: node[01-04]
slots: 8
```

`slurmkit schema hosts` prints the JSON Schema, by which editors complete keys.

"""
_MORE = """
## What SSH is told

The person who starts a run is not asked anything: `BatchMode yes`. `ConnectTimeout` is
`connect_timeout_s`. A host that dies under a connection is noticed within 15 seconds
(`ServerAliveInterval 5`, `ServerAliveCountMax 3`). What `~/.ssh/config` and `/etc/ssh/ssh_config`
say holds where hosts.yaml says nothing. The run directory keeps the result as `hosts/ssh_config`.

`host_keys` decides about hosts that nobody has seen before (`StrictHostKeyChecking`):

| value | a new host | a changed key |
|---|---|---|
| `known` | refused: it must be in a known_hosts file | refused |
| `accept-new` | accepted and remembered | refused |
| `off` | accepted, not remembered | accepted: for machines that are made anew each day |

`network` is for Open MPI. MPICH's and Intel's mpirun take the name of an interface instead; set
`HYDRA_IFACE` or `I_MPI_HYDRA_IFACE` under `env:` of the job.
"""


def hosts_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of hosts.yaml."""
    return schema_of(Hosts, "slurmkit hosts.yaml", EXAMPLES)


def markdown() -> str:
    """Return the page."""
    return _INTRODUCTION + page_of(Hosts, EXAMPLES) + _MORE
