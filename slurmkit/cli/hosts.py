"""`slurmkit run --hosts`: MPI on machines without Slurm."""

from collections.abc import Sequence
from pathlib import Path


def run_hosts(
    job: Path | None,
    hosts: Path,
    *,
    overrides: Sequence[str],
    site: str | None,
    task: int | None,
    as_json: bool,
) -> int:
    """Run a job on the hosts and say how it went; return the exit code."""
    import sys

    from slurmkit import api
    from slurmkit.api.hosts import run_on_hosts
    from slurmkit.cli import output
    from slurmkit.errors import UsageError

    if job is None:
        raise UsageError("run --hosts needs a JOB.yaml", hint="or --etc-hosts, or --clean")
    stream = sys.stderr.buffer if as_json else sys.stdout.buffer

    def show(data: bytes) -> None:
        stream.write(data)
        stream.flush()

    result = run_on_hosts(
        api.load(job, overrides),
        hosts,
        site=site,
        task=task,
        on_output=show,
        on_problem=output.print_problem,
    )
    if as_json:
        output.print_json(result)
    else:
        why = f": {result.failure}" if result.failure else ""
        output.note(f"-- {result.name}: {result.state}{why}\n   files: {result.run_dir}")
    return 1 if result.exit_code else 0


def print_etc_hosts(hosts: Path) -> None:
    """Print the lines for /etc/hosts."""
    import sys

    from slurmkit.api.hosts import etc_hosts

    sys.stdout.write(etc_hosts(hosts))


def clean(hosts: Path, *, site: str | None, as_json: bool) -> int:
    """Tidy up after runs whose starters were killed; return 1 when something is left."""
    from slurmkit.api.hosts import clean_hosts
    from slurmkit.cli import output

    runs = clean_hosts(hosts, site=site)
    if as_json:
        output.print_json(runs)
    elif not runs:
        output.note("nothing to clean: no run on hosts was left by a starter that died")
    for run in [] if as_json else runs:
        for item in run.hosts:
            done = [f"{len(item.ended)} processes ended", f"{len(item.removed)} files removed"]
            left = [f"left: {'; '.join(item.left)}"] if item.left else []
            output.note(f"{run.run_id}: {item.host}: {', '.join([*done, *left])}")
    return 1 if any(item.left for run in runs for item in run.hosts) else 0
