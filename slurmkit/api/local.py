"""`slurmkit run`: a job as processes on this machine, prepared as a batch script prepares it."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slurmkit.api.preparing import Prepared, prepare, template_dirs
from slurmkit.api.secrets import read_secret_values
from slurmkit.errors import InvalidInputError, Problem, SlurmkitError, UsageError
from slurmkit.launch.local import LocalJob
from slurmkit.launch.local import run_local as run_ranks
from slurmkit.mpi.mpirun import find_mpirun
from slurmkit.mpi.report import mpirun_options
from slurmkit.plan.model import Plan, Word
from slurmkit.plan.words import argument_word
from slurmkit.render.renderer import render_local
from slurmkit.rundir.atomic import atomic_write
from slurmkit.rundir.code import capture_code, write_code
from slurmkit.rundir.layout import ElementDir, RunDir, new_run_id
from slurmkit.rundir.submission import new_submission, write_submission
from slurmkit.slurm import scrubbed_environment
from slurmkit.spec.loader import Job

OnOutput = Callable[[bytes], None]
OnProblem = Callable[[Problem], None]


# From TERM to KILL when Ctrl-C ends a run; a program that saves gets as long as under Slurm by
# default (slurm.conf(5), KillWait).
_GRACE_S, _SAVING_GRACE_S = 10.0, 30.0


def grace_s(plan: Plan) -> float:
    """Return how long the ranks of a job may take to end after TERM, seconds."""
    return _SAVING_GRACE_S if plan.checkpoints is not None else _GRACE_S


@dataclass(frozen=True)
class LocalRun:
    """How a run on this machine went.

    Attributes:
        name: the run's name.
        run_id: its id under the run root.
        run_dir: its folder.
        exit_code: 0, or that of the first rank that failed.
        state: ``completed``, ``failed`` or ``cancelled``.
        failure: which rank failed first and why; empty when none did.
    """

    name: str
    run_id: str
    run_dir: str
    exit_code: int
    state: str
    failure: str


def run_local(
    job: Job,
    *,
    site: str | None = None,
    task: int | None = None,
    on_output: OnOutput,
    on_problem: OnProblem | None = None,
) -> LocalRun:
    """Run all ranks of a job on this machine and return how it went.

    Args:
        job: what ``load`` returned.
        site: site.yaml or its folder; None looks in the usual places.
        task: which element of an array or sweep; None for a job that is neither.
        on_output: is given whole lines of the merged stream, each with its rank in front.
        on_problem: told of what is different from a run on a cluster.

    Raises:
        UsageError: the job needs what one machine without Slurm does not have.
        SlurmkitError: the software section fails, or the program cannot be started.
    """
    prepared = prepare(job, site=site, run_id=new_run_id())
    for problem in (*job.warnings, *_refuse_or_warn(job, prepared.plan)):
        if on_problem is not None:
            on_problem(problem)
    element_env = element_environment(job, prepared.plan, task)
    secrets = read_secret_values(job.spec, job.base_dir)
    run_dir = write_run_dir(prepared, job, list(secrets.values()))
    env = prepared_environment(
        prepared,
        {
            **scrubbed_environment(os.environ, secret_names=frozenset(secrets)),
            **element_env,
            "SLURMKIT_RUN_DIR": str(run_dir.path),
            **checkpoint_environment(prepared.plan, run_dir.element(task), element_env),
            **mpi_environment(prepared.plan),
        },
    )
    plan = prepared.plan
    command = command_of(job, env)
    workdir = Path(text_of(plan.workdir, env))
    launcher, mpirun = _launcher(plan, env, command, workdir)
    result = run_ranks(
        LocalJob(
            argv=(plan.slurmkit, "exec", "--", *command) if mpirun else command,
            workdir=workdir,
            num_nodes=plan.shape.num_nodes,
            ranks_per_node=plan.shape.tasks_per_node,
            env=env,
            secrets=secrets,
            launcher=launcher,
            grace_s=grace_s(plan),
            mpirun=mpirun,
        ),
        run_dir.element(task),
        on_output,
    )
    return LocalRun(
        name=run_dir.name,
        run_id=run_dir.run_id,
        run_dir=str(run_dir.path),
        exit_code=result.exit_code,
        state=result.state,
        failure=str(result.root_cause) if result.root_cause is not None else "",
    )


def _refuse_or_warn(job: Job, plan: Plan) -> list[Problem]:
    """Return what is different here from a cluster.

    Raises:
        InvalidInputError: the job cannot run on one machine without Slurm.
    """
    if job.spec.software.container is not None:
        key = "software.container"
        message = "`slurmkit run` starts no containers"
        hint = "use --set software.container=null, or a cluster; `slurmkit sandbox up` makes one"
        raise InvalidInputError([Problem(message, key, job.source.locate(key), hint, "local")])
    found = []
    if plan.software.modules is not None:
        key = "software.modules"
        message = "modules are loaded as on the cluster, if this machine has a module command"
        found.append(Problem(message, key, job.source.locate(key), code="local", warning=True))
    if plan.shape.num_nodes > 1:
        key = "resources.nodes"
        message = f"all {plan.shape.num_tasks} ranks run on this one machine"
        found.append(Problem(message, key, job.source.locate(key), code="local", warning=True))
    return found


def element_environment(job: Job, plan: Plan, task: int | None) -> dict[str, str]:
    """Return what tells one element of an array from the others.

    Raises:
        UsageError: the element does not exist, or none was chosen.
    """
    if not plan.is_array:
        if task is not None:
            raise UsageError(f"{job.spec.name} is no array, so it has no element {task}")
        return {}
    if task is None:
        raise UsageError(
            f"{job.spec.name} is an array; `slurmkit run` runs one element of it",
            hint="choose it by --task, for example --task 0",
        )
    number = {"SLURM_ARRAY_TASK_ID": str(task)}
    if plan.sweep is None:
        return number
    if not 0 <= task < plan.sweep.num_elements:
        raise UsageError(
            f"there is no element {task}", hint=f"the last one is {plan.sweep.num_elements - 1}"
        )
    return {**number, **plan.sweep.element(task)}


def checkpoint_environment(
    plan: Plan, element: ElementDir, element_env: Mapping[str, str]
) -> dict[str, str]:
    """Return what tells the ranks where and how often to save; see sbatch/base.sbatch.j2."""
    wanted = plan.checkpoints
    if wanted is None:
        return {}
    env = {**os.environ, **element_env}
    exports = {
        "SLURMKIT_CHECKPOINT_DIR": str((element.path / text_of(wanted.dir, env)).absolute()),
        "SLURMKIT_CHECKPOINT_EVERY": wanted.every,
        "SLURMKIT_CHECKPOINT_KEEP": str(wanted.keep),
        "SLURMKIT_CHECKPOINT_ASYNC": str(int(wanted.asynchronous)),
        "SLURMKIT_CHECKPOINT_LEVELS": ",".join(wanted.levels),
        "SLURMKIT_GRACE_S": f"{_SAVING_GRACE_S:g}",
    }
    if wanted.local_dir is not None:
        exports["SLURMKIT_LOCAL_DIR"] = text_of(wanted.local_dir, env)
    if plan.kind != "torch":  # a run without Slurm has one start, at the beginning
        exports |= {"SLURMKIT_RESTART_DIR": "", "SLURMKIT": plan.slurmkit}
    return exports


def mpi_environment(plan: Plan) -> dict[str, str]:
    """Return what lets every rank of an MPI job see that all have met; see slurmkit.launch.mpi."""
    if plan.kind != "mpi":
        return {}
    return {"SLURMKIT_MPI": "mpirun", "SLURMKIT_MPI_RANKS": str(plan.shape.num_tasks)}


def write_run_dir(prepared: Prepared, job: Job, secret_values: list[str]) -> RunDir:
    """Make the run directory of a run without Slurm and write down what it is of."""
    assert prepared.run_dir is not None
    run = RunDir.create(prepared.run_root, job.spec.name, prepared.run_dir.name)
    atomic_write(run.spec_path, job.text)
    atomic_write(run.resolved_path, job.resolved_yaml())
    atomic_write(run.plan_path, prepared.plan.to_json())
    write_code(run, *capture_code(job.base_dir, redact=secret_values))
    write_submission(run, new_submission("", "", "local", run.run_id, is_array=False))
    return run


def prepared_environment(prepared: Prepared, env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment after the job's own variables and its software section.

    Raises:
        SlurmkitError: a line of the software section fails; what it wrote was shown.
    """
    dirs = template_dirs(prepared.job, prepared.found)
    script = render_local(prepared.plan, dirs)
    with tempfile.TemporaryDirectory(prefix="slurmkit-") as folder:
        result_path = Path(folder) / "environment"
        done = subprocess.run(
            ["bash", "-c", script, "slurmkit-run", str(result_path)],
            env=dict(env),
            cwd=prepared.job.base_dir,
            check=False,
        )
        if done.returncode != 0:
            raise SlurmkitError(
                f"preparing the software failed with exit code {done.returncode}",
                hint="its last lines are above; see software: in the job file",
            )
        data = result_path.read_bytes()
    pairs = (os.fsdecode(item).partition("=") for item in data.split(b"\0") if item)
    return {name: value for name, _, value in pairs if name not in ("_", "SHLVL")}


