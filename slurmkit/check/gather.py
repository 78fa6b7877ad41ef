"""Looks at the submitting machine for everything that a job names; changes nothing."""

import grp
import os
import pwd
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from slurmkit.check import probes
from slurmkit.check.facts import (
    SYSTEM_DIRS,
    Facts,
    LastSave,
    PathFact,
    ProgramFact,
    RunRootFact,
    TemplateFact,
)
from slurmkit.check.filesystems import FileSystems
from slurmkit.check.scripts import script_argument, shell_complaint
from slurmkit.check.subject import nearest
from slurmkit.mpi import look as mpi_look
from slurmkit.plan.model import Plan, Variable, Word
from slurmkit.resources import shipped_dir
from slurmkit.spec.loader import Job


def gather_facts(
    job: Job,
    plan: Plan,
    run_root: Path,
    *,
    known_jobs: Mapping[str, str | None] | None = None,
    template_dirs: Sequence[Path] = (),
    last_save: LastSave | None = None,
) -> Facts:
    """Return what this machine knows about the job's files, programs and secrets.

    Args:
        job: the job.
        plan: its plan, for absolute paths.
        run_root: where runs keep their files.
        known_jobs: state of each job that ``after`` names, by its text in the file or its job id;
            None for one that nobody knows.
        template_dirs: where the job's template was looked for.
        last_save: what a checkpoint cost in the last run of this name.
    """
    environ, systems = os.environ, FileSystems()
    uid = os.getuid()
    software = job.spec.software
    modules = plan.software.modules
    own_modules = list(software.modules)
    conda_found, conda_near = _conda(job)
    mpi, mpirun = _mpi(job, plan)
    return Facts(
        now=time.time(),
        user=_user(uid),
        uid=uid,
        groups=_groups(),
        host=socket.gethostname().partition(".")[0],
        run_root=probes.run_root_fact(run_root, systems),
        checkpoint_dir=_checkpoint_dir(plan, systems),
        last_save=last_save,
        paths=tuple(_paths(job, plan, systems)),
        programs=tuple(_programs(job, plan)),
        script_file=_script_file(job, plan, systems),
        venv_python=_venv_python(plan),
        conda_found=conda_found,
        conda_near=conda_near,
        modules=tuple(
            probes.module_fact(_module_key(own_modules, name), name, environ)
            for name in (modules.names if modules else ())
        ),
        has_module_command=probes.module_command(modules.init, environ) if modules else None,
        secrets=tuple(
            probes.secret_fact(index, secret, job.base_dir, environ)
            for index, secret in enumerate(job.spec.secrets)
        ),
        setup_complaint=shell_complaint("\n".join(software.setup)) if software.setup else "",
        templates=tuple(_templates(plan, template_dirs)),
        environ_bytes=sum(len(name) + len(value) + 2 for name, value in os.environb.items()),
        arg_max=os.sysconf("SC_ARG_MAX"),
        known_jobs=dict(known_jobs or {}),
        mpi=mpi,
        mpirun=mpirun,
    )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _groups() -> frozenset[str]:
    names = set()
    for gid in {os.getgid(), *os.getgroups()}:
        try:
            names.add(grp.getgrgid(gid).gr_name)
        except KeyError:
            continue  # a group of the cluster that this machine has no name for
    return frozenset(names)


def as_path(word: Word) -> Path | None:
    """Return the path that a word of the plan stands for; None when only the job can tell."""
    parts = []
    for part in word:
        if isinstance(part, str):
            parts.append(part)
        elif part.name == "HOME":
            parts.append(str(Path.home()))
        else:
            return None
    return Path("".join(parts))


def _paths(job: Job, plan: Plan, systems: FileSystems) -> list[PathFact]:
    wanted: list[tuple[str, Path | None]] = [("launch.workdir", as_path(plan.workdir))]
    if plan.software.venv is not None:
        wanted.append(("software.venv", as_path(plan.software.venv)))
    conda = as_path(plan.software.conda) if plan.software.conda is not None else None
    if conda is not None and conda.is_absolute():
        wanted.append(("software.conda", conda))
    container = job.spec.software.container
    if plan.container is not None and container is not None:
        image = as_path(plan.container.image)
        if image is not None and image.is_absolute():
            wanted.append(("software.container.image", image))
        for index, text in enumerate(container.mounts):
            source = job.base_dir / Path(text.partition(":")[0]).expanduser()
            wanted.append((f"software.container.mounts.{index}", source))
    if not plan.portable and plan.slurmkit.startswith("/"):
        wanted.append(("", Path(plan.slurmkit)))
    return [probes.path_fact(key, path, systems) for key, path in wanted if path is not None]


