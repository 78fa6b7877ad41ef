"""Makes the site folder on disk; what is there already is never touched."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from slurmkit.errors import UsageError
from slurmkit.survey.collect import SUFFIXES

SURVEY_DIR = "survey"


def require_free(target: Path) -> None:
    """See to it that a folder of this name can be made: it does not exist, or is empty.

    Raises:
        UsageError: there is something.
    """
    try:
        taken = target.exists() and (not target.is_dir() or any(target.iterdir()))
    except OSError as error:
        raise UsageError(f"cannot read {error.filename or target}: {error.strerror}") from error
    if taken:
        raise UsageError(
            f"{target} exists, and nothing there is overwritten",
            hint="name a folder that does not exist, and compare the two",
        )


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
    require_free(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as place:
            part = Path(place, target.name)
            _fill(part, site_yaml, answers, outputs)
            part.rename(target)
    except OSError as error:
        raise UsageError(f"cannot write {error.filename or target}: {error.strerror}") from error


def _fill(
    folder: Path,
    site_yaml: str,
    answers: Mapping[str, str],
    outputs: Mapping[str, Mapping[str, str]],
) -> None:
    hosts = folder / SURVEY_DIR / "hosts"
    hosts.mkdir(parents=True)
    (folder / "site.yaml").write_text(site_yaml, "utf-8")
    for name, text in answers.items():
        (folder / SURVEY_DIR / f"{name}.txt").write_text(text, "utf-8")
    for host, parts in outputs.items():
        for part, text in parts.items():
            (hosts / f"{host}{SUFFIXES[part]}").write_text(text, "utf-8")
