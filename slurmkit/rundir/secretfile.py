"""The secrets of a run: a 0600 file that exists only while the job may need it."""

import os

from slurmkit.rundir.envfile import format_exports, parse_exports

SECRETS_NAME = "secrets.env"


def write_secrets(run_dir: str | os.PathLike[str], values: dict[str, str]) -> None:
    """Store the secrets of a run, readable by its owner alone.

    Raises:
        UsageError: a name is no variable name, or a value holds NUL.
        OSError: the file cannot be written.
    """
    from slurmkit.rundir.atomic import atomic_write  # noqa: PLC0415 (ranks only read)

    atomic_write(secrets_path(run_dir), os.fsencode(format_exports(values)), mode=0o600)


def read_secrets(run_dir: str | os.PathLike[str]) -> dict[str, str] | None:
    """Return the secrets of a run; None when it has none (any more).

    Raises:
        UsageError: the file is damaged; the message holds no value.
        OSError: the file is there and cannot be read.
    """
    path = secrets_path(run_dir)
    try:
        return read_env_file(path)
    except FileNotFoundError:
        return None


def remove_secrets(run_dir: str | os.PathLike[str]) -> bool:
    """Remove the secrets; return whether there were any."""
    from slurmkit.rundir.atomic import sync_folder  # noqa: PLC0415 (ranks only read)

    try:
        os.unlink(secrets_path(run_dir))  # noqa: PTH108
    except FileNotFoundError:
        return False
    sync_folder(run_dir)
    return True


def read_env_file(path: str) -> dict[str, str]:
    """Return the variables of any environment file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(descriptor, 1 << 16):
            chunks.append(chunk)
    finally:
        os.close(descriptor)
    return parse_exports(os.fsdecode(b"".join(chunks)), path)


def secrets_path(run_dir: str | os.PathLike[str]) -> str:
    """Return where the secrets of a run are."""
    return os.path.join(run_dir, SECRETS_NAME)  # noqa: PTH118 (no pathlib: every rank runs this)
