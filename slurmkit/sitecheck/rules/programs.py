"""Programs that Slurm is told to run: whether they are in the site, and may be run."""

from fnmatch import fnmatch
from functools import partial
from pathlib import PurePosixPath

from slurmkit.errors import Location, Problem
from slurmkit.sitecheck import registry, words
from slurmkit.sitecheck.candidate import File
from slurmkit.sitecheck.config import Cluster
from slurmkit.sitecheck.registry import Problems, rule
from slurmkit.sitecheck.syntax import Pair

fault = partial(registry.fault, group="Programs and plugins")

MISSING = fault(
    "program-missing",
    "Slurm is to run a program that the site does not bring.",
    "Add the file, or mend the path.",
)
MODE = fault(
    "program-mode", "A program has no permission to be run.", "chmod +x the file in the site."
)
INTERPRETER = fault(
    "program-interpreter",
    "A script does not start with #! and an interpreter.",
    "Start it with #!/bin/bash.",
)
LUA = fault(
    "lua-missing",
    "A Lua plugin is switched on, and its script is not beside slurm.conf.",
    "Add the script.",
)
SPANK = fault(
    "spank-missing",
    "plugstack.conf names a plugin that the site does not bring, or whose name is misspelt.",
    "Mend the name, or add the plugin.",
)
PLUGSTACK = fault(
    "plugstack-syntax",
    "A line of plugstack.conf is none of required, optional and include.",
    "Write `required PLUGIN.so ARGUMENTS`, or optional.",
)
PLUGSTACK_INCLUDE = fault(
    "plugstack-include", "plugstack.conf includes what the site does not bring.", "Add the files."
)
TASK_PROLOG = fault(
    "prolog-pattern",
    "A pattern of program names fits no file of the site.",
    "Add a program, or remove the line.",
)

_PROGRAMS = (
    *("Prolog", "Epilog", "PrologSlurmctld", "EpilogSlurmctld", "TaskProlog", "TaskEpilog"),
    *("SrunProlog", "SrunEpilog", "ResvProlog", "ResvEpilog", "HealthCheckProgram"),
    *("ResumeProgram", "SuspendProgram", "ResumeFailProgram", "RebootProgram"),
    *("UnkillableStepProgram", "SlurmctldPrimaryOnProg", "SlurmctldPrimaryOffProg", "MailProg"),
)
_SCRIPTS = {"jobsubmitplugins": "job_submit.lua", "clifilterplugins": "cli_filter.lua"}
#: SPANK plugins by the names that are known: misspelt ones are found by them.
_SPANK = ("spank_slurmkit_rank.so", "spank_slurmkit_affinity.so", "spank_pyxis.so")


@rule
def programs(cluster: Cluster) -> Problems:
    """Whether programs are there and may be run."""
    for name in _PROGRAMS:
        for pair in cluster.slurm.settings.get(name.lower(), []):
            for path in pair.value.split(","):
                if path and path.split()[0].startswith("/"):
                    yield from _program(cluster, pair, path.split()[0])


def _program(cluster: Cluster, pair: Pair, path: str) -> Problems:
    if "*" in path or "?" in path:
        found = [file for name, file in cluster.candidate.files.items() if fnmatch(name, path)]
        if not found and _ours(cluster, path):
            message = f"{pair.key}={path} fits no file of the site"
            yield _lost(cluster, TASK_PROLOG(message, pair.value_where, key=pair.key))
        for file in found:
            yield from _runnable(cluster, pair, path, file)
        return
    file_ = cluster.file_at(path)
    if file_ is not None:
        yield from _runnable(cluster, pair, path, file_)
    elif _ours(cluster, path):
        yield _lost(cluster, MISSING(f"{pair.key}={path}", pair.value_where, key=pair.key))


def _lost(cluster: Cluster, problem: Problem) -> Problem:
    """Return what is said of a file that is not there: .conf files alone may be less than all."""
    return problem if cluster.candidate.is_site else problem.replace(warning=True)


def _ours(cluster: Cluster, path: str) -> bool:
    """Return whether a path lies where the site brings files, so that it would bring this, too."""
    folder = str(PurePosixPath(path).parent)
    if folder == cluster.candidate.etc or folder.startswith(f"{cluster.candidate.etc}/"):
        return True
    return any(str(PurePosixPath(name).parent) == folder for name in cluster.candidate.files)


def _runnable(cluster: Cluster, pair: Pair, path: str, file: File) -> Problems:
    if not file.mode & 0o100 and cluster.candidate.is_site:
        message = f"{pair.key}={path}: {file.shown} has mode {file.mode:04o}"
        yield MODE(message, pair.value_where, key=pair.key)
    if not file.content.startswith((b"#!", b"\x7fELF")):
        yield INTERPRETER(f"{file.shown} has no #! line", Location(file.shown, 1, 1))


@rule
def lua(cluster: Cluster) -> Problems:
    """Whether scripts of Lua plugins are there."""
    if not cluster.candidate.is_site:
        return
    for key, script in _SCRIPTS.items():
        for word, where in cluster.slurm.words(key):
            if word.lower() not in ("lua", "job_submit/lua", "cli_filter/lua"):
                continue
            if cluster.candidate.conf(script) is None:
                yield LUA(f"there is no {cluster.candidate.etc}/{script}", where)


@rule
def plugstack(cluster: Cluster) -> Problems:
    """Whether plugstack.conf names plugins that can be."""
    told = cluster.slurm.value("PlugStackConfig", f"{cluster.candidate.etc}/plugstack.conf")
    file = cluster.file_at(told)
    if file is not None:
        yield from _stack(cluster, file, 0)
        return
    pair = cluster.slurm.pair("PlugStackConfig")
    if pair and cluster.candidate.is_site and _ours(cluster, told):
        yield PLUGSTACK_INCLUDE(f"there is no {told}", pair.value_where, key=pair.key)


def _stack(cluster: Cluster, file: File, depth: int) -> Problems:
    for index, line in enumerate(file.text.splitlines(), start=1):
        said = line.partition("#")[0].split()
        if not said:
            continue
        where = Location(file.shown, index, len(line) - len(line.lstrip()) + 1)
        if said[0] not in ("required", "optional", "include") or len(said) < 2:
            hint = words.meant(said[0], ("required", "optional", "include"))
            yield PLUGSTACK(f"cannot read {line.strip()[:60]!r}", where, hint)
        elif said[0] == "include":
            yield from _include(cluster, said[1], where, depth)
        else:
            yield from _plugin(cluster, said[0], said[1], where)


def _include(cluster: Cluster, pattern: str, where: Location, depth: int) -> Problems:
    path = pattern if pattern.startswith("/") else f"{cluster.candidate.etc}/{pattern}"
    found = [file for name, file in cluster.candidate.files.items() if fnmatch(name, path)]
    if not found and "*" not in path and _ours(cluster, path):  # a pattern may fit nothing yet
        yield PLUGSTACK_INCLUDE(f"there is no {path}", where)
    for file in found if depth < 8 else []:
        yield from _stack(cluster, file, depth + 1)


def _plugin(cluster: Cluster, kind: str, path: str, where: Location) -> Problems:
    name = PurePosixPath(path).name
    if path.startswith("/"):
        if kind == "required" and _ours(cluster, path) and cluster.file_at(path) is None:
            yield SPANK(f"required {path}, and the site brings no such file", where)
        return
    near = words.nearest(name, _SPANK)
    if near and name != near:
        yield SPANK(f"there is no plugin {name}", where, f"Did you mean {near}?")
