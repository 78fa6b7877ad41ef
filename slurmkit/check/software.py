"""Checks of what the program needs on disk: folders, programs, environments, images, modules."""

from slurmkit.check.facts import PathFact, ProgramFact
from slurmkit.check.registry import About, Problems, local
from slurmkit.check.subject import Subject

# Programs that come with a compute node's drivers, and that login nodes commonly lack.
_DRIVER_PROGRAMS = """
nvidia-smi dcgmi nvidia-cuda-mps-control rocm-smi amd-smi xpu-smi ibstat ibstatus ibv_devinfo
ibv_devices opainfo show_gids
"""
_OF_COMPUTE_NODES = frozenset(_DRIVER_PROGRAMS.split())
# Folders of the operating system, which each machine has for itself.
_OF_THE_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/opt/")


def _near(fact: PathFact) -> str:
    return f"Did you mean {fact.near!r}?" if fact.near else ""


def _is_loaded(subject: Subject, fact: ProgramFact) -> bool:
    """Tell whether something that the script loads first may bring a program that is not here."""
    software = subject.spec.software
    if subject.plan.software.modules is not None:
        return True
    # conda is started before the environment is activated and the lines under setup run.
    return fact.key != "software.conda" and bool(software.setup or software.conda)


def _is_on_nodes(fact: ProgramFact) -> bool:
    """Tell whether compute nodes may well have a program that this machine lacks."""
    return fact.name in _OF_COMPUTE_NODES or fact.name.startswith(_OF_THE_SYSTEM)


@local(
    About(
        "workdir-missing",
        "The folder under workdir exists and may be entered.",
        "there is no folder /home/user1/trainig",
    )
)
def workdir_missing(subject: Subject) -> Problems:
    """Find folders without which the script ends at its `cd`."""
    fact = subject.facts.path("launch.workdir")
    if fact is None or (fact.kind == "folder" and not fact.denied):
        return
    if fact.denied:
        message, hint = f"you may not enter the folder {fact.path}", "Ask its owner for access."
    elif fact.kind == "file":
        message, hint = f"{fact.path} is a file, not a folder", "Name the folder it is in."
    else:
        message, hint = f"there is no folder {fact.path}", _near(fact) or "Create it."
    yield subject.problem("launch.workdir", message, hint)


@local(
    About(
        "program-missing",
        "The program and its launcher are there: a path as it stands, a name on PATH or in venv.",
        "there is no program 'pyhton' on PATH",
    )
)
def program_missing(subject: Subject) -> Problems:
    """Find programs without which every task ends with exit code 127."""
    for fact in subject.facts.programs:
        if fact.found or _is_loaded(subject, fact) or _is_on_nodes(fact):
            continue
        near = f"Did you mean {fact.near!r}? " if fact.near else ""
        if "/" in fact.name:
            hint = f"{near}Paths start from workdir."
            yield subject.problem(fact.key, f"there is no program {fact.name}", hint)
        else:
            venv = " or in the venv" if subject.spec.software.venv else ""
            hint = (
                f"{near}Name it by its path, or load what brings it under software. "
                "A path under /usr or /opt may exist on compute nodes alone."
            )
            yield subject.problem(
                fact.key, f"there is no program {fact.name!r} on PATH{venv}", hint
            )


@local(
    About(
        "program-elsewhere",
        "Programs of the system and of GPU drivers are here, or else on the compute nodes.",
        "'nvidia-smi' is not on this machine; the job fails unless the compute nodes have it",
        warning=True,
    )
)
def program_elsewhere(subject: Subject) -> Problems:
    """Say what could not be looked for."""
    for fact in subject.facts.programs:
        # What modules bring is not known before they are loaded: no reason for a warning.
        if fact.found or _is_loaded(subject, fact) or not _is_on_nodes(fact):
            continue
        yield subject.problem(
            fact.key,
            f"{fact.name!r} is not on this machine; the job fails unless the compute nodes have it",
            "Name it by its path, or load what brings it under software, if they do not.",
        )


@local(
    About(
        "program-not-executable",
        "The program may be run.",
        "/home/user1/run.sh may not be run: its x permission is missing",
    )
)
def program_not_executable(subject: Subject) -> Problems:
    """Find files without the permission to run, which end with exit code 126."""
    for fact in subject.facts.programs:
        if fact.found and not fact.executable:
            yield subject.problem(
                fact.key,
                f"{fact.found} may not be run: its x permission is missing",
                f"Run: chmod +x {fact.found}",
            )


@local(
    About(
        "script-file-missing",
        "The file that the interpreter is to run, such as train.py, is in workdir.",
        "there is no file /home/user1/llama/trian.py for python to run",
    )
)
def script_file_missing(subject: Subject) -> Problems:
    """Find source files that are not there; lines under setup may fetch them."""
    fact = subject.facts.script_file
    if fact is None or fact.kind == "file" or subject.spec.software.setup:
        return
    workdir = subject.facts.path("launch.workdir")
    if workdir is not None and workdir.kind != "folder":
        return  # workdir-missing says why
    program = subject.spec.launch.command[0].rpartition("/")[2]
    if fact.kind == "folder" and program.startswith("python"):
        return  # python runs the __main__.py in it
    if fact.kind == "folder":
        message = f"{fact.path} is a folder, not a file for {program} to run"
    else:
        message = f"there is no file {fact.path} for {program} to run"
    hint = _near(fact) or "Correct the name, or set launch.workdir to the folder it is in."
    yield subject.problem(fact.key, message, hint)


