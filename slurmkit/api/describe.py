"""What slurmkit takes this cluster for, and where each part comes from."""

from typing import Any

from slurmkit.api.preparing import run_root_of
from slurmkit.errors import SlurmUnreachableError
from slurmkit.site.defaults import found_on
from slurmkit.site.describe import describe
from slurmkit.site.fabric import settings
from slurmkit.site.lookup import find_site
from slurmkit.slurm import connect


def describe_site(*, site: str | None = None, backend: str = "auto") -> dict[str, Any]:
    """Return the site as plain data; with no site.yaml the live cluster is asked.

    Returns:
        ``path`` and ``origin`` of site.yaml; ``keys``, each with its ``value`` and where that is
        ``from``; ``run_root``, resolved; what ``slurm`` says of itself; and the variables that the
        ``fabric`` gives to jobs on several nodes, each with its reason and source.

    Raises:
        InvalidInputError: site.yaml is wrong.
    """
    found = find_site(site)
    slurm: dict[str, Any] = {"reachable": False}
    try:
        client = connect(backend)
        limits = client.limits()
    except SlurmUnreachableError as error:
        if backend != "auto":
            raise
        slurm["problem"] = error.message
    else:
        slurm = {
            "reachable": True,
            "backend": client.name,
            "cluster": limits.cluster,
            "release": ".".join(f"{part:02d}" for part in limits.version),
            "accounting": limits.accounting,
        }
        if found.path is None:
            found = found_on(limits)
    fabric = settings(found.site.fabric) if found.site.fabric else []
    return {
        **describe(found),
        "run_root": str(run_root_of(found)),
        "slurm": slurm,
        "fabric": [setting._asdict() for setting in fabric],
    }
