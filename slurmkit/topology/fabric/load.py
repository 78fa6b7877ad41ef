"""Read files about switches, in any form that is understood, as one fabric."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from slurmkit.errors import UsageError
from slurmkit.topology.fabric.errors import FabricError
from slurmkit.topology.fabric.graph import SwitchGraph, joined
from slurmkit.topology.fabric.ibdiagnet import read_lst
from slurmkit.topology.fabric.ibnetdiscover import read_ibnetdiscover
from slurmkit.topology.fabric.lldp import read_lldp
from slurmkit.topology.fabric.table import read_csv, read_yaml

_MAX_BYTES = 256 << 20
_LOOK = 64 << 10

_READERS: Mapping[str, Callable[[str, str], SwitchGraph]] = {
    "ibnetdiscover": read_ibnetdiscover,
    "ibdiagnet": read_lst,
    "lldp": read_lldp,
    "csv": read_csv,
    "yaml": read_yaml,
}
FORMATS = ("auto", *_READERS)


def load_fabric(paths: Iterable[Path], file_format: str = "auto") -> SwitchGraph:
    """Return what all these files say together; a folder stands for the files in it.

    Args:
        paths: files, or folders such as one with the LLDP answer of each host.
        file_format: one of `FORMATS`; auto looks at each file's content.

    Raises:
        UsageError: a file cannot be read, or is none of these; FabricError names file and line.
    """
    if file_format not in FORMATS:
        raise UsageError(f"{file_format!r} is no format", hint=f"Formats: {', '.join(FORMATS)}.")
    return joined(_load(path, file_format) for path in _files(paths))


def parse_fabric(text: str, file: str, file_format: str = "auto") -> SwitchGraph:
    """Return what one file's text says."""
    kind = detect(text, file) if file_format == "auto" else file_format
    return _READERS[kind](text, file)


def _files(paths: Iterable[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        try:
            inside = sorted(entry for entry in path.iterdir() if entry.is_file())
        except NotADirectoryError:
            files.append(path)
            continue
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}") from error
        if not inside:
            raise UsageError(f"there is no file in {path}")
        files += inside
    return files


def _load(path: Path, file_format: str) -> SwitchGraph:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise UsageError(f"{path} is larger than {_MAX_BYTES >> 20} MiB: not of a fabric tool")
    return parse_fabric(data.decode("utf-8", "replace"), str(path), file_format)


def detect(text: str, file: str = "") -> str:
    """Return which of `FORMATS` a text is.

    Raises:
        FabricError: it is none that is known.
    """
    start = text[:_LOOK].lstrip("\ufeff \t\r\n")
    if start.startswith(("{ CA", "{ SW", "{CA", "{SW")):
        return "ibdiagnet"
    if start.startswith("{"):
        return "lldp"
    if "switchguid=" in start or "\nSwitch\t" in start or "caguid=" in start:
        return "ibnetdiscover"
    lines = [line for line in start.splitlines() if line.strip() and not line.startswith("#")]
    if any(line.startswith("links:") for line in lines):
        return "yaml"
    if lines and any(separator in lines[0] for separator in ",;\t"):
        return "csv"
    raise FabricError(
        f"{file or 'the file'} is in no form that is known here",
        hint="ibnetdiscover's output, ibdiagnet2.lst, JSON of lldpctl -f json0, or a table with"
        " the columns node and switch",
    )
