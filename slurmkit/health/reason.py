"""The reason that a drain of ours carries, by which we know it again.

It begins with our prefix and ends with a check sum of the node's name and the words. When somebody
edits it, the sum is wrong, and the drain is theirs from then on: no record elsewhere is needed.
"""

import hashlib

PREFIX = "slurmkit:"
_MARK = " #"
_MOST = 150
_SUM_BYTES = 4


def make_reason(host: str, words: str) -> str:
    """Return the reason to drain a node with: one line of ASCII, as Slurm's tools like it."""
    plain = " ".join(words.encode("ascii", "replace").decode().split())[:_MOST].rstrip()
    text = f"{PREFIX} {plain}"
    return f"{text}{_MARK}{_sum(host, text)}"


def is_ours(host: str, reason: str) -> bool:
    """Whether a node's reason is one that we gave it, to the letter."""
    text, mark, found = reason.strip().rpartition(_MARK)
    return bool(mark) and text.startswith(f"{PREFIX} ") and found == _sum(host, text)


def _sum(host: str, text: str) -> str:
    data = f"{host}\0{text}".encode()
    return hashlib.blake2b(data, digest_size=_SUM_BYTES).hexdigest()
