"""Start one Slurm program, with a deadline; its failure becomes an error that quotes it."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slurmkit.errors import SlurmError, SlurmUnreachableError

#: What Slurm says when it has no answer from a controller, a configuration or munge.
UNREACHABLE_WORDS = (
    "Unable to contact slurm controller",
    "Unable to contact the slurm controller",
    "Could not establish a configuration source",
    "Unable to process configuration file",
    "Zero Bytes were transmitted or received",
    "Socket timed out on send/recv operation",
    "Unexpected message received",
    "Connection refused",
    "Connection reset by peer",
    "Broken pipe",
    "Munge encode failed",
    "Authentication not available",
    "If munged is up",
)
_STDERR_LIMIT = 2000


class SlurmTimeoutError(SlurmUnreachableError):
    """A Slurm program gave no answer in time; what it was asked to do may have happened."""


@dataclass(frozen=True)
class Output:
    """What a program that ended wrote and returned."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def complaint(self) -> str:
        """Its stderr on one line, cut to a readable length."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        return "; ".join(lines)[:_STDERR_LIMIT]

    @property
    def unreachable(self) -> bool:
        """Whether it failed because no controller, configuration or munge daemon answered."""
        return any(words in self.stderr for words in UNREACHABLE_WORDS)

    def error(self) -> SlurmError:
        """Return the error that describes this failure."""
        said = self.complaint or "nothing on stderr"
        message = f"{self.argv[0]} failed (exit code {self.returncode}): {said}"
        if self.unreachable:
            return SlurmUnreachableError(
                message, hint="check `scontrol ping`, SLURM_CONF and the munge daemon"
            )
        return SlurmError(message)


@dataclass(frozen=True)
class Runner:
    """How Slurm's programs are started.

    Attributes:
        environ: the environment they see; nothing of it is ever shown in an error.
        prefix: words before each program's name, such as ``("ssh", "login")``; empty for none.
        timeout_s: how long one program may take.
    """

    environ: Mapping[str, str]
    prefix: tuple[str, ...] = ()
    timeout_s: float = 30.0

    def has(self, program: str) -> bool:
        """Whether the program is on PATH; behind a prefix that is not looked into."""
        if self.prefix:
            return True
        return shutil.which(program, path=self.environ.get("PATH", os.defpath)) is not None

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        environ: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout_s: float | None = None,
    ) -> Output:
        """Run one program to its end, whatever its exit code.

        Raises:
            SlurmTimeoutError: it took longer than ``timeout_s`` and was killed.
            SlurmUnreachableError: the program does not exist.
        """
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        try:
            done = subprocess.run(
                [*self.prefix, *argv],
                input="" if stdin is None else stdin,
                capture_output=True,
                env=dict(self.environ if environ is None else environ),
                cwd=cwd,
                timeout=limit_s,
                check=False,
                encoding="utf-8",
                errors="replace",
            )
        except subprocess.TimeoutExpired as timeout:
            said = timeout.stderr.decode("utf-8", "replace").strip() if timeout.stderr else ""
            raise SlurmTimeoutError(
                f"{argv[0]} did not answer within {limit_s:g} s" + (f": {said}" if said else ""),
                hint="the controller may be down or overloaded: see `scontrol ping`",
            ) from None
        except FileNotFoundError as missing:
            if cwd is not None and missing.filename == cwd:
                raise SlurmError(f"{argv[0]}: the folder {cwd} does not exist") from None
            raise no_slurm_here(argv[0]) from None
        return Output(tuple(argv), done.returncode, done.stdout, done.stderr)

    def check(self, argv: Sequence[str], *, timeout_s: float | None = None) -> str:
        """Run one program that must succeed; return its stdout.

        Raises:
            SlurmError: it did not; the message carries its stderr.
        """
        output = self.run(argv, timeout_s=timeout_s)
        if output.returncode != 0:
            raise output.error()
        return output.stdout


def no_slurm_here(program: str) -> SlurmUnreachableError:
    """Return the error for a machine that lacks Slurm's programs."""
    return SlurmUnreachableError(
        f"no Slurm here: {program} is not on PATH",
        hint="load your site's Slurm module, use a login node, or try `slurmkit run` (no Slurm "
        "needed) or `slurmkit sandbox up` (a real Slurm on this machine)",
    )
