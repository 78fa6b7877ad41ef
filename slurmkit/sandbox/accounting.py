"""Accounts, users and QOS of a sandbox with an accounting database; the wait for it."""

import subprocess
import sys

from slurmkit.sandbox import console, readiness, shims
from slurmkit.sandbox.layout import DATABASE, LOGIN, Layout
from slurmkit.sandbox.record import SandboxError

# Enough for a job to be charged, refused, limited and preempted; sacctmgr(1) has the words.
_SETTINGS = (
    ("account", "research", "Description=research"),
    ("account", "teaching", "Description=teaching"),
    ("qos", "high", "Priority=100", "Preempt=normal"),
    ("qos", "short", "Priority=10", "MaxWall=00:30:00", "MaxTRESPerJob=node=2"),
    ("user", "root", "Account=research", "DefaultAccount=research", "QOS=normal,high,short"),
    ("user", "root", "Account=teaching"),
    ("user", "nobody", "Account=teaching", "DefaultAccount=teaching"),
)


def prepare(layout: Layout, timeout_s: float) -> None:
    """Wait for slurmdbd, then make the cluster and its accounts known to it.

    The controller must start after this: with AccountingStorageEnforce it ends where its cluster is
    not registered.

    Raises:
        SandboxError: the database does not come up, or refuses something.
    """
    readiness.wait_listening(layout, DATABASE, timeout_s)
    if layout.site:
        _do(layout, "add", "cluster", layout.name)
        return  # the rest is what the site says
    for words in (("cluster", layout.name), *_SETTINGS):
        _do(layout, "add", *words)
    if layout.preempt_grace_s is not None:
        _do(layout, "modify", "qos", "normal", "set", f"GraceTime={layout.preempt_grace_s}")


def apply_site(layout: Layout) -> None:
    """Bring the database to what the site says, as its administrator does, by the same command.

    After slurmctld has started: it tells the database that GPUs are something to count.

    Raises:
        SandboxError: the database refuses something.
    """
    folder = str(layout.site_dir)
    site_yaml = str(shims.site_yaml(layout))
    slurmkit = [sys.executable, "-m", "slurmkit"]
    _run(layout, [*slurmkit, "site", "tiers", site_yaml, "--apply", "--root", folder])


def _do(layout: Layout, *words: str) -> None:
    _run(layout, ["sacctmgr", "--immediate", *words])


def _run(layout: Layout, command: list[str]) -> None:
    try:
        done = console.run(layout, LOGIN, command, cwd="/", timeout=30)
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"{' '.join(command)} took more than 30 s") from error
    if done.returncode != 0:
        raise SandboxError(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout}")
