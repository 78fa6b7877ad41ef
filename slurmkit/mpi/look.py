"""Find out which MPI a program uses, by asking the very library that it will load."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from slurmkit.mpi.elf import needed
from slurmkit.mpi.found import Found, parse
from slurmkit.record import Record

_TIMEOUT_S = 20.0
_PYTHON = re.compile(r"python(\d+(\.\d+)*)?")
_MPI_LIBRARY = re.compile(
    r"^\s*(lib(?:mpi|mpich|mpi_abi|mpi_cray\w*)\.so\S*) => (.*?)(?: \(0x.*)?$"
)
# MPI_Get_library_version may be called before MPI_Init (MPI standard, 9.1.1).
_ASK_LIBRARY = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
text, length = ctypes.create_string_buffer(1 << 14), ctypes.c_int()
library.MPI_Get_library_version(text, ctypes.byref(length))
print(text.value.decode("utf-8", "replace"))
"""
_ASK_MPI4PY = """
import mpi4py
mpi4py.rc.initialize = False
from mpi4py import MPI
print(MPI.Get_library_version())
for line in open("/proc/self/maps"):
    path = line.split()[-1]
    if path.startswith("/") and path.rpartition("/")[2].startswith(("libmpi.so", "libmpich.so")):
        print("\\nslurmkit-library:" + path)
        break
"""


class Look(Record):
    """What was found.

    Attributes:
        found: the MPI; None when there is none to be found.
        certain: True when the program itself loads it, False when it is only the one on PATH.
        missing: a library that the program needs and that is not here; empty for none.
        absent: whether there is no such program.
    """

    found: Found | None
    certain: bool = False
    missing: str = ""
    absent: bool = False

    @property
    def own(self) -> Found | None:
        """The program's own MPI; what is only on PATH may be another one."""
        return self.found if self.certain else None


def look(command: Sequence[str], env: Mapping[str, str], workdir: Path) -> Look:
    """Return the MPI that a program will use.

    Args:
        command: the program and its arguments.
        env: the environment that it will have.
        workdir: the folder that it will run in.
    """
    program = _program(command[0], env, workdir) if command else None
    if program is not None and _PYTHON.fullmatch(program.name):
        found = _of_python(program, env, workdir)
        if found is not None:
            return Look(found, certain=True)
    elif program is not None:
        library = _library(program, env)
        if library is not None:
            name, path = library
            if not path.startswith("/"):
                return Look(None, missing=name)
            found = _of_library(path, env)
            if found is not None:
                return Look(found.replace(source=f"{command[0]} ({name})"), certain=True)
    return Look(_on_path(env), absent=bool(command) and program is None)


def launcher_of(found: Found | None, env: Mapping[str, str]) -> tuple[str, Found] | None:
    """Return the mpirun that belongs to an MPI, and what it says of itself; None for none.

    Args:
        found: the program's MPI; None takes the mpirun that is on PATH.
        env: where PATH is.
    """
    for path in _launchers(found, env):
        said = parse(_output([path, "--version"], env))
        if said is None:
            continue
        relatives = (
            {"openmpi"} if said.family == "openmpi" else {"mpich", "intel", "mvapich", "cray"}
        )
        if found is None or found.family in relatives:
            return path, said
    return None


def pmi_libraries(env: Mapping[str, str], folders: Sequence[Path] | None = None) -> dict[str, str]:
    """Return Slurm's PMI libraries on this machine, for I_MPI_PMI_LIBRARY.

    Args:
        env: a value of I_MPI_PMI_LIBRARY in it wins.
        folders: where to look; None: where distributions and sites put them.
    """
    named = env.get("I_MPI_PMI_LIBRARY")
    if named:
        name = Path(named).name
        kind = "pmix" if "pmix" in name else "pmi2" if "pmi2" in name else "pmi1"
        return {kind: named}
    if folders is None:
        roots = [Path("/opt/slurm"), Path("/usr/local"), Path("/usr")]
        folders = [
            folder
            for root in roots
            for folder in (root / "lib64", root / "lib", root / "lib/slurm", root / "lib64/slurm")
        ] + sorted(Path("/usr/lib").glob("*-linux-gnu"))
    found: dict[str, str] = {}
    for kind, name in (("pmi2", "libpmi2.so"), ("pmi1", "libpmi.so"), ("pmix", "libpmix.so")):
        for folder in folders:
            path = next((p for p in (folder / name, folder / f"{name}.0") if p.exists()), None)
            if path is not None:
                found.setdefault(kind, str(path))
    return found


