"""Compare the plugins that are installed with the Slurm that runs."""

from dataclasses import dataclass
from pathlib import Path

from slurmkit import __version__
from slurmkit.admin.build import PLUGINS
from slurmkit.admin.files import digest_of
from slurmkit.admin.headers import series
from slurmkit.admin.install import read_manifest
from slurmkit.admin.lua import Script, lua_problems, scripts
from slurmkit.admin.note import Note, read_note
from slurmkit.admin.places import Places, running_version
from slurmkit.admin.plugstack import Entry, entries, includes


@dataclass(frozen=True)
class Installed:
    """One plugin as found.

    Attributes:
        name: file name.
        path: where it is, or should be.
        note: what it was built from and for; None when it is not there.
        entry: the line of plugstack.conf that loads it; None when nothing does.
        changed: whether it is another file than ``install`` wrote.
    """

    name: str
    path: str
    note: Note | None
    entry: Entry | None
    changed: bool = False


@dataclass(frozen=True)
class Report:
    """What is installed against what runs; no problems: all is well.

    Attributes:
        slurm: release of the Slurm on this machine; empty when there is none.
        plugstack: the file that loads plugins.
        plugins: every plugin of slurmkit.
        lua: the Lua scripts beside slurm.conf.
        problems: what is wrong, one sentence each.
    """

    slurm: str
    plugstack: str
    plugins: tuple[Installed, ...]
    lua: tuple[Script, ...]
    problems: tuple[str, ...]


def check(places: Places) -> Report:
    """Look at plugins, plugstack.conf and the running Slurm.

    Raises:
        SlurmkitError: the manifest is broken.
    """
    runs = running_version(places.root)
    loaded = _loaded(places, places.plugstack)
    sums = read_manifest(places).get("files", {})
    plugins = []
    for name in PLUGINS:
        path = places.plugin_dir / name
        entry = next((entry for entry in loaded if Path(entry.plugin).name == name), None)
        if entry and entry.plugin.startswith("/"):
            path = places.root / entry.plugin.lstrip("/")
        digest = sums.get(places.inside(path))
        changed = bool(digest) and path.is_file() and digest_of(path.read_bytes()) != digest
        plugins.append(Installed(name, str(path), read_note(path), entry, changed))
    found, lua = tuple(plugins), scripts(places)
    problems = (*find_problems(found, runs), *lua_problems(lua))
    return Report(runs, str(places.plugstack), found, lua, problems)


def find_problems(plugins: tuple[Installed, ...], runs: str) -> list[str]:
    """Return what is wrong, one sentence each; pure.

    Args:
        plugins: what was found.
        runs: the release of Slurm; empty when there is none.
    """
    problems = []
    if not runs:
        problems.append("no slurmd and no srun on this machine: nothing loads plugins")
    for plugin in plugins:
        name, note, entry = plugin.name, plugin.note, plugin.entry
        if note is None and entry is None:
            problems.append(f"{name} is not installed")
        elif note is None:
            end = "every job fails" if entry and entry.kind == "required" else "it is left out"
            problems.append(f"plugstack.conf loads {plugin.path}, which is not there: {end}")
        elif entry is None:
            problems.append(f"{name} is there, but plugstack.conf does not load it")
        if note and runs and series(note.slurm) != series(runs):
            required = entry is not None and entry.kind == "required"
            end = "every job fails" if required else "Slurm leaves it out"
            problems.append(f"{name} is built for Slurm {note.slurm}, but {runs} runs: {end}")
        if note and note.slurmkit != __version__:
            problems.append(f"{name} is of slurmkit {note.slurmkit}; this is {__version__}")
        if plugin.changed:
            problems.append(f"{plugin.path} was changed after it was installed")
    return problems


def _loaded(places: Places, path: Path, depth: int = 0) -> list[Entry]:
    """Return what a plugstack.conf loads, with what it includes; an include may include again."""
    if not path.is_file() or depth > 4:
        return []
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    found = entries(text)
    for pattern in includes(text):
        folder = places.root if pattern.startswith("/") else path.parent
        for file in sorted(folder.glob(pattern.lstrip("/"))):
            found += _loaded(places, file, depth + 1)
    return found
