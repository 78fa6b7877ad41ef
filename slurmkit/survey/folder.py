"""Makes the site folder on disk; what is there already is never touched."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from slurmkit.errors import UsageError

SURVEY_DIR = "survey"


def make_folder(
    target: Path,
    site_yaml: str,
    answers: Mapping[str, str],
    outputs: Mapping[str, Mapping[str, str]],
) -> None:
    """Write site.yaml, and below survey/ what it was made of, as ``--from-dir`` reads it.

    All of it appears at once, under its final name.

    Raises:
        UsageError: there is something of that name, or it cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(
            f"{target} exists, and nothing there is overwritten",
            hint="name a folder that does not exist, and compare the two",
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            _fill(part, site_yaml, answers, outputs)
            part.chmod(0o755)
            if target.exists():
                target.rmdir()
            part.rename(target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    except OSError as error:
        raise UsageError(f"cannot write {error.filename or target}: {error.strerror}") from error


def _fill(
    folder: Path,
    site_yaml: str,
    answers: Mapping[str, str],
    outputs: Mapping[str, Mapping[str, str]],
) -> None:
    (folder / "site.yaml").write_text(site_yaml, "utf-8")
    hosts = folder / SURVEY_DIR / "hosts"
    hosts.mkdir(parents=True)
    for name, text in answers.items():
        (folder / SURVEY_DIR / f"{name}.txt").write_text(text, "utf-8")
    suffixes = {"slurmd": ".slurmd", "topology": ".json", "lldp": ".lldp"}
    for host, parts in outputs.items():
        if os.sep in host:
            continue
        for part, text in parts.items():
            (hosts / f"{host}{suffixes[part]}").write_text(text, "utf-8")
