"""Where every rank stands: Python stacks where there are any, else what the kernel knows.

A rank with a Session writes its own stacks on a signal (faulthandler, which works while the
interpreter waits in C code, too). Another Python rank is looked at from outside by py-spy, where
that is installed. For the rest, /proc tells the state, the system call and, as root, the kernel's
stack.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_POLL_S = 0.05
_SIGNAL_WITHIN_S = 3.0
_PY_SPY_WITHIN_S = 10.0
_MAX_BYTES = 1 << 20
_MAX_PROCESSES = 24
_FROM_PROC = ("status", "wchan", "syscall", "stack")
_SHOWN = ("Name:", "State:", "Tgid:", "PPid:", "VmRSS:", "Threads:", "SigBlk:", "SigIgn:")


@dataclass(frozen=True)
class Target:
    """One rank to look at.

    Attributes:
        rank: which; None for a launcher per node.
        pid: its process.
        dump_signal: what makes it write its stacks, such as ``USR1``; empty for none.
        dump_path: where to.
    """

    rank: int | None
    pid: int
    dump_signal: str = ""
    dump_path: str = ""


def stack_name(target: Target, host: str) -> str:
    """Return the file name of a rank's stacks, such as ``rank-00003.txt``."""
    return f"launcher-{host}.txt" if target.rank is None else f"rank-{target.rank:05d}.txt"


def dump_all(targets: Sequence[Target], folder: Path, host: str, timeout_s: float) -> list[str]:
    """Save the stacks of all targets and return the names of the files written.

    Args:
        targets: the ranks of this node.
        folder: where to.
        host: this node.
        timeout_s: for all of them together.
    """
    deadline = time.monotonic() + timeout_s
    before = {target: _size(target.dump_path) for target in targets}
    sizes = {target: size for target, size in before.items() if _asked(target)}
    own = _own_words(sizes, min(deadline, time.monotonic() + _SIGNAL_WITHIN_S))
    written = []
    for target in targets:
        head = f"rank {target.rank} on {host}, process {target.pid}, {time.ctime()}\n\n"
        text = own.get(target, "")
        if text:
            body = f"{text}\n\n{from_proc(target.pid)}"
        else:
            body = "\n\n".join(_from_outside(pid, deadline) for pid in _family(target.pid))
        name = stack_name(target, host)
        if _save(folder, name, head + body):
            written.append(name)
    return written


def _asked(target: Target) -> bool:
    """Send the signal, if the rank told which; return whether it was sent."""
    if not target.dump_signal or not target.dump_path:
        return False
    number = getattr(signal, f"SIG{target.dump_signal.removeprefix('SIG')}", None)
    if number is None:
        return False
    try:
        os.kill(target.pid, number)
    except OSError:
        return False
    return True


def _own_words(sizes: dict[Target, int], deadline: float) -> dict[Target, str]:
    """Return what the ranks have written themselves since their files had these sizes.

    All of them were asked before; a file is taken when it has not grown for two looks.
    """
    seen: dict[Target, int] = {}
    done: dict[Target, str] = {}
    while len(done) < len(sizes) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        for target, before in sizes.items():
            size = _size(target.dump_path)
            if target not in done and size > before and seen.get(target) == size:
                done[target] = _tail_from(target.dump_path, before)
            seen[target] = size
    return done


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _tail_from(path: str, start: int) -> str:
    try:
        with Path(path).open("rb") as file:
            file.seek(start)
            return file.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _from_outside(pid: int, deadline: float) -> str:
    text = from_py_spy(pid, deadline) if is_python(pid) else ""
    return f"{text}\n\n{from_proc(pid)}" if text else from_proc(pid)


def is_python(pid: int) -> bool:
    """Whether a process runs a Python interpreter."""
    try:
        program = Path(f"/proc/{pid}/exe").readlink().name
        if program.startswith("python"):
            return True
        return "libpython" in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="ignore")
    except OSError:
        return False


def from_py_spy(pid: int, deadline: float) -> str:
    """Return a process's Python stacks as py-spy sees them; empty where it cannot."""
    program = shutil.which("py-spy") or str(Path(sys.executable).with_name("py-spy"))
    timeout_s = min(_PY_SPY_WITHIN_S, deadline - time.monotonic())
    if timeout_s <= 0 or not Path(program).exists():
        return ""
    try:
        done = subprocess.run(
            [program, "dump", "--nonblocking", "--pid", str(pid)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout[:_MAX_BYTES].decode("utf-8", "replace").rstrip()


def from_proc(pid: int) -> str:
    """Return what /proc tells of a process and where it waits."""
    parts = [f"/proc/{pid}: {_command(pid)}"]
    for name in _FROM_PROC:
        try:
            text = Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            text = f"({error.strerror})"
        if name == "status":
            text = "\n".join(line for line in text.splitlines() if line.startswith(_SHOWN))
        parts.append(f"{name}: {text.strip()}")
    return "\n".join(parts)


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError as error:
        return f"({error.strerror})"
    return b" ".join(words).decode("utf-8", "replace")[:500].strip()


def _family(pid: int) -> list[int]:
    """Return a process and its descendants: a rank may be a shell that waits for the program."""
    found = [pid]
    for parent in found:
        if len(found) >= _MAX_PROCESSES:
            break
        with contextlib.suppress(OSError):
            path = Path(f"/proc/{parent}/task/{parent}/children")
            found += [int(word) for word in path.read_text(encoding="ascii").split()]
    return found[:_MAX_PROCESSES]


def _save(folder: Path, name: str, text: str) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{name}.{os.getpid()}"
        temporary.write_text(text, encoding="utf-8", errors="replace")
        temporary.replace(folder / name)
    except OSError:
        return False
    return True
