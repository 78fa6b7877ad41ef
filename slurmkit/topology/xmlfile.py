"""Parse an XML file of unknown origin with bounds."""

from xml.etree.ElementTree import Element, ParseError, XMLParser

from slurmkit.errors import UsageError

MAX_BYTES = 16 * 1024 * 1024
_MAX_DEPTH = 200


def parse_xml(text: str, what: str) -> Element:
    """Return the root element.

    Raises:
        UsageError: when the text is no XML, is too large or too deep, or declares entities (which
            no topology file does and which can be made to expand without end).
    """
    if len(text) > MAX_BYTES or "<!ENTITY" in text:
        raise UsageError(f"{what} is larger than 16 MiB or declares entities: not a topology")
    parser = XMLParser()  # noqa: S314 - entities are refused above, and size is bounded
    try:
        parser.feed(text)
        root = parser.close()
    except (ParseError, ValueError) as error:
        raise UsageError(f"{what} is not XML: {error}") from error
    if _depth(root) > _MAX_DEPTH:
        raise UsageError(f"{what} nests deeper than a topology does")
    return root


def _depth(root: Element) -> int:
    depth = 0
    level = [root]
    while level and depth <= _MAX_DEPTH:
        depth += 1
        level = [child for element in level for child in element]
    return depth


def number(text: str | None, base: int = 10) -> int | None:
    """Return the number an attribute holds, or None."""
    try:
        return None if text is None else int(text, base)
    except ValueError:
        return None


def decimal(text: str | None) -> float | None:
    """Return the number that an attribute begins with (``32.0 GT/s PCIe``), or None."""
    words = (text or "").split()
    try:
        value = float(words[0]) if words else None
    except ValueError:
        return None
    return value if value is not None and 0 < value < 1e9 else None
