"""Tells where each part of a site came from."""

from typing import Any

from slurmkit.site.lookup import FoundSite


def describe(found: FoundSite) -> dict[str, Any]:
    """Return the site as plain data.

    Returns:
        ``path`` and ``origin`` of the file, and under ``keys`` by dotted key ``value`` and
        ``from``: ``FILE:LINE:COLUMN``, ``the live cluster`` or ``default``.
    """
    keys: dict[str, dict[str, Any]] = {}
    for name, value in found.site.model_dump(mode="json").items():
        _collect(found, (name,), value, keys)
    return {
        "path": str(found.path) if found.path else None,
        "origin": found.origin,
        "keys": keys,
    }


def _collect(
    found: FoundSite, path: tuple[str, ...], value: object, keys: dict[str, dict[str, Any]]
) -> None:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            _collect(found, (*path, str(name)), item, keys)
        return
    keys[".".join(path)] = {"value": value, "from": _origin(found, path, value)}


def _origin(found: FoundSite, path: tuple[str, ...], value: object) -> str:
    where, _, followed = found.source.find(path)
    if where is not None and len(followed) == len(path):
        return str(where)
    from_cluster = found.origin == "cluster" and path[0] in ("name", "partitions", "node_types")
    return "the live cluster" if from_cluster and value not in (None, {}) else "default"
