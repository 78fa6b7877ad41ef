"""Where the shipped files are: inside the wheel, or beside the package in a checkout."""

from pathlib import Path

_PACKAGE_DIR = Path(__file__).resolve().parent


def shipped_dir(name: str) -> Path:
    """Return the folder ``templates``, ``plugins`` or ``site-configs`` as shipped.

    A wheel holds them under ``slurmkit/_data``; only an editable install, which has no such
    folder, falls back to the checkout it runs from.
    """
    packed = _PACKAGE_DIR / "_data" / name
    return packed if packed.is_dir() else _PACKAGE_DIR.parent / name