def _program(name: str, env: Mapping[str, str], workdir: Path) -> Path | None:
    if "/" in name:
        path = workdir / name
        return path if path.is_file() else None
    found = shutil.which(name, path=env.get("PATH"))
    return Path(found) if found else None


def _of_python(python: Path, env: Mapping[str, str], workdir: Path) -> Found | None:
    text = _output([str(python), "-c", _ASK_MPI4PY], env, workdir)
    version, _, library = text.partition("\nslurmkit-library:")
    library = library.strip()
    found = parse(version, needed=_needed(library))
    return found.replace(library=library, source="mpi4py") if found else None


def _library(program: Path, env: Mapping[str, str]) -> tuple[str, str] | None:
    """Return name and file of the MPI library that the dynamic linker finds for a program."""
    for line in _output(["ldd", str(program)], env).splitlines():
        if match := _MPI_LIBRARY.match(line):
            return match[1], match[2]
    return None


def _of_library(path: str, env: Mapping[str, str]) -> Found | None:
    said = _output([sys.executable, "-I", "-S", "-c", _ASK_LIBRARY, path], env)
    found = parse(said, needed=_needed(path))
    if found is None:
        return None
    if found.family == "openmpi" and found.major < 5:
        # Only its own ompi_info knows whether it was built with Slurm's PMI, too.
        info = Path(path).resolve().parent.parent / "bin" / "ompi_info"
        more = parse(_output([str(info), "--parsable"], env)) if info.is_file() else None
        if more is not None and more.version == found.version:
            found = found.replace(interfaces=more.interfaces)
    return found.replace(library=path)


def _needed(path: str) -> tuple[str, ...]:
    try:
        return needed(path) if path else ()
    except OSError:
        return ()


def _on_path(env: Mapping[str, str]) -> Found | None:
    """Return the MPI whose tools are on PATH: those of the mpirun there, when there are several."""
    asked = [("ompi_info", ["--parsable"]), ("impi_info", ["-v"]), ("mpichversion", [])]
    found = []
    for name, options in asked:
        path = shutil.which(name, path=env.get("PATH"))
        said = parse(_output([path, *options], env)) if path else None
        if said is not None:
            found.append(said.replace(source=f"{name} on PATH"))
    if len(found) > 1 and (launcher := launcher_of(None, env)):
        found.sort(key=lambda item: item.family != launcher[1].family)
    return found[0] if found else None


def _launchers(found: Found | None, env: Mapping[str, str]) -> Iterator[str]:
    if found is not None and found.library:
        prefix = Path(found.library).resolve().parent
        for folder in (prefix.parent / "bin", prefix.parent.parent / "bin"):
            if (folder / "mpirun").is_file():
                yield str(folder / "mpirun")
    for name in ("mpirun", "mpirun.openmpi", "mpirun.mpich", "mpiexec.hydra", "mpiexec"):
        path = shutil.which(name, path=env.get("PATH"))
        if path:
            yield path


def _output(command: Sequence[str], env: Mapping[str, str], workdir: Path | None = None) -> str:
    """Return what a program prints; nothing when it fails, as then somebody else may know."""
    try:
        done = subprocess.run(
            list(command),
            env={**env, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=workdir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            check=False,
            errors="replace",
            encoding="utf-8",
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def environment() -> dict[str, str]:
    """Return this process's environment without what leads an MPI to a launcher."""
    prefixes = ("PMI_", "PMIX_", "OMPI_COMM", "SLURM_STEP")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
