"""Split a launcher's output into one stream per rank and a merged one, many lines at a time."""

from collections.abc import Callable
from dataclasses import dataclass, field

from slurmkit.launch.labels import LAUNCHER, Labels, Source, source_of, task_label

#: srun cuts a longer line into pieces of this many bytes and gives each a label and a newline
#: (seen on 22.05 and 26.05; MAX_MSG_LEN in its source). A piece of exactly this length is
#: therefore continued by the task's next one, be that empty. What a task leaves unread when it
#: ends, srun cuts at 1024 bytes without regard to lines; that cannot be told from its own lines.
SRUN_PIECE_BYTES = 1024
#: Of a longer line the merged stream gets pieces; a rank's own stream stays exact.
MAX_LINE_BYTES = 1 << 14


@dataclass
class Batch:
    """What a chunk of output holds.

    Attributes:
        parts: bytes per source, without labels, in the order they came.
        merged: the same of all sources, each line with ``[rank 3] `` in front.
        launcher_lines: the launcher's own lines.
    """

    parts: dict[Source, bytes] = field(default_factory=dict)
    merged: bytes = b""
    launcher_lines: list[bytes] = field(default_factory=list)


class Splitter:
    """Takes bytes as they come and gives back lines by source, unchanged but for the labels.

    Args:
        labels: who put the labels there.
        hosts: names of the nodes by number, for lines of a node's launcher.
    """

    def __init__(self, labels: Labels, hosts: list[str]) -> None:
        self._labels = labels
        self._hosts = hosts
        self._piece_bytes = SRUN_PIECE_BYTES if labels in ("srun", "torchrun") else -1
        self._rest = b""  # of the last chunk: a line whose end has not come yet
        self._rest_open = False  # whether its beginning was passed on already
        self._rest_source = LAUNCHER
        self._held: dict[int, list[bytes]] = {}  # by task: pieces of a line that goes on
        self._open: dict[int, Source] = {}  # by task: whose line was passed on before its end
        self._prefixes: dict[Source, bytes] = {LAUNCHER: b""}
        self._parts: dict[Source, list[bytes]] = {}
        self._merged: list[bytes] = []
        self._launcher_lines: list[bytes] = []

    @property
    def has_pending(self) -> bool:
        """Whether something waits for its end and ``flush`` would pass it on."""
        return bool(self._held) or (bool(self._rest) and self._piece_bytes < 0)

    def feed(self, chunk: bytes) -> Batch:
        """Take a chunk and return what is complete."""
        if self._labels == "none":
            return Batch({LAUNCHER: chunk}, chunk)
        if self._rest_open:
            text, newline, chunk = chunk.partition(b"\n")
            self._add_raw(text + newline)
            self._rest_open = not newline
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        if not self._split_uniform(lines):
            self._split(lines)
        if len(self._rest) > MAX_LINE_BYTES:
            self._pass_on_rest()
        return self._take()

    def flush(self) -> Batch:
        """Pass on what waits for its end: nothing came for a while."""
        for task in list(self._held):
            self._pass_on_held(task, complete=False)
        if self._rest and self._piece_bytes < 0:  # srun writes whole lines: the rest comes
            self._pass_on_rest()
        return self._take()

    def host(self, node: int) -> str:
        """Return the name of a node by its number in the step."""
        return self._hosts[node] if node < len(self._hosts) else str(node)

    def _split_uniform(self, lines: list[bytes]) -> bool:
        """Split lines of srun that all have labels of one width, quickly; return whether they had.

        A job may log 50 MB/s: this loop, which looks each label up instead of parsing it, takes a
        third of the time of the general one.
        """
        if self._labels != "srun" or self._held or self._open or not lines:
            return False
        task, cut = task_label(lines[0], self._labels)
        if task is None or max(map(len, lines)) >= cut + self._piece_bytes:
            return False
        texts: dict[Source, list[bytes]] = {}
        launcher_lines: list[bytes] = []
        known: dict[bytes, tuple[Callable[[bytes], None], bytes]] = {}
        merged: list[bytes] = []
        add_merged = merged.append
        for line in lines:
            entry = known.get(line[:cut])
            if entry is None:
                task, width = task_label(line, self._labels)
                if task is None:
                    launcher_lines.append(line)
                    merged += (b"\n", line)
                    continue
                if width != cut:
                    return False  # a second step in the same script, with more or fewer tasks
                source = Source("rank", task)
                texts[source] = []
                entry = texts[source].append, b"\n" + self._prefix(source)
                known[line[:cut]] = entry
            add_text, prefix = entry
            text = line[cut:]
            add_text(text)
            add_merged(prefix)
            add_merged(text)
        for source, found in texts.items():
            self._parts.setdefault(source, []).append(b"\n".join(found) + b"\n")
        if launcher_lines:
            whole = b"\n".join(launcher_lines) + b"\n"
            self._parts.setdefault(LAUNCHER, []).append(whole)
            self._launcher_lines += launcher_lines
        self._merged.append(b"".join(merged)[1:] + b"\n")
        return True

    def _split(self, lines: list[bytes]) -> None:
        merged = self._merged
        piece_bytes = self._piece_bytes
        task: int | None = None
        # A label of the line before, complete with the space: no line starts with a newline.
        label, task_cut, cut, prefix = b"\n", 0, 0, b""
        pieces: list[bytes] = []
        for line in lines:
            if not line.startswith(label):  # ranks write in bursts: mostly it is the same again
                task, task_cut = task_label(line, self._labels)
                source, more = source_of(task, line[task_cut : task_cut + 32], self._labels)
                cut = task_cut + more
                # A node's label is how those of its ranks begin: look at every line.
                label = line[:cut] if source.kind == "rank" else b"\n"
                prefix = self._prefix(source)
                pieces = self._parts.setdefault(source, [])
                if source is LAUNCHER:
                    self._launcher_lines.append(line)
            if task is not None and (
                len(line) - task_cut == piece_bytes or task in self._held or task in self._open
            ):
                self._hold(task, line[task_cut:])
                continue
            text = line[cut:] + b"\n"
            pieces.append(text)
            merged.append(prefix + text)

    def _hold(self, task: int, text: bytes) -> None:
        """Take one piece of a line that srun has cut."""
        held = self._held.setdefault(task, [])
        held.append(text)
        if len(text) != self._piece_bytes:
            self._pass_on_held(task, complete=True)
        elif len(held) * self._piece_bytes > MAX_LINE_BYTES:
            self._pass_on_held(task, complete=False)

    def _pass_on_held(self, task: int, *, complete: bool) -> None:
        text = b"".join(self._held.pop(task))
        if task in self._open:
            source = self._open.pop(task)
        else:
            source, cut = source_of(task, text, self._labels)
            text = text[cut:]
        if not complete:
            self._open[task] = source
        self._parts.setdefault(source, []).append(text + b"\n" if complete else text)
        self._merged.append(self._prefix(source) + text + b"\n")

    def _pass_on_rest(self) -> None:
        """Pass on the beginning of a line; what continues it will follow without a label."""
        task, cut = task_label(self._rest, self._labels)
        source, more = source_of(task, self._rest[cut:], self._labels)
        if source is LAUNCHER:
            self._launcher_lines.append(self._rest)
        self._rest_source = source
        self._merged.append(self._prefix(source))
        self._add_raw(self._rest[cut + more :])
        self._rest = b""
        self._rest_open = True

    def _add_raw(self, text: bytes) -> None:
        self._parts.setdefault(self._rest_source, []).append(text)
        self._merged.append(text)

    def _take(self) -> Batch:
        parts = {source: b"".join(pieces) for source, pieces in self._parts.items() if pieces}
        batch = Batch(parts, b"".join(self._merged), self._launcher_lines)
        self._parts, self._merged, self._launcher_lines = {}, [], []
        return batch

    def _prefix(self, source: Source) -> bytes:
        prefix = self._prefixes.get(source)
        if prefix is None:
            name = str(source.number) if source.kind == "rank" else self.host(source.number)
            prefix = self._prefixes[source] = f"[{source.kind} {name}] ".encode()
        return prefix
