"""Merge streams line by line: no line of one rank is broken by a line of another."""

#: A longer line is passed on in pieces.
MAX_LINE_BYTES = 1 << 14


class LineMerger:
    """Gives back whole lines, each behind its stream's prefix."""

    def __init__(self) -> None:
        self._rest: dict[bytes, bytes] = {}

    def feed(self, prefix: bytes, chunk: bytes) -> bytes:
        """Take a piece of one stream; return the lines that it completes."""
        lines = (self._rest.pop(prefix, b"") + chunk).split(b"\n")
        rest = lines.pop()
        if len(rest) > MAX_LINE_BYTES:
            lines.append(rest)
        elif rest:
            self._rest[prefix] = rest
        return b"".join([prefix + line + b"\n" for line in lines])

    def finish(self) -> bytes:
        """Return the lines that never got their ends."""
        rests, self._rest = self._rest, {}
        return b"".join(prefix + rest + b"\n" for prefix, rest in rests.items())
