"""What the submitting machine knows of the files, programs and secrets that a job names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from slurmkit.mpi.look import Look

#: Where the programs that every script needs are; one of them must be on PATH.
SYSTEM_DIRS = frozenset({"/usr/bin", "/bin"})


@dataclass(frozen=True)
class PathFact:
    """A path that the job names.

    Attributes:
        key: the dotted key that names it.
        path: absolute.
        kind: what is there.
        near: a name in the same folder that looks like it; empty for none.
        node_local: True when it lies where every machine has its own files, such as /tmp.
        file_system: type of the file system, such as ``nfs4``; empty when unknown.
        denied: True when this user may not read the file or enter the folder.
    """

    key: str
    path: str
    kind: Literal["missing", "file", "folder"]
    near: str = ""
    node_local: bool = False
    file_system: str = ""
    denied: bool = False


@dataclass(frozen=True)
class ProgramFact:
    """A program that the script starts, looked for as the batch script would.

    Attributes:
        key: the dotted key that names it.
        name: as named.
        found: where it is; empty for nowhere.
        near: a program with nearly that name; empty for none.
        executable: False when the file is there but may not be run.
    """

    key: str
    name: str
    found: str
    near: str = ""
    executable: bool = True


@dataclass(frozen=True)
class RunRootFact:
    """Where the runs, or their checkpoints, will be.

    Attributes:
        path: absolute.
        parent: the nearest folder on the way that exists; ``path`` itself when it does.
        writable: whether this user may create files there.
        free_bytes: space left for this user; None when unknown.
        free_files: files that can still be created; None when unknown or unlimited.
    """

    path: str
    parent: str
    writable: bool
    node_local: bool = False
    file_system: str = ""
    free_bytes: int | None = None
    free_files: int | None = None


@dataclass(frozen=True)
class LastSave:
    """The slowest and the largest checkpoint of the last run of the same name.

    Attributes:
        save_s: from its begin until it counted, seconds.
        size_bytes: of all its files.
    """

    save_s: float
    size_bytes: int


@dataclass(frozen=True)
class SecretFact:
    """One secret's source; never its value.

    Attributes:
        key: the dotted key, such as ``secrets.0``.
        name: name of the variable in every task.
        variable: the variable of this environment it is read from; empty for a file.
        path: the file it is read from; empty for a variable.
        present: whether there is such a variable or file.
        empty: whether the value is empty.
        mode: permission bits of the file.
        owner: user id of the file's owner.
        denied: True when the file cannot be read.
    """

    key: str
    name: str
    variable: str = ""
    path: str = ""
    present: bool = True
    empty: bool = False
    mode: int = 0o600
    owner: int = 0
    denied: bool = False


@dataclass(frozen=True)
class ModuleFact:
    """An environment module; ``found`` is None when nobody could tell."""

    key: str
    name: str
    found: bool | None
    near: str = ""


@dataclass(frozen=True)
class TemplateFact:
    """A template that stands in for one of the package's own."""

    path: str
    text: str


@dataclass(frozen=True)
class Facts:
    """Everything the checks know that neither the job file nor the cluster says.

    Attributes:
        now: Unix time.
        user: who submits.
        uid: that user's id.
        groups: names of that user's Unix groups.
        host: this machine's short name.
        run_root: where runs keep their files; None when not looked at.
        checkpoint_dir: where checkpoints go; None when that is the run directory.
        last_save: what a checkpoint of this job cost before; None when nobody knows.
        paths: paths that must exist, by key.
        programs: programs that the script starts.
        script_file: the program's source file, such as ``train.py``; None when it names none.
        venv_python: whether the virtual environment holds a Python that runs; None without one.
        conda_found: whether the named conda environment exists; None when nobody could tell.
        conda_near: an environment with nearly that name; empty for none.
        modules: environment modules.
        has_module_command: whether ``module`` is defined here; None when no module is loaded.
        secrets: where secrets come from.
        setup_complaint: what bash says about the syntax of the lines under setup; empty for none.
        templates: templates other than the package's own that this job is rendered by.
        environ_bytes: size of the environment that the job inherits.
        arg_max: bytes that the kernel lets arguments and environment take together.
        known_jobs: state of each job or run that ``after`` names, as Slurm or the run's record has
            it, by the text in the job file or the job id; None for one that nobody knows. A job
            that is not in it was not asked for.
        mpi: the MPI of the program; None when it is no MPI job, or only the job can tell.
        mpirun: the mpirun of that MPI; empty for none, None when not looked for.
    """

    now: float = 0.0
    user: str = ""
    uid: int = 0
    groups: frozenset[str] = frozenset()
    host: str = ""
    run_root: RunRootFact | None = None
    checkpoint_dir: RunRootFact | None = None
    last_save: LastSave | None = None
    paths: tuple[PathFact, ...] = ()
    programs: tuple[ProgramFact, ...] = ()
    script_file: PathFact | None = None
    venv_python: bool | None = None
    conda_found: bool | None = None
    conda_near: str = ""
    modules: tuple[ModuleFact, ...] = ()
    has_module_command: bool | None = None
    secrets: tuple[SecretFact, ...] = ()
    setup_complaint: str = ""
    templates: tuple[TemplateFact, ...] = ()
    environ_bytes: int = 0
    arg_max: int = 2 * 1024 * 1024
    known_jobs: Mapping[str, str | None] = field(default_factory=dict)
    mpi: Look | None = None
    mpirun: str | None = None

    def path(self, key: str) -> PathFact | None:
        """Return the path that a key names; None when it names none or was not looked at."""
        return next((fact for fact in self.paths if fact.key == key), None)
