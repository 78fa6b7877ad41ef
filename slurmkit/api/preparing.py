"""From a job.yaml to a plan and a script: joins spec, site, plan and render."""

import os
import pwd
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slurmkit.errors import UsageError
from slurmkit.names import path_component
from slurmkit.plan.model import Plan
from slurmkit.plan.planner import Context, make_plan
from slurmkit.render.renderer import render
from slurmkit.resources import shipped_dir
from slurmkit.site.lookup import FoundSite, find_site
from slurmkit.spec.loader import Job, load

if TYPE_CHECKING:
    from slurmkit.limits import Limits

__all__ = ["Prepared", "expanded", "find_site", "load", "prepare", "run_root_of", "template_dirs"]


@dataclass(frozen=True)
class Prepared:
    """A job that is ready to be checked and submitted.

    Attributes:
        job: the job as loaded.
        found: the site and where it was found.
        limits: the cluster's snapshot; None when nobody was asked.
        plan: what will be done.
        script: the batch script.
        run_root: where runs keep their files.
        run_dir: this run's folder; None when the script makes its own.
    """

    job: Job
    found: FoundSite
    limits: "Limits | None"
    plan: Plan
    script: str
    run_root: Path
    run_dir: Path | None


def prepare(  # noqa: PLR0913 (all but the first by keyword)
    job: Job,
    *,
    site: str | FoundSite | None = None,
    limits: "Limits | None" = None,
    run_id: str | None = None,
    run_root: Path | None = None,
    dependencies: Sequence[tuple[str, str]] = (),
    portable: bool = False,
) -> Prepared:
    """Plan and render a job.

    Args:
        job: what ``load`` returned.
        site: site.yaml or its folder, or a site already found; None looks in the usual places.
        limits: the live cluster's snapshot, for defaults that depend on it.
        run_id: fixes the run directory in the script; None lets the script make its own.
        run_root: where runs keep their files; None for what ``run_root_of`` says.
        dependencies: (``ok`` | ``any`` | ``notok`` | ``start``, job id) pairs, already looked up.
        portable: render a script that needs no slurmkit on the cluster.

    Raises:
        InvalidInputError: site.yaml or a template is wrong.
    """
    found = site if isinstance(site, FoundSite) else find_site(site)
    run_root = run_root_of(found) if run_root is None else run_root
    run_dir = run_root / path_component(job.spec.name) / run_id if run_id else None
    context = Context(
        base_dir=str(job.path.parent),
        run_dir=str(run_dir) if run_dir else None,
        run_root=str(run_root),
        slurmkit=slurmkit_command(),
        dependencies=tuple(dependencies),
        portable=portable,
    )
    plan = make_plan(job.spec, found.site, limits, context)
    script = render(plan, template_dirs(job, found))
    return Prepared(job, found, limits, plan, script, run_root, run_dir)


def run_root_of(found: FoundSite) -> Path:
    """Return where runs keep their files: $SLURMKIT_RUN_ROOT, else the site's run_root."""
    return expanded(os.environ.get("SLURMKIT_RUN_ROOT") or found.site.run_root).absolute()


def expanded(path: str) -> Path:
    """Return a path with its variables and ``~`` replaced.

    USER is known even where nobody has set it, as in cron jobs and containers.

    Raises:
        UsageError: another variable is not set; a folder called ``$SCRATCH`` helps nobody.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name in os.environ:
            return os.environ[name]
        if name in ("USER", "LOGNAME"):
            return pwd.getpwuid(os.getuid()).pw_name
        raise UsageError(f"{path}: ${name} is not set", hint=f"set {name}, or write the path out")

    return Path(re.sub(r"\$(?:(\w+)|\{(\w+)\})", value, path)).expanduser()


def template_dirs(job: Job, found: FoundSite) -> list[Path]:
    """Return where templates are looked for, nearest first; the package's own come last."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    dirs = [job.path.parent / "templates"]
    if found.folder is not None:
        dirs.append(found.folder / "templates")
    dirs += [config / "slurmkit" / "templates", shipped_dir("templates")]
    return dirs


def slurmkit_command() -> str:
    """Return the absolute path of the slurmkit that runs now, for the script to start.

    Compute nodes see the same file system, but their PATH may lead to another slurmkit or none.
    """
    beside_python = Path(sys.executable).parent / "slurmkit"
    for path in (Path(sys.argv[0]), beside_python):
        if path.name == "slurmkit" and os.access(path, os.X_OK) and not path.is_dir():
            return str(path.absolute())
    return shutil.which("slurmkit") or "slurmkit"
