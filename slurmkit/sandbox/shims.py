"""Stand-ins for Slurm's programs, for a person's own shell: they run the real ones on ``login``."""

import shlex
import sys
from pathlib import Path

from slurmkit.sandbox import enter
from slurmkit.sandbox.layout import LOGIN, Layout

PROGRAMS = (
    "sacct",
    "sacctmgr",
    "salloc",
    "sattach",
    "sbatch",
    "sbcast",
    "scancel",
    "scontrol",
    "sdiag",
    "sinfo",
    "sprio",
    "squeue",
    "sreport",
    "srun",
    "sshare",
    "sstat",
    "strigger",
)
# A job runs where it was submitted: these must not run elsewhere in silence, the others may.
_LAUNCHERS = frozenset({"salloc", "sbatch", "srun"})


def write_shims(layout: Layout) -> Path:
    """Write one script per program of Slurm and return their folder, to stand first in PATH."""
    folder = layout.state_dir / enter.SHIM_FOLDER
    folder.mkdir(exist_ok=True)
    for program in PROGRAMS:
        path = folder / program
        path.write_text(_shim(layout, program))
        path.chmod(0o755)
    return folder


def _shim(layout: Layout, program: str) -> str:
    # The number of process 1 changes when the login host is healed, so it is looked up each time;
    # the check keeps us out of a stranger that has the number after a crash.
    script = shlex.quote(str(layout.host_script(LOGIN)))
    number = shlex.quote(str(layout.host_dir(LOGIN) / "pid"))
    fallback = shlex.quote("" if program in _LAUNCHERS else str(layout.shared_dir))
    entry = shlex.join([sys.executable, "-I", "-S", enter.__file__])
    return f"""\
#!/bin/sh
# Runs {program} on the login host of sandbox {layout.name}.
pid=$(cat {number} 2>/dev/null)
if ! grep -qsF {script} "/proc/$pid/cmdline"; then
  echo "{program}: the login host of sandbox {layout.name} does not run" >&2
  exit 1
fi
SLURM_CONF={shlex.quote(str(layout.slurm_conf_path))}
export SLURM_CONF
exec {entry} "$pid" "$PWD" {fallback} {program} "$@"
"""


def site_yaml(layout: Layout) -> Path:
    """Return the site.yaml of a sandbox that has a site, as this machine sees it."""
    return layout.site_dir / "etc/slurmkit/site.yaml"


def shell_lines(layout: Layout) -> str:
    """Return what a POSIX shell evaluates so that Slurm's programs mean this sandbox.

    SLURM_CONF is not among it: outside the sandbox's network, nobody could follow what it says.
    """
    folder = layout.state_dir / enter.SHIM_FOLDER
    return (
        f'export PATH={shlex.quote(str(folder))}:"$PATH"\n'
        f"export SLURMKIT_SANDBOX={shlex.quote(layout.name)}\n"
        + (f"export SLURMKIT_SITE={shlex.quote(str(site_yaml(layout)))}\n" if layout.site else "")
    )
