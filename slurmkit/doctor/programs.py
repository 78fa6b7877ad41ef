"""Run the small programs that say what is installed, without waiting for ever."""

import os
import shutil
import subprocess
from collections.abc import Sequence

from slurmkit.record import Record

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


class Ran(Record):
    """What a program did.

    Attributes:
        code: its exit code; None when it did not end in time.
        out: what it printed.
        err: what it said on standard error.
    """

    code: int | None
    out: str
    err: str

    @property
    def said(self) -> str:
        """Its last line of complaint, or of output."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1].strip()[:200] if lines else "nothing"


def find(program: str) -> str:
    """Return the path of a program, also where only root's PATH has it; empty for none."""
    path = f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"
    return shutil.which(program, path=path) or ""


def run(argv: Sequence[str], timeout_s: float = 5.0) -> Ran | None:
    """Run a program in the C locale; None when it is not installed."""
    path = find(argv[0])
    if not path:
        return None
    try:
        done = subprocess.run(
            [path, *argv[1:]],
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ran(None, "", f"{argv[0]} did not end within {timeout_s:g} s")
    except OSError as error:
        return Ran(126, "", f"{path}: {error.strerror}")
    return Ran(done.returncode, done.stdout, done.stderr)
