"""Scripts of a site, read by their own interpreters: Lua by luac, shell by bash -n."""

import ast
import re
import shutil
import subprocess
from functools import partial

from slurmkit.errors import Location
from slurmkit.sandbox.scripts import PATH
from slurmkit.sitecheck import registry
from slurmkit.sitecheck.candidate import Candidate, File
from slurmkit.sitecheck.registry import Problems

fault = partial(registry.fault, group="Programs and plugins")

LUA = fault("lua-syntax", "A Lua script cannot be read.", "Mend it; `luac -p FILE` tells the same.")
SHELL = fault(
    "shell-syntax", "A shell script cannot be read.", "Mend it; `bash -n FILE` tells the same."
)
PYTHON = fault("python-syntax", "A Python script cannot be read.", "Mend it.")

_LUAC = ("luac", "luac5.4", "luac5.3", "luac5.1")
_PLACE = re.compile(r"(?:^|: )(?:stdin|bash: line|line|-)(?:: line)?[: ]*(\d+): (.*)")
_TIMEOUT_S = 10.0


def problems(candidate: Candidate) -> Problems:
    """Yield what interpreters that this machine has say of the site's scripts."""
    luac = next((name for name in _LUAC if shutil.which(name, path=PATH)), "")
    for path, file in candidate.files.items():
        first = file.content.split(b"\n", 1)[0]
        if path.endswith(".lua") and luac:
            yield from _ask([luac, "-p", "-"], file, LUA)
        elif path.endswith(".sh") or (first.startswith(b"#!") and b"sh" in first):
            if b"python" not in first:
                yield from _ask(["bash", "-n"], file, SHELL)
        elif first.startswith(b"#!") and b"python" in first:
            yield from _python(file)


def _ask(command: list[str], file: File, broken: registry.Fault) -> Problems:
    try:
        done = subprocess.run(
            command,
            input=file.content,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            env={"PATH": PATH, "LANG": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return
    if done.returncode == 0:
        return
    said = done.stderr.decode(errors="replace").strip().splitlines()
    found = next((match for line in said if (match := _PLACE.search(line))), None)
    line, text = (int(found[1]), found[2]) if found else (1, said[0] if said else "unreadable")
    yield broken(text, Location(file.shown, line, 1))


def _python(file: File) -> Problems:
    try:
        ast.parse(file.content)
    except SyntaxError as error:
        yield PYTHON(error.msg, Location(file.shown, error.lineno or 1, error.offset or 1))
    except ValueError as error:  # a NUL byte
        yield PYTHON(str(error), Location(file.shown, 1, 1))
