"""`slurmkit bench`: a job that measures, run on this machine, in this allocation, or submitted."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slurmkit.api.bench_results import result_of
from slurmkit.api.hosts import run_on_hosts
from slurmkit.api.local import LocalRun, run_local, write_run_dir
from slurmkit.api.preparing import load, prepare
from slurmkit.api.run import Run
from slurmkit.api.submitting import submit
from slurmkit.bench.formulas import P2P
from slurmkit.bench.order import Order, check_order, check_ranks
from slurmkit.bench.osu import osu_arguments, osu_program
from slurmkit.bench.sizes import parse_rated
from slurmkit.bench.values import BenchResult, Rated
from slurmkit.errors import Problem, SlurmkitError, UsageError
from slurmkit.hosts.lookup import read_hosts
from slurmkit.rundir.atomic import atomic_write
from slurmkit.rundir.layout import RunDir, new_run_id
from slurmkit.site.fabric import expectation
from slurmkit.site.lookup import FoundSite, find_site
from slurmkit.spec.loader import Job, from_spec
from slurmkit.spec.models import JobSpec, Launch, Resources
from slurmkit.spec.overrides import apply_overrides
from slurmkit.yamlfile.reader import read_document
from slurmkit.yamlfile.validate import build

VIAS = ("auto", "gloo", "nccl", "mpi", "osu")
_HELP_S = 20


@dataclass(frozen=True)
class Measurement:
    """What to measure, on what, and over what.

    Attributes:
        order: what the ranks are told.
        via: what sends the bytes: ``gloo``, ``nccl``, ``mpi``, ``osu``, or ``auto``.
        overrides: keys of a job, such as ``resources.nodes=2``.
        launcher: ``srun`` or ``mpirun``, for MPI; None for the default.
        like: job.yaml whose resources, environment and software are taken; None for none.
        site: site.yaml or its folder; None looks in the usual places.
        osu_dir: folder of OSU's programs; None looks on PATH.
    """

    order: Order
    via: str = "auto"
    overrides: tuple[str, ...] = ()
    launcher: str | None = None
    like: Path | None = None
    site: str | None = None
    osu_dir: str | None = None


@dataclass(frozen=True)
class BenchJob:
    """A job that measures; it is checked, rendered and submitted like any other.

    Attributes:
        job: the job.
        order: what it measures, with the rated speed as the site has it.
        site: site.yaml or its folder; None looks in the usual places.
    """

    job: Job
    order: Order
    site: str | None

    def result(self, run_dir: Path) -> BenchResult:
        """Return what it found, once it has ended.

        Raises:
            SlurmkitError: there is no result.
        """
        return result_of(RunDir(run_dir), _rated(self.order))


def bench_job(wanted: Measurement) -> BenchJob:
    """Return the job of a measurement.

    Raises:
        UsageError: the order makes no sense.
        InvalidInputError: the resources make no sense.
    """
    if wanted.via not in VIAS:
        raise UsageError(f"--via {wanted.via}: no such way", hint=f"choose of: {', '.join(VIAS)}")
    if wanted.launcher not in (None, "srun", "mpirun"):
        raise UsageError(f"--launcher {wanted.launcher}: no such way", hint="srun or mpirun")
    base, base_dir = _base(wanted, f"bench-{wanted.order.operation}")
    via = _via(wanted.via, base.resources)
    order = check_order(_with_rated(wanted.order, find_site(wanted.site), via))
    if not base.resources.gpus_per_node:  # else there is a rank per GPU
        check_ranks(order.operation, _num_ranks(base.resources))
    spec = JobSpec(
        name=f"bench-{order.operation}",
        resources=base.resources,
        launch=_launch(wanted, order, via, base.resources),
        env=base.env,
        software=base.software,
        affinity=base.affinity,
        sbatch=base.sbatch,
    )
    return BenchJob(from_spec(spec, base_dir), order, wanted.site)


def _base(wanted: Measurement, name: str) -> tuple[JobSpec, Path]:
    """Return what the job takes its resources, environment and software from, and its folder."""
    if wanted.like is not None:
        job = load(wanted.like, wanted.overrides)
        return job.spec, job.base_dir
    document = read_document(f"name: {name}\nlaunch: {{command: ['true']}}\n".encode(), "bench")
    return build(JobSpec, apply_overrides(document, wanted.overrides)), Path.cwd()


def _launch(wanted: Measurement, order: Order, via: str, resources: Resources) -> Launch:
    python = sys.executable or "python3"
    launcher: Literal["srun", "mpirun"] = "mpirun" if wanted.launcher == "mpirun" else "srun"
    if via in ("gloo", "nccl"):
        words = order.replace(backend=via).arguments()
        return Launch(kind="torch", command=[python, "-m", "slurmkit.bench.ranks_torch", *words])
    if via == "mpi":
        words = [python, "-m", "slurmkit.bench.ranks_mpi", *order.arguments()]
        return Launch(kind="mpi", launcher=launcher, command=words)
    name = osu_program(order.operation)
    program = str(Path(wanted.osu_dir, name)) if wanted.osu_dir else name
    num_ranks = _num_ranks(resources)
    if order.operation == P2P and num_ranks != 2:
        raise UsageError(
            f"{name} needs exactly two ranks, not {num_ranks}",
            hint="--nodes 2 --tasks-per-node 1, or --local 2",
        )
    words = [program, *osu_arguments(order, num_ranks, validates=_validates(program))]
    return Launch(kind="mpi", launcher=launcher, command=words)


def _num_ranks(resources: Resources) -> int:
    return resources.nodes * (resources.tasks_per_node or 1)


def _via(via: str, resources: Resources) -> str:
    if via != "auto":
        return via
    if resources.gpus_per_node:
        return "nccl"
    return "gloo" if importlib.util.find_spec("torch") is not None else "mpi"


def _validates(program: str) -> bool:
    """Whether this program of OSU's knows -c, which compares results."""
    path = shutil.which(program)
    if path is None:
        return False  # it may come with a module that only the job loads
    try:
        done = subprocess.run(
            [path, "--help"], capture_output=True, text=True, timeout=_HELP_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return "--validation" in done.stdout + done.stderr


def _with_rated(order: Order, found: FoundSite, via: str) -> Order:
    """Return the order with the site's rated speed, if the order names none.

    gloo's TCP is held against an RDMA fabric only by those who ask for it.
    """
    if order.rated:
        return order.replace(rated_source="--rated")
    fabric = found.site.fabric
    if fabric is None or (via == "gloo" and fabric.preset != "ethernet"):
        return order
    rate = expectation(fabric).rate_gbps
    if rate is None:
        return order
    return order.replace(rated=f"{rate:g}Gb/s", rated_source="fabric of site.yaml")


def _rated(order: Order) -> Rated | None:
    if not order.rated:
        return None
    rate, links = parse_rated(order.rated)
    return Rated(rate, links or 1, order.rated_source)


def bench_here(bench: BenchJob, on_output: Callable[[bytes], None]) -> BenchResult:
    """Measure on this machine.

    Raises:
        SlurmkitError: the program cannot be started, failed, or left no result.
    """
    return _ended(bench, run_local(bench.job, site=bench.site, on_output=on_output))


def bench_on_hosts(
    bench: BenchJob,
    hosts: Path,
    on_output: Callable[[bytes], None],
    on_problem: Callable[[Problem], None] | None = None,
) -> BenchResult:
    """Measure on the hosts of a file, by mpirun over SSH; nothing of it is left on them.

    Raises:
        HostsError: some hosts cannot take part; names each and why.
        SlurmkitError: there is no mpirun, a rank failed, or there is no result.
    """
    ran = run_on_hosts(
        bench.job, hosts, site=bench.site, on_output=on_output, on_problem=on_problem
    )
    return _ended(bench, ran)


def _ended(bench: BenchJob, ran: LocalRun) -> BenchResult:
    run_dir = Path(ran.run_dir)
    if ran.exit_code:
        raise not_measured(ran.failure or f"it was {ran.state}", run_dir)
    return bench.result(run_dir)


def not_measured(failure: str, run_dir: Path) -> SlurmkitError:
    """Return the error of a measurement that has failed."""
    hint = f"what the ranks wrote is in {run_dir}"
    return SlurmkitError(f"nothing was measured: {failure}", hint=hint)


def count_hosts(hosts: Path) -> int:
    """Return how many hosts a hosts.yaml names.

    Raises:
        InvalidInputError: the file is wrong.
    """
    return len(read_hosts(hosts).hosts)


def in_allocation(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is in a Slurm job."""
    return bool(environ.get("SLURM_JOB_ID"))


def allocated_nodes(environ: Mapping[str, str] = os.environ) -> int:
    """Return how many nodes the job around this process has."""
    return int(environ.get("SLURM_JOB_NUM_NODES") or environ.get("SLURM_NNODES") or "1")


def bench_in_allocation(bench: BenchJob, on_output: Callable[[bytes], None]) -> BenchResult:
    """Measure in the allocation that this process is in, by the script that sbatch would get.

    Raises:
        UsageError: the allocation is too small.
        SlurmkitError: the run directory cannot be made, the job failed, or there is no result.
    """
    wanted, have = bench.job.spec.resources.nodes, allocated_nodes()
    if wanted > have:
        raise UsageError(
            f"{wanted} nodes are asked for, and job {os.environ.get('SLURM_JOB_ID')} has {have}",
            hint="ask for fewer, or leave the allocation and run the command again",
        )
    prepared = prepare(bench.job, site=bench.site, run_id=new_run_id())
    # Without a job id: to cancel this run is not to cancel the allocation around it.
    run = write_run_dir(prepared, bench.job, [])
    atomic_write(run.script_path, prepared.script, mode=0o755)
    # The environment stays as it is: in it Slurm tells srun whose allocation this is.
    with subprocess.Popen(
        ["bash", str(run.script_path)],
        cwd=bench.job.base_dir,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as script:
        assert script.stdout is not None
        for line in script.stdout:
            on_output(line)
    if script.returncode:
        raise not_measured(f"its script ended with exit code {script.returncode}", run.path)
    return bench.result(run.path)


def bench_submit(bench: BenchJob, on_problem: Callable[[Problem], None] | None = None) -> Run:
    """Submit a measuring job; ``BenchJob.result`` reads what it found when it has ended.

    Raises:
        InvalidInputError: the job is wrong; nothing was submitted.
        SlurmError: Slurm refused it.
    """
    return submit(bench.job, site=bench.site, on_problem=on_problem)