def _checkpoint_dir(plan: Plan, systems: FileSystems) -> RunRootFact | None:
    """Look at the folder of checkpoints; that of an array's elements is made inside it."""
    if plan.checkpoints is None:
        return None
    word = plan.checkpoints.dir
    if plan.is_array and word[-1] == Variable("SLURM_ARRAY_TASK_ID"):
        word = word[:-1]
    folder = as_path(word)
    if folder is None or not folder.is_absolute():
        return None
    return probes.run_root_fact(folder, systems)


def _programs(job: Job, plan: Plan) -> list[ProgramFact]:
    """Look for what the script starts; what is inside an image is not looked for."""
    workdir = as_path(plan.workdir) or job.base_dir
    search = _search_path(plan)
    launch, container = job.spec.launch, plan.container
    wanted: list[tuple[str, str]] = []
    if job.spec.software.conda is not None and "CONDA_EXE" not in os.environ:
        wanted.append(("software.conda", "conda"))
    if launch.launcher == "mpirun":
        wanted.append(("launch.launcher", "mpirun"))
    if container is not None and container.runtime == "apptainer":
        wanted.append(("software.container.runtime", "apptainer"))
    if container is None:
        if launch.launcher == "torchrun" and not plan.step.is_python:
            wanted.append(("launch.launcher", "torchrun"))
        if "{sweep." not in launch.command[0]:
            wanted.append(("launch.command.0", launch.command[0]))
    return [probes.program_fact(key, name, workdir, search) for key, name in wanted]


def _mpi(job: Job, plan: Plan) -> tuple[mpi_look.Look | None, str | None]:
    """Return the program's MPI and its mpirun, where nothing that comes later can change them."""
    launch, software = job.spec.launch, plan.software
    workdir = as_path(plan.workdir)
    loads_more = software.modules or software.setup or software.conda or plan.container
    if launch.kind != "mpi" or loads_more or workdir is None or "{sweep." in launch.command[0]:
        return None, None
    env = {**mpi_look.environment(), **dict(plan.env)}
    env["PATH"] = os.pathsep.join(_search_path(plan))
    seen = mpi_look.look(launch.command, env, workdir)
    if launch.launcher != "mpirun" or not seen.certain:
        return seen, None
    started = mpi_look.launcher_of(seen.found, env)
    return seen, started[0] if started else ""


def _search_path(plan: Plan) -> list[str]:
    """Return where the batch script looks for programs: what it activates comes first."""
    folders = []
    for word in (plan.software.venv, plan.software.conda):
        path = as_path(word) if word is not None else None
        if path is not None and path.is_absolute():
            folders.append(str(path / "bin"))
    given = dict(plan.env).get("PATH", "").split(os.pathsep)
    if not SYSTEM_DIRS.intersection(given):  # the default, or a mistake that env-path names
        given += os.environ.get("PATH", os.defpath).split(os.pathsep)
    return folders + [folder for folder in given if folder]


def _script_file(job: Job, plan: Plan, systems: FileSystems) -> PathFact | None:
    index = script_argument(job.spec.launch.command)
    workdir = as_path(plan.workdir)
    if index is None or workdir is None:
        return None
    text = job.spec.launch.command[index]
    return probes.path_fact(f"launch.command.{index}", workdir / text, systems)


def _venv_python(plan: Plan) -> bool | None:
    folder = as_path(plan.software.venv) if plan.software.venv is not None else None
    if folder is None:
        return None
    return (folder / "bin" / "activate").is_file() and (folder / "bin" / "python").exists()


def _conda(job: Job) -> tuple[bool | None, str]:
    name = job.spec.software.conda
    if name is None or "/" in name or name.startswith((".", "~")):
        return None, ""
    known = probes.conda_environments(os.environ, Path.home())
    if known is None:
        return None, ""
    return name in known, nearest(name, known)


def _module_key(own_modules: list[str], name: str) -> str:
    """Return the key of a module; those of the site stand in no job file."""
    return f"software.modules.{own_modules.index(name)}" if name in own_modules else ""


def _templates(plan: Plan, folders: Sequence[Path]) -> list[TemplateFact]:
    """Return the templates of people that stand in for shipped ones."""
    found = []
    shipped = shipped_dir("templates")
    for folder in folders:
        if folder == shipped:
            break
        for name in (f"{plan.kind}.sbatch.j2", "base.sbatch.j2"):
            path = folder / "sbatch" / name
            try:
                found.append(TemplateFact(str(path), path.read_text(encoding="utf-8")))
            except (OSError, UnicodeDecodeError):
                continue
    return found
