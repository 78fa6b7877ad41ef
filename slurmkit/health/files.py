"""Small files that the health programs keep on a node: the old one or the new one, never half."""

import os
from pathlib import Path


def put_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file under another name and rename it; its folder is made when it is missing.

    Raises:
        OSError: the file system refuses.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
