"""Split a launcher's output into one stream per rank and a merged one, many lines at a time."""

from dataclasses import dataclass, field

from slurmkit.supervise.labels import LAUNCHER, Labels, Source, parse_label

#: A line longer than this is passed on in pieces, so that a rank that never ends its line (a
#: progress bar, binary data) costs no more memory than this.
MAX_PENDING_BYTES = 1 << 16


@dataclass
class Batch:
    """What a chunk of output holds.

    Attributes:
        parts: bytes per source, without labels, in the order they came.
        merged: the same of all sources, each line with ``[rank 3] `` in front.
        launcher_lines: the launcher's own whole lines.
    """

    parts: dict[Source, bytes] = field(default_factory=dict)
    merged: bytes = b""
    launcher_lines: list[bytes] = field(default_factory=list)


class Splitter:
    """Takes bytes as they come and gives back whole lines by source; all bytes pass unchanged.

    Args:
        labels: who put the labels there.
        hosts: names of the nodes by number, for lines of a node's launcher.
    """

    def __init__(self, labels: Labels, hosts: list[str]) -> None:
        self._labels = labels
        self._hosts = hosts
        self._pending = b""  # the line whose end has not come yet
        self._open: Source | None = None  # whose line was passed on before its end
        self._prefixes: dict[Source, bytes] = {LAUNCHER: b""}

    @property
    def has_pending(self) -> bool:
        """Whether the beginning of a line waits for its end."""
        return bool(self._pending)

    def feed(self, chunk: bytes) -> Batch:
        """Take a chunk and return what is complete."""
        batch = Batch()
        merged: list[bytes] = []
        parts: dict[Source, list[bytes]] = {}
        if self._open is not None:
            chunk = self._continue_open(chunk, parts, merged)
        lines = (self._pending + chunk).split(b"\n")
        self._pending = lines.pop()
        self._split(lines, parts, merged, batch.launcher_lines)
        if len(self._pending) > MAX_PENDING_BYTES:
            self._pass_on_pending(parts, merged)
        batch.parts = {source: b"".join(pieces) for source, pieces in parts.items()}
        batch.merged = b"".join(merged)
        return batch

    def flush(self) -> Batch:
        """Return the beginning of a line that waits for its end: nothing came for a while."""
        parts: dict[Source, list[bytes]] = {}
        merged: list[bytes] = []
        launcher_lines = [self._pending] if self._pending else []
        if self._pending:
            self._pass_on_pending(parts, merged)
        if self._open != LAUNCHER:
            launcher_lines = []
        return Batch({s: b"".join(p) for s, p in parts.items()}, b"".join(merged), launcher_lines)

    def _split(
        self,
        lines: list[bytes],
        parts: dict[Source, list[bytes]],
        merged: list[bytes],
        launcher_lines: list[bytes],
    ) -> None:
        label, source, cut = b"\n", LAUNCHER, 0  # no line starts with a newline
        prefix = b""
        pieces: list[bytes] = []
        for line in lines:
            # Ranks write in bursts: mostly the label is the one of the line before.
            if not line.startswith(label):
                source, cut = parse_label(line, self._labels)
                # A node's label may be the beginning of a rank's label: look each time.
                label = line[:cut] if source.kind == "rank" else b"\n"
                prefix = self._prefix(source)
                pieces = parts.setdefault(source, [])
                if source is LAUNCHER:
                    launcher_lines.append(line)
            text = line[cut:] + b"\n"
            pieces.append(text)
            merged.append(prefix + text)

    def _pass_on_pending(self, parts: dict[Source, list[bytes]], merged: list[bytes]) -> None:
        source, cut = parse_label(self._pending, self._labels)
        text = self._pending[cut:]
        parts.setdefault(source, []).append(text)
        merged.append(self._prefix(source) + text)
        self._pending = b""
        self._open = source

    def _continue_open(
        self, chunk: bytes, parts: dict[Source, list[bytes]], merged: list[bytes]
    ) -> bytes:
        """Give the open line its next piece; return what comes after its end."""
        assert self._open is not None
        text, newline, rest = chunk.partition(b"\n")
        parts.setdefault(self._open, []).append(text + newline)
        merged.append(text + newline)
        if newline:
            self._open = None
        return rest

    def _prefix(self, source: Source) -> bytes:
        prefix = self._prefixes.get(source)
        if prefix is None:
            name = str(source.number) if source.kind == "rank" else self.host(source.number)
            prefix = self._prefixes[source] = f"[{source.kind} {name}] ".encode()
        return prefix

    def host(self, node: int) -> str:
        """Return the name of a node by its number in the step."""
        return self._hosts[node] if node < len(self._hosts) else str(node)
