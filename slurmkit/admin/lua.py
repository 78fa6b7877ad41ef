"""The Lua scripts of a site's policy: put beside slurm.conf, compared with it, and taken away."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from slurmkit.admin.files import cannot, digest_of, replace_file
from slurmkit.admin.install import forget, read_manifest
from slurmkit.admin.places import Places
from slurmkit.errors import SlurmkitError
from slurmkit.resources import shipped_dir

POLICY = "slurmkit_policy.lua"
#: In the order that they are written: a script finds what it reads.
SCRIPTS = ("slurmkit_rules.lua", POLICY, "job_submit.lua", "cli_filter.lua")
#: The setting of slurm.conf that makes Slurm load a script.
SETTINGS = {"job_submit.lua": "JobSubmitPlugins", "cli_filter.lua": "CliFilterPlugins"}
_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Script:
    """One Lua file as found.

    Attributes:
        name: file name.
        path: where it is, or should be.
        state: absent, installed (as shipped), edited, or foreign: not from here.
        loaded: the line of slurm.conf that makes Slurm load it; None when nothing does.
    """

    name: str
    path: str
    state: str
    loaded: str | None = None


def install_lua(places: Places) -> list[Path]:
    """Put the scripts beside slurm.conf and return the files written; a policy that is there stays.

    slurm.conf is not touched: its line is what switches a policy on, and comes last.

    Raises:
        SlurmkitError: a script of another origin is in the way, or a file cannot be written.
    """
    folder, source = places.slurm_conf.parent, shipped_dir("plugins") / "lua"
    found = {script.name: script for script in scripts(places)}
    for script in found.values():
        if script.name != POLICY and script.state in ("foreign", "edited"):
            raise SlurmkitError(
                f"{script.path} is there and not the one that was installed; nothing was changed",
                hint="move it away if nobody needs it; a site has one script of that name",
            )
    written, sums = [], dict(read_manifest(places).get("lua", {}))
    try:
        for name in SCRIPTS:
            path = folder / name
            if name == POLICY and found[name].state != "absent":
                continue
            content = (source / name).read_bytes()
            replace_file(path, content)
            sums[places.inside(path)] = digest_of(content)
            written.append(path)
        forget(places, read_manifest(places) | {"lua": sums})
    except OSError as error:
        raise cannot(error) from error
    return written


def uninstall_lua(places: Places) -> tuple[list[Path], list[Path]]:
    """Remove the scripts that were installed; return what is gone, and what was edited and stays.

    Raises:
        SlurmkitError: slurm.conf still loads them: no job could be submitted without.
    """
    manifest = read_manifest(places)
    sums = manifest.pop("lua", {})
    if not sums:
        return [], []
    lines = [script.loaded for script in scripts(places) if script.loaded]
    if lines:
        raise SlurmkitError(
            f"{places.slurm_conf} still has {' and '.join(lines)}: without the scripts sbatch "
            "fails on this host, and slurmctld may not start; they stay",
            hint="take lua out of it, `scontrol reconfigure`, then uninstall again",
        )
    gone, kept = [], []
    try:
        for name, digest in reversed(sums.items()):
            path = places.root / name.lstrip("/")
            if not path.exists():
                continue
            if digest_of(path.read_bytes()) != digest:
                kept.append(path)
                continue
            path.unlink()
            gone.append(path)
        forget(places, manifest)
    except OSError as error:
        raise cannot(error) from error
    return gone, kept


def scripts(places: Places) -> tuple[Script, ...]:
    """Return all scripts as they are."""
    folder, source = places.slurm_conf.parent, shipped_dir("plugins") / "lua"
    sums = read_manifest(places).get("lua", {})
    settings = _settings(places.slurm_conf)
    found = []
    for name in SCRIPTS:
        path = folder / name
        state = "absent"
        if path.is_file():
            digest = digest_of(path.read_bytes())
            recorded = sums.get(places.inside(path))
            shipped = digest_of((source / name).read_bytes())
            same = digest in (recorded, shipped)
            state = "installed" if same else "edited" if recorded else "foreign"
        setting = SETTINGS.get(name, "")
        found.append(Script(name, str(path), state, settings.get(setting)))
    return tuple(found)


def lua_problems(found: tuple[Script, ...]) -> list[str]:
    """Return what is wrong with the scripts, one sentence each."""
    problems = find_problems(found)
    policy = next(script for script in found if script.name == POLICY)
    if policy.state != "absent":
        problems += _policy_problems(Path(policy.path))
    return problems


def find_problems(found: tuple[Script, ...]) -> list[str]:
    """Return what follows from the files and slurm.conf alone; pure."""
    problems = []
    states = {script.name: script.state for script in found}
    for script in found:
        if script.loaded and script.state == "absent":
            problems.append(f"slurm.conf has {script.loaded}, but {script.path} is not there")
        if script.state == "edited" and script.name != POLICY:
            problems.append(f"{script.path} was changed after it was installed")
        if script.loaded and script.state == "installed":
            problems += [
                f"{script.path} needs {name} beside it: the policy does not hold"
                for name in ("slurmkit_rules.lua", POLICY)
                if states[name] == "absent"
            ]
    return problems


def _settings(slurm_conf: Path) -> dict[str, str]:
    """Return the lines of slurm.conf that load Lua scripts, by setting."""
    if not slurm_conf.is_file():
        return {}
    text = slurm_conf.read_text(encoding="utf-8", errors="surrogateescape")
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    found = {}
    for name in SETTINGS.values():
        for line in lines:
            match = re.fullmatch(rf"{name}\s*=\s*(\S+)", line, re.IGNORECASE)
            if match and "lua" in re.split(r"[,/]", match[1].lower()):
                found[name] = line
    return found


def _policy_problems(policy: Path) -> list[str]:
    """Let Lua read the policy; nothing is said where there is no Lua."""
    lua = next((path for name in ("lua", "lua5.4", "lua5.1") if (path := shutil.which(name))), None)
    if lua is None:
        return []
    checker = shipped_dir("plugins") / "lua/check_policy.lua"
    done = subprocess.run(
        [lua, str(checker), str(policy)],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    return done.stderr.splitlines() if done.returncode else []