@local(
    About(
        "venv-missing",
        "The virtual environment exists and its Python runs.",
        "there is no virtual environment /home/user1/llama/.venv",
    )
)
def venv_missing(subject: Subject) -> Problems:
    """Find environments that cannot be activated."""
    fact = subject.facts.path("software.venv")
    if fact is None:
        return
    if fact.kind != "folder":
        hint = _near(fact) or f"Make it: python3 -m venv {fact.path}"
        yield subject.problem(fact.key, f"there is no virtual environment {fact.path}", hint)
    elif not subject.facts.venv_python:
        yield subject.problem(
            fact.key,
            f"{fact.path} holds no bin/activate with a bin/python that exists",
            f"Name the folder above bin, or make it again: python3 -m venv {fact.path}",
        )


@local(
    About(
        "conda-missing",
        "The conda environment exists when it is a folder.",
        "there is no conda environment /home/user1/envs/torhc",
    )
)
def conda_missing(subject: Subject) -> Problems:
    """Find environments that cannot be activated."""
    fact = subject.facts.path("software.conda")
    if fact is not None and fact.kind != "folder":
        hint = _near(fact) or "`conda env list` shows them."
        yield subject.problem(fact.key, f"there is no conda environment {fact.path}", hint)


@local(
    About(
        "conda-unknown",
        "The conda environment is known by its name; modules may bring a conda of their own.",
        "there is no conda environment 'torhc' where conda has them on this machine",
        warning=True,
    )
)
def conda_unknown(subject: Subject) -> Problems:
    """Find names that are probably wrong; settings of conda may add folders to look in."""
    name, near = subject.spec.software.conda, subject.facts.conda_near
    if name is None or subject.facts.conda_found is not False or subject.plan.software.modules:
        return
    yield subject.problem(
        "software.conda",
        f"there is no conda environment {name!r} where conda has them on this machine",
        f"Did you mean {near!r}?" if near else "`conda env list` shows them.",
    )


@local(
    About(
        "image-missing",
        "The container image exists when it is a file.",
        "there is no image /images/pytorch-24.10.sqsh",
    )
)
def image_missing(subject: Subject) -> Problems:
    """Find image files that are not there; those of a registry are not looked for."""
    fact = subject.facts.path("software.container.image")
    if fact is None:
        return
    if fact.kind == "missing":
        hint = _near(fact) or "Import or build it first, or name it by its URI (docker://...)."
        yield subject.problem(fact.key, f"there is no image {fact.path}", hint)
    elif fact.denied:
        yield subject.problem(
            fact.key, f"you may not read the image {fact.path}", "Ask its owner for access."
        )


@local(
    About(
        "mount-missing",
        "The folders that the container mounts exist.",
        "there is no /scratch/user1/data to mount; the container starts only where it exists",
        warning=True,
    )
)
def mount_missing(subject: Subject) -> Problems:
    """Find mounts that are not on this machine; compute nodes may have them."""
    for fact in subject.facts.paths:
        if fact.key.startswith("software.container.mounts.") and fact.kind == "missing":
            yield subject.problem(
                fact.key,
                f"there is no {fact.path} to mount; the container starts only where it exists",
                _near(fact) or "Correct the path, unless the compute nodes have it.",
            )


@local(
    About(
        "module-unknown",
        "The environment modules are in MODULEPATH.",
        "there is no module 'cuda/12.44' in MODULEPATH",
        warning=True,
    )
)
def module_unknown(subject: Subject) -> Problems:
    """Find modules that nobody offers here; some appear only when others are loaded."""
    for fact in subject.facts.modules:
        if fact.found is False:
            yield subject.problem(
                fact.key,
                f"there is no module {fact.name!r} in MODULEPATH",
                f"Did you mean {fact.near!r}?" if fact.near else "`module avail` lists them.",
            )


@local(
    About(
        "module-command-missing",
        "There is a module command where modules are to be loaded.",
        "modules are to be loaded, but nothing defines the module command here",
        warning=True,
    )
)
def module_command_missing(subject: Subject) -> Problems:
    """Find jobs whose first `module load` would end them."""
    if subject.facts.has_module_command is False:
        yield subject.problem(
            "software.modules",
            "modules are to be loaded, but nothing defines the module command here",
            "Set modules.init in site.yaml to the file that does, such as "
            "/etc/profile.d/modules.sh.",
        )


@local(
    About(
        "path-node-local",
        "What the job needs on all its nodes is not where each machine has its own files.",
        "/run/llama is on this machine alone (tmpfs); the compute nodes have another /run",
        warning=True,
    )
)
def path_node_local(subject: Subject) -> Problems:
    """Find paths that exist on the submitting machine only."""
    told: set[str] = set()
    for fact in subject.facts.paths:
        mounts = fact.key.startswith("software.container.mounts.")
        if not fact.node_local or fact.kind == "missing" or mounts or fact.path in told:
            continue
        told.add(fact.path)
        top = "/".join(fact.path.split("/")[:2])
        yield subject.problem(
            fact.key,
            f"{fact.path} is on this machine alone ({fact.file_system}); the compute nodes have "
            f"another {top}",
            "Use a folder on the shared file system.",
        )
