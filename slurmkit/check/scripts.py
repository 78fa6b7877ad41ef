"""What can be read from shell text and command lines without running them."""

import re
import subprocess
from collections.abc import Sequence

_HEREDOC = re.compile(r"<<-?\s*(['\"]?)([A-Za-z_]\w*)\1")
_PYTHON = re.compile(r"python(?:\d+(?:\.\d+)*)?")
_PYTHON_WITH_VALUE = frozenset({"-W", "-X", "--check-hash-based-pycs"})
_PYTHON_NO_FILE = frozenset({"-", "-h", "-V", "--help", "--version"})
# -c and -m, alone or behind flags that take no value (-um), take what follows for themselves.
_PYTHON_CODE = re.compile(r"-[bBdEiIOPqRsSuvx]*[cm].*", re.DOTALL)
# Interpreters whose first argument, when it is no option, is the file they run.
_INTERPRETERS = frozenset({"bash", "sh", "dash", "zsh", "perl", "ruby", "Rscript", "julia", "node"})
_TIMEOUT_S = 10


def directives_after_command(script: str) -> list[int]:
    """Return the line numbers of ``#SBATCH`` lines that sbatch ignores.

    sbatch reads directives up to the first line that is neither empty nor a comment. What stands
    in a here document is another file's text and is left out.
    """
    ignored: list[int] = []
    seen_command = False
    end_of_document = ""
    for number, line in enumerate(script.split("\n"), start=1):
        text = line.strip()
        if end_of_document:
            end_of_document = "" if text == end_of_document else end_of_document
        elif line.startswith("#SBATCH"):
            if seen_command:
                ignored.append(number)
        elif text and not text.startswith("#"):
            seen_command = True
            match = _HEREDOC.search(text)
            end_of_document = match[2] if match else ""
    return ignored


def script_argument(command: Sequence[str]) -> int | None:
    """Return which argument is the file that an interpreter runs; None when it is not plain to see.

    ``["python", "-u", "train.py", "--lr", "1"]`` gives 2.
    """
    program = command[0].rpartition("/")[2]
    index: int | None = None
    if _PYTHON.fullmatch(program):
        index = _python_file(command)
    elif program in _INTERPRETERS and len(command) > 1 and not command[1].startswith("-"):
        index = 1
    # A swept value is known only when the job runs.
    return None if index is None or "{sweep." in command[index] else index


def _python_file(command: Sequence[str]) -> int | None:
    index = 1
    while index < len(command):
        argument = command[index]
        if argument in _PYTHON_NO_FILE or _PYTHON_CODE.fullmatch(argument):
            return None
        if not argument.startswith("-"):
            return index
        index += 2 if argument in _PYTHON_WITH_VALUE else 1
    return None


def shell_complaint(text: str) -> str:
    """Return what bash says about the syntax of shell lines; empty when it can read them.

    ``bash -n`` reads without running. A machine without bash says nothing.
    """
    try:
        done = subprocess.run(
            ["bash", "-n"],
            input=text,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            encoding="utf-8",
            errors="replace",
            env={"LC_ALL": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"},
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[0].removeprefix("bash: ") if lines else "bash cannot read it"
