"""What a plan is made of, in one value."""

from typing import TYPE_CHECKING, NamedTuple

from slurmkit.errors import Problem
from slurmkit.site.models import Site
from slurmkit.spec.models import JobSpec

if TYPE_CHECKING:  # only who asks a cluster needs it at run time
    from slurmkit.limits import Limits


class Context(NamedTuple):
    """Where the job comes from and goes to; values only, so that a plan depends on nothing else.

    Attributes:
        base_dir: absolute folder of the job file; relative paths in it start here.
        run_root: where runs keep their files.
        run_dir: this run's folder; None when the script makes its own, under ``run_root``.
        slurmkit: absolute path of the slurmkit command on the cluster.
        dependencies: (``ok`` | ``any`` | ``notok`` | ``start``, Slurm job id) pairs.
        portable: plan for a cluster without slurmkit.
    """

    base_dir: str
    run_root: str
    run_dir: str | None = None
    slurmkit: str = "slurmkit"
    dependencies: tuple[tuple[str, str], ...] = ()
    portable: bool = False


class Inputs(NamedTuple):
    """Everything a decision may depend on, and the problems that the decisions found."""

    spec: JobSpec
    site: Site
    limits: "Limits | None"
    context: Context
    problems: list[Problem]

    def report(self, message: str, *, key: str, hint: str = "", code: str = "invalid") -> None:
        """Note that the job cannot be planned, and go on to find what else is wrong."""
        self.problems.append(Problem(message, key=key, hint=hint, code=code))
