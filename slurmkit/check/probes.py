"""Small looks at this machine: paths, programs, secrets, modules, conda environments."""

import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from slurmkit.check.facts import ModuleFact, PathFact, ProgramFact, RunRootFact, SecretFact
from slurmkit.check.filesystems import FileSystems
from slurmkit.check.subject import nearest
from slurmkit.spec.models import SecretSource


def path_fact(key: str, path: Path, systems: FileSystems) -> PathFact:
    """Look at a path that must exist."""
    if path.is_dir():
        denied = not os.access(path, os.X_OK)
        return _fact(key, path, "folder", systems, denied=denied)
    if path.exists():
        return _fact(key, path, "file", systems, denied=not os.access(path, os.R_OK))
    return PathFact(key, str(path), "missing", near=_near_name(path))


def _fact(key: str, path: Path, kind: str, systems: FileSystems, *, denied: bool) -> PathFact:
    return PathFact(
        key,
        str(path),
        "folder" if kind == "folder" else "file",
        node_local=systems.is_node_local(str(path)),
        file_system=systems.type_of(str(path)),
        denied=denied,
    )


def _near_name(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    return nearest(path.name, names)


def program_fact(key: str, name: str, workdir: Path, search: Sequence[str]) -> ProgramFact:
    """Look for a program as execvp(3) does: with a slash below ``workdir``, else on the path."""
    if "/" in name:
        path = workdir / name
        if not path.is_file():
            near = _near_name(path)
            return ProgramFact(key, name, "", near=str(Path(name).with_name(near)) if near else "")
        return ProgramFact(key, name, str(path), executable=os.access(path, os.X_OK))
    found = shutil.which(name, path=os.pathsep.join(search))
    if found is None:
        return ProgramFact(key, name, "", near=nearest(name, _programs(search)))
    return ProgramFact(key, name, found)


def _programs(search: Sequence[str]) -> Iterator[str]:
    for folder in search:
        try:
            yield from os.listdir(folder)  # noqa: PTH208 - names only, of hundreds of files
        except OSError:
            continue


def run_root_fact(run_root: Path, systems: FileSystems) -> RunRootFact:
    """Look at where the runs will keep their files; nothing is created."""
    parent = run_root
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    free_bytes: int | None = None
    free_files: int | None = None
    try:
        space = os.statvfs(parent)
        free_bytes = space.f_bavail * space.f_frsize
        # File systems that create inodes as needed say 0 of 0.
        free_files = space.f_favail if space.f_files else None
    except OSError:
        pass  # nobody can tell; writing will
    return RunRootFact(
        path=str(run_root),
        parent=str(parent),
        writable=parent.is_dir() and os.access(parent, os.W_OK | os.X_OK),
        node_local=systems.is_node_local(str(parent)),
        file_system=systems.type_of(str(parent)),
        free_bytes=free_bytes,
        free_files=free_files,
    )


def secret_fact(
    index: int, secret: SecretSource, base_dir: Path, environ: Mapping[str, str]
) -> SecretFact:
    """Look at where a secret comes from; its value goes no further than its length."""
    key = f"secrets.{index}"
    if secret.file is None:
        variable = secret.env or secret.name
        value = environ.get(variable)
        present = value is not None
        return SecretFact(key, secret.name, variable, present=present, empty=not value)
    path = base_dir / Path(secret.file).expanduser()
    try:
        status = path.stat()
        with path.open("rb") as file:
            empty = file.read(2) in (b"", b"\n")
    except FileNotFoundError:
        return SecretFact(key, secret.name, path=str(path), present=False)
    except OSError:
        return SecretFact(key, secret.name, path=str(path), denied=True)
    mode = stat.S_IMODE(status.st_mode)
    return SecretFact(key, secret.name, path=str(path), empty=empty, mode=mode, owner=status.st_uid)


def module_command(init: str, environ: Mapping[str, str]) -> bool:
    """Tell whether the batch script will find the ``module`` command."""
    if init:
        return Path(init).is_file()
    if any(name.startswith("BASH_FUNC_module") for name in environ):
        return True
    homes = (
        environ.get("LMOD_PKG") or "/usr/share/lmod/lmod",
        environ.get("MODULESHOME") or "/usr/share/modules",
    )
    return any(Path(home, "init", "bash").is_file() for home in homes)


def module_fact(key: str, name: str, environ: Mapping[str, str]) -> ModuleFact:
    """Look for a module file in MODULEPATH; where that is not set, nobody can tell."""
    folders = [Path(folder) for folder in environ.get("MODULEPATH", "").split(":") if folder]
    if not folders:
        return ModuleFact(key, name, None)
    for folder in folders:
        if (folder / name).exists() or (folder / f"{name}.lua").is_file():
            return ModuleFact(key, name, True)
    return ModuleFact(key, name, False, near=nearest(name, _modules(folders)))


def _modules(folders: Sequence[Path]) -> Iterator[str]:
    for folder in folders:
        for path in sorted(folder.glob("*")) + sorted(folder.glob("*/*")):
            if path.is_file() and not path.name.startswith("."):
                yield str(path.relative_to(folder)).removesuffix(".lua")


def conda_environments(environ: Mapping[str, str], home: Path) -> list[str] | None:
    """Return the names of the conda environments; None when there is no telling where they are."""
    roots: list[Path] = []
    if executable := environ.get("CONDA_EXE"):
        roots.append(Path(executable).parent.parent / "envs")
    for variable in ("CONDA_ENVS_PATH", "CONDA_ENVS_DIRS"):
        roots += [Path(folder) for folder in environ.get(variable, "").split(":") if folder]
    if not roots:
        return None
    roots.append(home / ".conda" / "envs")
    names = ["base", *(path.name for root in roots if root.is_dir() for path in root.iterdir())]
    try:
        registered = (home / ".conda" / "environments.txt").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return names
    return names + [Path(line).name for line in registered.splitlines() if line]
