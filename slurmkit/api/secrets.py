"""Values of `secrets:`, read on the submitter's side: the only place where they are looked up."""

import os
import stat
from pathlib import Path

from slurmkit.errors import UsageError
from slurmkit.spec.models import JobSpec, SecretSource


def read_secret_values(spec: JobSpec, base_dir: Path) -> dict[str, str]:
    """Return the value of every secret by the name that tasks see.

    Args:
        spec: the job; each secret names a variable of this environment, or a file.
        base_dir: where relative file names start.

    Raises:
        UsageError: a secret is missing, or its file can be read by others. Never holds a value.
    """
    return {secret.name: _read(secret, base_dir) for secret in spec.secrets}


def _read(secret: SecretSource, base_dir: Path) -> str:
    if secret.file is not None:
        return _read_file(secret.name, base_dir / Path(secret.file).expanduser())
    variable = secret.env or secret.name
    value = os.environ.get(variable)
    if value is None:
        raise UsageError(
            f"secret {secret.name}: there is no {variable} in the environment",
            hint=f"export {variable}=... before you submit, or name a file with mode 0600",
        )
    return value


def _read_file(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise UsageError(
                    f"secret {name}: {path} has mode {mode:04o}, so others can read it",
                    hint=f"chmod 600 {path}",
                )
            # Editors end files with a newline that no token has.
            return os.fsdecode(file.read()).removesuffix("\n")
    except OSError as error:
        raise UsageError(f"secret {name}: cannot read {path}: {error.strerror}") from error
