"""Which code a run runs: the git commit of the working folder and its uncommitted changes."""

import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from slurmkit.rundir.atomic import atomic_write
from slurmkit.rundir.layout import RunDir

MAX_DIFF_BYTES = 1 << 20
_TIMEOUT_S = 10.0
# More than is kept, so that a secret across the cut is still seen whole and redacted.
_READ_BYTES = MAX_DIFF_BYTES + (1 << 16)


@dataclass(frozen=True)
class CodeVersion:
    """The state of a working folder.

    Attributes:
        workdir: the folder.
        commit: the commit's full hash; empty when the folder is under no version control.
        branch: the branch's name; empty on a detached head.
        dirty: whether tracked files differ from the commit; None when not known.
        diff_bytes: how long the diff is in code.diff.
        diff_truncated: whether it was cut at MAX_DIFF_BYTES.
        problem: why something is not known, in git's words; empty for none.
    """

    workdir: str
    commit: str = ""
    branch: str = ""
    dirty: bool | None = None
    diff_bytes: int = 0
    diff_truncated: bool = False
    problem: str = ""


def capture_code(
    workdir: Path, *, redact: Iterable[str] = (), timeout_s: float = _TIMEOUT_S
) -> tuple[CodeVersion, bytes]:
    """Return the folder's version and the diff of its tracked files against the commit.

    Untracked files are left out, for that is where people keep their keys. Never raises for what
    git says: a run without git is a run all the same.

    Args:
        workdir: the folder that the program runs in.
        redact: texts, such as the values of secrets, to be replaced by ``***`` in the diff.
        timeout_s: bound of all git commands together, seconds.
    """
    git = _Git(workdir, time.monotonic() + timeout_s)
    commit = git.ask("rev-parse", "--verify", "HEAD")
    if not commit:
        return CodeVersion(str(workdir), problem=git.problem), b""
    branch = git.ask("symbolic-ref", "--quiet", "--short", "HEAD")
    # No external diff or textconv program: those run the user's commands.
    diff = git.run("diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color")
    truncated = diff is not None and len(diff) > MAX_DIFF_BYTES
    kept = _redacted(diff or b"", redact)[:MAX_DIFF_BYTES]
    version = CodeVersion(
        workdir=str(workdir),
        commit=commit,
        branch=branch,
        dirty=None if diff is None else bool(diff),
        diff_bytes=len(kept),
        diff_truncated=truncated,
        problem=git.problem,
    )
    return version, kept


def write_code(run: RunDir, version: CodeVersion, diff: bytes) -> None:
    """Write code.json, and code.diff when there is a diff."""
    if diff:
        atomic_write(run.diff_path, diff, mode=0o600)
    atomic_write(run.code_path, json.dumps(asdict(version), indent=2) + "\n")


def _redacted(diff: bytes, texts: Iterable[str]) -> bytes:
    for text in texts:
        for line in os.fsencode(text).split(b"\n"):  # a diff puts a sign before every line
            if len(line) >= 4:
                diff = diff.replace(line, b"***")
    return diff


class _Git:
    """git in one folder with one deadline; remembers the first thing that went wrong."""

    def __init__(self, workdir: Path, deadline: float) -> None:
        self.problem = ""
        self._workdir = workdir
        self._deadline = deadline
        # A GIT_DIR left over from a hook would describe another repository.
        self._env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        self._env |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}

    def ask(self, *args: str) -> str:
        return os.fsdecode(self.run(*args) or b"").strip()

    def run(self, *args: str) -> bytes | None:
        """Return what git printed, a little more than MAX_DIFF_BYTES at most; None: it failed."""
        command = ["git", "-C", str(self._workdir), *args]
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(
                    command,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=said,
                )
            except OSError as error:
                self._note(f"git: {error.strerror}")
                return None
            with process:
                output = self._read(process)
                process.kill()
            if output is None:
                self._note(f"git {args[0]} took too long")
            elif process.returncode not in (0, -9) and not output:
                said.seek(0)
                self._note(said.read(4096).decode("utf-8", "replace").strip().partition("\n")[0])
                return None
        return output

    def _read(self, process: "subprocess.Popen[bytes]") -> bytes | None:
        """Return its output up to a bound; None past the deadline."""
        assert process.stdout is not None
        output = bytearray()
        poll = select.poll()
        poll.register(process.stdout, select.POLLIN)
        while len(output) <= _READ_BYTES:
            if not poll.poll(max(0.0, self._deadline - time.monotonic()) * 1000):
                return None
            chunk = os.read(process.stdout.fileno(), 1 << 16)
            if not chunk:
                process.wait()
                break
            output += chunk
        return bytes(output)

    def _note(self, problem: str) -> None:
        self.problem = self.problem or problem
