"""Checks against the cluster as a whole: licences, arrays, MPI."""

import re

from slurmkit.check.registry import About, Problems, on_cluster
from slurmkit.check.subject import Subject, choices, listing, plural
from slurmkit.limits import Limits

_LICENSE = re.compile(r"(?P<name>[^:*=]+)(?:[:*=](?P<count>\d+))?")


@on_cluster(
    About(
        "license-unknown",
        "The cluster counts the licences that are named.",
        "the cluster has no licence 'matlb'",
    )
)
def license_unknown(subject: Subject, limits: Limits) -> Problems:
    """Find licences that sbatch refuses."""
    for name, _ in _licenses(subject):
        if name not in limits.licenses:
            yield subject.problem(
                "resources.licenses",
                f"the cluster has no licence {name!r}",
                choices("Licences", name, limits.licenses),
            )


@on_cluster(
    About(
        "license-too-many",
        "The cluster has as many licences, used or free.",
        "20 licences 'matlab' are wanted; the cluster has 10",
    )
)
def license_too_many(subject: Subject, limits: Limits) -> Problems:
    """Find counts that sbatch refuses."""
    for name, wanted in _licenses(subject):
        found = limits.licenses.get(name)
        if found is not None and wanted > found.total:
            yield subject.problem(
                "resources.licenses",
                f"{plural(wanted, 'licence')} {name!r} are wanted; the cluster has {found.total}",
                f"Ask for at most {found.total}.",
            )


def _licenses(subject: Subject) -> list[tuple[str, int]]:
    """Return names and counts of ``a:2,b``; alternatives (``a|b``) are left to Slurm."""
    text = subject.request.value("--licenses")
    if "|" in text:
        return []
    words = [word for word in re.split("[,;]", text) if word]
    matches = [match for word in words if (match := _LICENSE.fullmatch(word.strip()))]
    return [(match["name"], int(match["count"] or 1)) for match in matches]


@on_cluster(
    About(
        "array-too-large",
        "Every index of the array is below the cluster's MaxArraySize.",
        "index 1001 of the array is over the cluster's highest: 1000 (MaxArraySize 1001)",
    )
)
def array_too_large(subject: Subject, limits: Limits) -> Problems:
    """Find arrays and sweeps that sbatch refuses."""
    highest, bound = subject.request.array_max, limits.max_array_size
    if not subject.request.array_size or highest < bound:
        return
    if subject.spec.sweep is not None:
        yield subject.problem(
            "sweep",
            f"the sweep has {subject.request.array_size} combinations; the cluster takes arrays "
            f"of {bound} (MaxArraySize)",
            "Leave values out, or split the sweep into two jobs.",
        )
    else:
        yield subject.problem(
            "array.indices",
            f"index {highest} of the array is over the cluster's highest: {bound - 1} "
            f"(MaxArraySize {bound})",
            "Use lower indices, and several arrays where one is not enough.",
        )


@on_cluster(
    About(
        "array-over-job-count",
        "The array's elements are fewer than all jobs the cluster can hold (MaxJobCount).",
        "the array has 20000 elements; the cluster holds 10000 jobs of all users (MaxJobCount)",
        warning=True,
    )
)
def array_over_job_count(subject: Subject, limits: Limits) -> Problems:
    """Find arrays that leave no room for anybody else's jobs."""
    size = subject.request.array_size
    if size > limits.max_job_count > 0:
        yield subject.problem(
            "sweep" if subject.spec.sweep is not None else "array.indices",
            f"the array has {size} elements; the cluster holds {limits.max_job_count} jobs of all "
            "users (MaxJobCount)",
            "Submit it in parts.",
        )


@on_cluster(
    About(
        "mpi-plugin-missing",
        "Slurm has the MPI plugin that the job names.",
        "Slurm has no MPI plugin 'pmix' here",
    )
)
def mpi_plugin_missing(subject: Subject, limits: Limits) -> Problems:
    """Find plugins that srun does not have."""
    plugin = subject.plan.step.mpi
    if plugin in ("", "auto", "none") or not limits.mpi_plugins or plugin in limits.mpi_plugins:
        return
    yield subject.problem(
        "launch.mpi",
        f"Slurm has no MPI plugin {plugin!r} here",
        f"Plugins here: {listing(limits.mpi_plugins)}; auto takes the best of them.",
    )


@on_cluster(
    About(
        "mpi-no-plugin",
        "An MPI program of several ranks has a plugin by which its ranks find each other.",
        "Slurm has neither pmix nor pmi2 here: most MPI libraries would start 8 worlds of one rank",
        warning=True,
    )
)
def mpi_no_plugin(subject: Subject, limits: Limits) -> Problems:
    """Find MPI jobs that would run as many separate programs."""
    ranks = subject.request.shape.num_tasks
    launch = subject.spec.launch
    if launch.kind != "mpi" or launch.launcher != "srun" or launch.mpi != "auto" or ranks == 1:
        return
    if subject.facts.mpi is not None and subject.facts.mpi.certain:
        return  # mpi-unfit knows more
    if limits.mpi_plugins and not limits.mpi_plugins & {"pmix", "pmi2"}:
        yield subject.problem(
            "launch.mpi",
            "Slurm has neither pmix nor pmi2 here: most MPI libraries would start "
            f"{ranks} worlds of one rank",
            "Use launcher: mpirun.",
        )


@on_cluster(
    About(
        "pyxis-missing",
        "Where pyxis is to run the container, srun has its options.",
        "srun has no --container-image here: the plugin pyxis is not installed",
        warning=True,
    )
)
def pyxis_missing(subject: Subject, limits: Limits) -> Problems:
    """Find jobs whose srun would refuse its options; only compute nodes may have the plugin."""
    container, options = subject.plan.container, limits.srun_plugin_options
    if container is None or container.runtime != "pyxis" or options is None:
        return
    if "--container-image" not in options:
        yield subject.problem(
            "software.container.runtime",
            "srun has no --container-image here: the plugin pyxis is not installed",
            "Write runtime: apptainer, unless the compute nodes have it.",
        )
