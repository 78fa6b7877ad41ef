"""Where this machine gets its Debian packages from, as its apt sources say."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

_ONE_LINE = re.compile(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)")
# Main archives only: the security archive and third-party ones hold no whole release.
_SUITES = frozenset(
    {"bullseye", "bookworm", "trixie", "forky", "duke", "sid"}
    | {"oldoldstable", "oldstable", "stable", "testing", "unstable"}
)
_SCHEMES = frozenset({"http", "https", "file", "ftp"})  # what debootstrap can fetch from


def debian_mirror(folder: Path = Path("/etc/apt")) -> str:
    """Return the address of the first Debian main archive in apt's sources; empty for none."""
    files = [
        folder / "sources.list",
        *sorted((folder / "sources.list.d").glob("*.list")),
        *sorted((folder / "sources.list.d").glob("*.sources")),
    ]
    for path in files:
        if path.is_file():
            text = path.read_text(errors="replace")
            entries = _deb822(text) if path.suffix == ".sources" else _one_line(text)
            for address, suite in entries:
                if suite in _SUITES and urlsplit(address).scheme in _SCHEMES:
                    return address
    return ""


def _one_line(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if match := _ONE_LINE.match(line.strip()):
            yield match[1], match[2]


def _deb822(text: str) -> Iterator[tuple[str, str]]:
    for stanza in re.split(r"\n\s*\n", text):
        fields = {
            key.strip().lower(): value.strip()
            for key, _, value in (
                line.partition(":") for line in stanza.splitlines() if not line.startswith("#")
            )
        }
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes") != "no":
            for address in fields.get("uris", "").split():
                for suite in fields.get("suites", "").split():
                    yield address, suite
