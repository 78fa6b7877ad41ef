"""What slurmkit takes this cluster for, and where each part comes from."""

from typing import Any

from slurmkit.api.prepare import run_root_of
from slurmkit.errors import SlurmUnreachableError
from slurmkit.site.defaults import from_limits
from slurmkit.site.lookup import FoundSite, find_site
from slurmkit.slurm import connect


def describe_site(*, site: str | None = None, backend: str = "auto") -> dict[str, Any]:
    """Return the site as plain data: ``source``, ``slurm``, ``run_root`` and the site's own keys.

    With no site.yaml the live cluster is asked; with neither, it is all defaults.

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
            found = FoundSite(from_limits(limits))
    if found.path is not None:
        source = f"{found.path} ({found.origin})"
    else:
        source = "the live cluster" if slurm["reachable"] else "defaults; no site.yaml was found"
    return {
        "source": source,
        "run_root": str(run_root_of(found)),
        "slurm": slurm,
        "site": found.site.model_dump(mode="json", exclude_none=True),
    }
