"""Put the plugins where Slurm loads them, and take them away again."""

import json
from pathlib import Path
from typing import Any

from slurmkit import __version__
from slurmkit.admin.build import PLUGINS
from slurmkit.admin.files import cannot, digest_of, replace_file
from slurmkit.admin.headers import series
from slurmkit.admin.note import read_note
from slurmkit.admin.places import Places, running_version
from slurmkit.admin.plugstack import Entry, with_block, without_block
from slurmkit.errors import SlurmkitError


def install(
    places: Places,
    built_dir: Path,
    *,
    mode: str = "warn",
    required: bool = False,
    entries: bool = True,
) -> list[Path]:
    """Install both plugins and their entries in plugstack.conf; return the files written.

    Each file is written under a name that nobody reads and renamed, the plugins before the entries:
    Slurm reads plugstack.conf at every launch, and a half-written one ends every job.

    Args:
        places: where to.
        built_dir: folder that ``build`` made.
        mode: the site's default for ``--slurmkit-affinity``: off, warn or strict.
        required: whether Slurm shall refuse every job where a plugin cannot be loaded; else it goes
            on without, as after an update of Slurm.
        entries: whether plugstack.conf gets our entries; a site's own files have them already.

    Raises:
        SlurmkitError: nothing is built there, it is for another Slurm, or a file cannot be written.
    """
    runs = running_version(places.root)
    for name in PLUGINS:
        note = read_note(built_dir / name)
        if note is None:
            raise SlurmkitError(
                f"{built_dir / name} is not there", hint="run `slurmkit plugins build` first"
            )
        if runs and series(note.slurm) != series(runs):
            raise SlurmkitError(
                f"{built_dir / name} is for Slurm {note.slurm}, but {runs} runs here",
                hint="build it against this Slurm's headers: slurmkit plugins build",
            )
    targets = [places.plugin_dir / name for name in PLUGINS]
    kind = "required" if required else "optional"
    loaded = [
        Entry(kind, places.inside(targets[0])),
        Entry(kind, places.inside(targets[1]), (f"mode={mode}",)),
    ]
    try:
        sums = {}
        for target in targets:
            content = (built_dir / target.name).read_bytes()
            replace_file(target, content)
            sums[places.inside(target)] = digest_of(content)
        _write_manifest(places, sums, runs)
        if not entries:
            return targets
        text = with_block(_text(places.plugstack), loaded)
        replace_file(places.plugstack, text.encode(errors="surrogateescape"))
    except OSError as error:
        raise cannot(error) from error
    return [*targets, places.plugstack]


def uninstall(places: Places) -> list[Path]:
    """Undo ``install``: first the entries, then the files that it wrote and nobody has changed.

    Returns:
        What was removed or changed; empty when nothing was installed.

    Raises:
        SlurmkitError: a file cannot be removed, or is no longer the one that was installed.
    """
    changed = []
    try:
        manifest = read_manifest(places)
        written = places.root / manifest.get("plugstack", "").lstrip("/")
        for plugstack in sorted({places.plugstack, written}):
            before = _text(plugstack)
            after = without_block(before)
            if after != before:
                replace_file(plugstack, after.encode(errors="surrogateescape"))
                changed.append(plugstack)
        for name, digest in manifest.get("files", {}).items():
            path = places.root / name.lstrip("/")
            if not path.exists():
                continue
            if digest_of(path.read_bytes()) != digest:
                raise SlurmkitError(
                    f"{path} is not the file that was installed; it stays",
                    hint="remove it by hand if nobody needs it; plugstack.conf loads it no more",
                )
            path.unlink()
            changed.append(path)
        manifest.pop("files", None)
        forget(places, manifest)
    except OSError as error:
        raise cannot(error) from error
    return changed


def forget(places: Places, manifest: dict[str, Any]) -> None:
    """Write what is still installed; the file goes where nothing is."""
    if manifest.get("files") or manifest.get("lua"):
        replace_file(places.manifest, f"{json.dumps(manifest, indent=2)}\n".encode())
    else:
        places.manifest.unlink(missing_ok=True)


def read_manifest(places: Places) -> dict[str, Any]:
    """Return what was installed; empty when nothing was.

    Raises:
        SlurmkitError: the file is broken.
    """
    if not places.manifest.is_file():
        return {}
    try:
        manifest: dict[str, Any] = json.loads(places.manifest.read_text())
    except ValueError as error:
        raise SlurmkitError(f"{places.manifest} is broken: {error}") from error
    return manifest


def _write_manifest(places: Places, sums: dict[str, str], runs: str) -> None:
    places.manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest = read_manifest(places) | {
        "version": __version__,
        "slurm": runs,
        "plugstack": places.inside(places.plugstack),
        "files": sums,
    }
    replace_file(places.manifest, f"{json.dumps(manifest, indent=2)}\n".encode())


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape") if path.is_file() else ""