def command_of(job: Job, env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the program and its arguments, with variables and swept values filled in."""
    swept = job.spec.sweep.matrix if job.spec.sweep is not None else {}
    return tuple(text_of(argument_word(text, swept), env) for text in job.spec.launch.command)


def _launcher(
    plan: Plan, env: Mapping[str, str], command: tuple[str, ...], workdir: Path
) -> tuple[Literal["direct", "torchrun", "openmpi", "hydra"], tuple[str, ...]]:
    """Return what starts the ranks, and the mpirun with its options where that is one.

    MPI programs find each other only through the mpirun of their own MPI.

    Raises:
        SlurmkitError: an MPI job, and there is no such mpirun on this machine.
    """
    if plan.step.launcher == "torchrun":
        return "torchrun", ()
    if plan.kind != "mpi" and plan.step.launcher != "mpirun":
        return "direct", ()
    path, said = find_mpirun(command if plan.kind == "mpi" else (), env, workdir)
    options = mpirun_options(said.family, said.major, False)
    if said.family != "openmpi":
        return "hydra", (path, *options)
    # More ranks than cores: they are those of several nodes.
    crowd = ["--map-by", ":OVERSUBSCRIBE"] if said.major >= 5 else ["--oversubscribe"]
    return "openmpi", (path, *crowd, *options)


def text_of(word: Word, env: Mapping[str, str]) -> str:
    """Return a word with its variables filled in."""
    return "".join(part if isinstance(part, str) else env.get(part.name, "") for part in word)
