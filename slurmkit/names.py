"""Names that people choose, made safe for file systems."""

import zlib

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_MAX_NAME = 80


def path_component(name: str) -> str:
    """Return a name that is safe as one folder in paths, shells and sbatch's ``%`` patterns.

    Names of letters, digits, ``.``, ``_`` and ``-`` stay as they are; any other gets its odd
    characters replaced and a checksum added, so that two names never share a folder.
    """
    safe = "".join(char if char in _SAFE else "_" for char in name)
    if safe[:1] in ("", ".", "-"):
        safe = f"_{safe}"
    if safe == name and len(name) <= _MAX_NAME:
        return name
    checksum = zlib.crc32(name.encode("utf-8", "surrogateescape"))
    return f"{safe[:_MAX_NAME]}-{checksum:08x}"
