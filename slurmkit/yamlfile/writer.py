"""Writes plain values as YAML that reads back to the same values, in a fixed layout."""

import json
import re

from slurmkit.errors import Location
from slurmkit.yamlfile.nodes import Scalar

# Texts that need no quotes: words, paths, options such as --lr=1, and sizes such as 64G or 4h.
_CHARS = "A-Za-z0-9_./+@%=-"
_SAFE = re.compile(
    rf"(?:~/|[A-Za-z_./]|--?(?=[A-Za-z]))[{_CHARS}]*(?::[{_CHARS}]+)*|[1-9]\d*[A-Za-z][A-Za-z/]*"
)
# What JSON leaves as it is but YAML folds into a space or does not allow.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_OLD_BOOLS = frozenset(("yes", "no", "on", "off", "y", "n"))
_NOWHERE = Location("", 1, 1)


def dump(value: object) -> str:
    """Return block-style YAML of dicts, lists, texts, numbers, booleans and None.

    The same value gives the same text; ``reader`` and ``validate`` give the same value back.
    """
    return "".join(line + "\n" for line in _lines(value))


def _lines(value: object) -> list[str]:
    if isinstance(value, dict) and value:
        lines = []
        for key, item in value.items():
            lines += _under(f"{_scalar(str(key))}:", item)
        return lines
    if isinstance(value, list) and value:
        lines = []
        for item in value:
            below = _lines(item)
            lines.append(f"- {below[0]}")
            lines += [f"  {line}" for line in below[1:]]
        return lines
    return [_scalar(value)]


def _under(head: str, item: object) -> list[str]:
    below = _lines(item)
    if isinstance(item, (dict, list)) and item:
        return [head, *(f"  {line}" for line in below)]
    return [f"{head} {below[0]}"]


def _scalar(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, (dict, list)):
        return "{}" if isinstance(value, dict) else "[]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    if _is_safe(value):
        return value
    return _ESCAPED.sub(_escape, json.dumps(value, ensure_ascii=False))


def _is_safe(text: str) -> bool:
    """Tell whether no reader, of YAML 1.1 either, takes the bare text for something else."""
    if not _SAFE.fullmatch(text) or text.lower() in _OLD_BOOLS or text == "...":
        return False
    return isinstance(Scalar(text, True, _NOWHERE).value(), str)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
