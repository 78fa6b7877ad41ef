"""Durations and sizes as people and Slurm write them."""

import re

_CLOCK = re.compile(r"(?:(?P<days>\d+)-)?(?P<fields>\d+(?::\d+){0,2})")
_UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_WORDS = re.compile(r"(\d+(?:\.\d+)?)\s*(min|s|m|h|d|w)\s*", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_SIZE_MIB = {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024**2, "P": 1024**3}


def parse_duration_s(text: str | int) -> int | None:
    """Return seconds; None for "no limit".

    Accepts Slurm's forms (sbatch(1), --time): ``minutes``, ``minutes:seconds``,
    ``hours:minutes:seconds``, ``days-hours``, ``days-hours:minutes[:seconds]``, ``UNLIMITED``;
    and ``90s``, ``30m``, ``4h``, ``1d 12h``.

    Raises:
        ValueError: the text is none of these.
    """
    if isinstance(text, int):
        return _positive(text * 60, str(text))
    stripped = text.strip()
    if stripped.upper() in ("UNLIMITED", "INFINITE"):
        return None
    if match := _CLOCK.fullmatch(stripped):
        return _positive(_clock_s(match), text)
    if stripped and not _WORDS.sub("", stripped):
        seconds = sum(float(n) * _UNITS_S[unit] for n, unit in _WORDS.findall(stripped))
        return _positive(round(seconds), text)
    raise ValueError(f"{text!r} is not a duration; write 4h, 30m, 1-12:00:00 or 90 (minutes)")


def _clock_s(match: re.Match[str]) -> int:
    fields = [int(part) for part in match["fields"].split(":")]
    if match["days"] is not None:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = [*fields, 0, 0][:3]
        return int(match["days"]) * 86400 + hours * 3600 + minutes * 60 + seconds
    if len(fields) == 1:  # minutes
        return fields[0] * 60
    if len(fields) == 2:  # minutes:seconds
        return fields[0] * 60 + fields[1]
    return fields[0] * 3600 + fields[1] * 60 + fields[2]


def _positive(seconds: int, text: str) -> int:
    if seconds <= 0:
        raise ValueError(f"{text!r} is no time at all; it must be longer than zero")
    return seconds


def format_slurm_time(seconds: int | None) -> str:
    """Return ``[days-]HH:MM:SS``, the form that every Slurm program reads; None is UNLIMITED."""
    if seconds is None:
        return "UNLIMITED"
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days}-{clock}" if days else clock


def parse_size_mib(text: str | int) -> int:
    """Return MiB, rounded up; a bare number is MiB, as in Slurm; units are powers of 1024.

    Raises:
        ValueError: the text is no size.
    """
    match = _SIZE.fullmatch(str(text).strip())
    if not match:
        raise ValueError(f"{text!r} is not a size; write 64G, 500M or 2T")
    return -int(-float(match[1]) * _SIZE_MIB[match[2].upper()] // 1)


def format_size_mib(mib: int) -> str:
    """Return the shortest exact form that Slurm reads, such as ``64G`` or ``1500M``."""
    if mib and mib % 1024**2 == 0:
        return f"{mib // 1024**2}T"
    if mib and mib % 1024 == 0:
        return f"{mib // 1024}G"
    return f"{mib}M"
