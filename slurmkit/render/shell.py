"""Text of any kind as words of bash, as comments and as ``#SBATCH`` lines."""

import re
from collections.abc import Sequence

from slurmkit.plan.model import Directive, Variable, Word

_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
_PLAIN_IN_DOUBLE_QUOTES = re.compile(r"[\w@%+=:,./ -]*", re.ASCII)
# Control characters, and bytes that are no UTF-8 as Python carries them (PEP 383).
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\udc80-\udcff]")
_NAMED_ESCAPES = {"\n": r"\n", "\t": r"\t", "\r": r"\r", "\\": r"\\", "'": r"\'"}
_NEEDS_ESCAPE = re.compile(rf"{_UNPRINTABLE.pattern}|[\\']")
_DIRECTIVE_SPECIAL = re.compile(r"[\s\"'\\#]", re.ASCII)
_WIDTH = 96


def quote(text: str) -> str:
    r"""Return text as one word of bash that expands to exactly it.

    Control characters are written as ``$'\n'`` because a line break would tear the line, and a
    carriage return makes sbatch refuse the script ("DOS line breaks").
    """
    if "\0" in text:
        raise ValueError("no word of a command can hold a NUL byte")
    if _PLAIN.fullmatch(text):
        return text
    if _UNPRINTABLE.search(text):
        return f"$'{_NEEDS_ESCAPE.sub(_escape, text)}'"
    if "'" not in text:
        return f"'{text}'"
    if not re.search(r'["$`\\!]', text):
        return f'"{text}"'
    return "'" + text.replace("'", "'\\''") + "'"


def quote_word(word: Word) -> str:
    """Return a word in which variables are expanded, but never split."""
    if not any(isinstance(part, Variable) for part in word):
        return quote("".join(part for part in word if isinstance(part, str)))
    texts = [part for part in word if isinstance(part, str)]
    if all(_PLAIN_IN_DOUBLE_QUOTES.fullmatch(text) for text in texts):
        following = [*word[1:], ""]
        inside = [_inside(part, after) for part, after in zip(word, following, strict=True)]
        return f'"{"".join(inside)}"'
    return "".join(
        f'"${part.name}"' if isinstance(part, Variable) else quote(part) for part in word
    )


def quote_words(words: Sequence[Word], indent: int = 4) -> str:
    """Return words with spaces between them, broken into lines that are not too long."""
    lines: list[str] = []
    for word in words:
        quoted = quote_word(word)
        if lines and len(lines[-1]) + len(quoted) + indent < _WIDTH:
            lines[-1] += f" {quoted}"
        else:
            lines.append(quoted)
    return f" \\\n{' ' * indent}".join(lines)


def directive(line: Directive) -> str:
    """Return what stands behind ``#SBATCH``.

    sbatch splits the line at spaces, takes ``#`` for a comment, and knows quotes and, also inside
    of them, backslashes (tested against sbatch in tests/slurm/test_scripts.py).
    """
    if line.value is None:
        return line.option
    value = line.value
    if _DIRECTIVE_SPECIAL.search(value):
        value = '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
    return f"{line.option}={value}"


def comment(text: str) -> str:
    """Return text for a comment: one line, whatever it holds."""
    return re.sub(rf"(?:{_UNPRINTABLE.pattern}|[\x80-\x9f\u2028\u2029])+", " ", text)


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char) & 0xFF  # a lone byte 0xNN is carried as U+DCNN
    return _NAMED_ESCAPES.get(char) or f"\\{code:03o}"


def _inside(part: str | Variable, after: str | Variable) -> str:
    if isinstance(part, str):
        return part
    ambiguous = isinstance(after, str) and re.match(r"[\w\[]", after)
    return f"${{{part.name}}}" if ambiguous else f"${part.name}"
