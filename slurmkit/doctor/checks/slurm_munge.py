"""Do Slurm and munge have the same releases everywhere?"""

import re

from slurmkit.doctor.link import Answer, Link, Place, passed, skipped, warn
from slurmkit.doctor.programs import run

# "slurm-wlm 22.05.8", "slurm 24.11.0-0rc1", "munge-0.5.15 (2022-06-22)"
_RELEASE = re.compile(r"\d+\.\d+\S*")


def _look(_place: Place) -> Answer:
    facts = {}
    for name, argv in (
        ("slurmd", ["slurmd", "-V"]),
        ("srun", ["srun", "--version"]),
        ("munge", ["munge", "--version"]),
    ):
        ran = run(argv)
        if ran and ran.code == 0 and (found := _RELEASE.search(ran.out)):
            facts[name] = found[0]
    if "srun" not in facts and "slurmd" not in facts:
        return skipped("no Slurm here", facts)
    detail = ", ".join(f"{name} {version}" for name, version in facts.items())
    if "munge" not in facts:
        return warn(f"{detail}: no munge program", facts)
    return passed(detail, facts)


LINK = Link(
    id="slurm",
    group="access",
    reads="slurmd -V, srun --version, munge --version",
    limits="warns when munge is not installed; fails when nodes differ",
    todo="install one release of Slurm and munge on all nodes",
    look=_look,
)
