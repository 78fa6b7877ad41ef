"""Where a run's time went, and what happened to it; Slurm is asked nothing."""

from slurmkit.api.preparing import run_root_of
from slurmkit.observe.report import RunReport, report_run
from slurmkit.observe.story import Story, explain_run
from slurmkit.rundir import lookup
from slurmkit.rundir.layout import RunDir
from slurmkit.site.lookup import find_site


def report(run: str, *, site: str | None = None) -> RunReport:
    """Return where the time of a run went: productive, checkpoint, lost, restart and queued.

    Args:
        run: its name (the newest), run id, job id or folder.
        site: site.yaml or its folder; None looks in the usual places.

    Raises:
        RunNotFoundError: there is none; the hint names what is close.
        LedgerError: its ledger is damaged.
    """
    return report_run(_find(run, site))


def explain(run: str, *, site: str | None = None) -> Story:
    """Return what happened to a run and why it was decided so, in plain words.

    Arguments and errors are those of ``report``.
    """
    return explain_run(_find(run, site))


def _find(text: str, site: str | None) -> RunDir:
    return lookup.find_run(run_root_of(find_site(site)), text)
