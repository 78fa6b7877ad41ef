"""Site folders: found by path or by the name of a shipped one, and filled with generated files."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slurmkit.errors import SlurmkitError, UsageError
from slurmkit.resources import shipped_dir
from slurmkit.site.generate import File, Release
from slurmkit.site.lookup import FILE_NAME

FILES = "files"
#: What the last generation wrote, so that the next one knows its own files from other people's.
RECORD = "generated.json"
DEFAULT_RELEASE = "24.11"
INSTALL = "install.yaml"
_RULES_HEAD = (
    "What a checkout cannot keep: owners and modes, and the secrets that must be in place already."
)


@dataclass(frozen=True)
class Difference:
    """A generated file that the folder does not hold as it should.

    Attributes:
        path: absolute, as on a machine.
        kind: ``missing``, ``outdated``, ``edited``: by hand since it was generated, or written by
            hand altogether; or ``stale``: generated once and no more.
    """

    path: str
    kind: str


def shipped_sites() -> list[str]:
    """Return the names of the sites that come with slurmkit."""
    top = shipped_dir("site-configs")
    return sorted(path.parent.name for path in top.glob(f"*/{FILE_NAME}"))


def find_folder(text: str) -> Path:
    """Return a site folder by its path, its site.yaml, or the name of a shipped site.

    Raises:
        UsageError: there is neither.
    """
    folder = Path(text)
    if folder.name == FILE_NAME and folder.is_file():
        return folder.parent
    if (folder / FILE_NAME).is_file():
        return folder
    if text in shipped_sites():
        return shipped_dir("site-configs") / text
    raise UsageError(
        f"{text} is no site folder: there is no {folder / FILE_NAME}",
        hint=f"Name a folder, or a shipped site: {', '.join(shipped_sites())}.",
    )


def copy_site(source: Path, target: Path) -> None:
    """Copy what people edit of a site into a new folder.

    Raises:
        UsageError: there is a site already.
        SlurmkitError: it cannot be written.
    """
    if (target / FILE_NAME).exists():
        raise UsageError(f"{target / FILE_NAME} exists", hint="Choose another --output.")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in (FILE_NAME, INSTALL, "README.md"):
            if (source / name).is_file():
                shutil.copyfile(source / name, target / name)
    except OSError as error:
        raise SlurmkitError(f"{error.filename}: {error.strerror}") from error


def release_of(version: str | None, option: str | None = None) -> Release:
    """Return the release to generate for: the option's, else site.yaml's, else 24.11."""
    return Release.parse(option or version or DEFAULT_RELEASE)


def differences(folder: Path, files: Mapping[str, File]) -> list[Difference]:
    """Return how a folder differs from what would be generated."""
    record = _record(folder)
    found = []
    for path, file in files.items():
        place = _place(folder, path)
        now = _digest_of(place)
        if now is None:
            found.append(Difference(path, "missing"))
        elif now != digest(file.text):
            # What no generation is known to have written is somebody's work.
            found.append(Difference(path, "outdated" if record.get(path) == now else "edited"))
        elif bool(place.stat().st_mode & 0o100) != _executable(file):
            found.append(Difference(path, "outdated"))
    found += [
        Difference(path, "stale")
        for path, known in record.items()
        # One that somebody has edited since is that person's now.
        if path not in files and _digest_of(_place(folder, path)) == known
    ]
    return found


def write(folder: Path, files: Mapping[str, File], *, force: bool = False) -> list[Difference]:
    """Bring a folder's files up to date and return what has changed.

    Args:
        folder: the site folder.
        files: what was generated.
        force: also overwrite what was edited by hand.

    Raises:
        UsageError: a generated file was edited by hand.
        SlurmkitError: something cannot be written.
    """
    found = differences(folder, files)
    if not force and (edited := [item.path for item in found if item.kind == "edited"]):
        raise UsageError(
            f"edited by hand, not generated: {', '.join(edited)}",
            hint=f"Move the change into {folder / FILE_NAME} (slurm.lines takes any line), or"
            " lose it with --force.",
        )
    try:
        for item in found:
            place = _place(folder, item.path)
            if item.kind == "stale":
                place.unlink()
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(files[item.path].text, encoding="utf-8")
            # Git keeps no more than whether a file is executable; install.yaml has the rest.
            place.chmod(0o755 if _executable(files[item.path]) else 0o644)
        record = {path: digest(file.text) for path, file in sorted(files.items())}
        text = json.dumps(record, indent=1) + "\n"
        if not (folder / RECORD).is_file() or (folder / RECORD).read_text("utf-8") != text:
            (folder / RECORD).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SlurmkitError(f"{error.filename}: {error.strerror}") from error
    return found


def write_rules(folder: Path, files: Mapping[str, File]) -> bool:
    """Write an install.yaml where there is none, and return whether there was none.

    It says what a checkout cannot keep: owners, modes, and the secrets that must be in place.

    Raises:
        SlurmkitError: it cannot be written.
    """
    place = folder / INSTALL
    if place.exists():
        return False
    lines = [f"# {_RULES_HEAD}"]
    private = {
        path: f'{{mode: "{file.mode:04o}", owner: {file.owner}}}'
        for path, file in files.items()
        if file.mode not in (0o644, 0o755) or file.owner != "root"
    }
    if private:
        lines += ["permissions:", *(f"  {path}: {rule}" for path, rule in private.items())]
    lines += ["secrets:", '  /etc/munge/munge.key: {mode: "0400", owner: munge}']
    try:
        place.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise SlurmkitError(f"{error.filename}: {error.strerror}") from error
    return True


def digest(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()


def _digest_of(place: Path) -> str | None:
    """Return the digest of a file; None where there is none."""
    if not place.is_file():
        return None
    return digest(place.read_text("utf-8", errors="surrogateescape"))


def _executable(file: File) -> bool:
    return bool(file.mode & 0o100)


def _place(folder: Path, path: str) -> Path:
    return folder / FILES / path.lstrip("/")


def _record(folder: Path) -> dict[str, str]:
    place = folder / RECORD
    try:
        found = json.loads(place.read_text("utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is no mapping")
    except FileNotFoundError:
        return {}
    except ValueError as error:
        hint = "Bring it back from git. Without it every file counts as edited by hand."
        raise SlurmkitError(f"{place} is broken: {error}", hint=hint) from error
    return {str(path): str(digest) for path, digest in found.items()}
