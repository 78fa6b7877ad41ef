"""Which NCCL a program will load, without loading it."""

import os

_PACKAGE = "nvidia_nccl_"


def nccl_version(env: dict[str, str], program: str) -> tuple[int, ...] | None:
    """Return the release, such as (2, 21, 5); None when nothing tells.

    The program's own Python environment tells it by the name of a folder: torch's wheels bring
    NCCL as the package nvidia-nccl-cu12. NVIDIA's containers set NCCL_VERSION.

    Args:
        env: the task's environment; SLURMKIT_NCCL_VERSION comes first.
        program: what the task will execute: a python, or a script in a Python environment.
    """
    given = env.get("SLURMKIT_NCCL_VERSION")
    if given:
        return parse(given)
    return _of_environment(env, program) or parse(env.get("NCCL_VERSION", ""))


def parse(text: str) -> tuple[int, ...] | None:
    """Return the numbers of a release such as 2.21.5 or 2.19.3-1; None when it is none."""
    parts = text.partition("-")[0].split(".")
    if len(parts) < 2 or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    return tuple(map(int, parts))


def _of_environment(env: dict[str, str], program: str) -> tuple[int, ...] | None:
    path = _found(env, program)
    if not path:
        return None
    library = os.path.join(os.path.dirname(os.path.dirname(path)), "lib")  # noqa: PTH118, PTH120 (hot path: no pathlib)
    for python in _names(library, "python3"):
        for name in _names(os.path.join(library, python, "site-packages"), _PACKAGE):  # noqa: PTH118
            if name.endswith(".dist-info"):
                return parse(name.removesuffix(".dist-info").rpartition("-")[2])
    return None


def _found(env: dict[str, str], program: str) -> str:
    """Return the path that exec will take; a link is not followed, it leads out of a venv."""
    if "/" in program or not program:
        return os.path.abspath(program) if program else ""  # noqa: PTH100
    for folder in env.get("PATH", os.defpath).split(":"):
        path = os.path.join(folder, program)  # noqa: PTH118
        if os.access(path, os.X_OK):
            return os.path.abspath(path)  # noqa: PTH100
    return ""


def _names(folder: str, prefix: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.startswith(prefix))  # noqa: PTH208
    except OSError:
        return []
