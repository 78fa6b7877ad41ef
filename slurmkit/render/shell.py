"""Text of any kind as words of bash, as comments and as ``#SBATCH`` lines."""

import re
from collections.abc import Sequence

from slurmkit.plan.model import Directive, Variable, Word

_PLAIN = re.compile(r"[\w@%+:,./-][\w@%+=:,./-]*", re.ASCII)
_OPTION = re.compile(r"--?[A-Za-z][\w-]*=", re.ASCII)
_NEEDS_BACKSLASH = re.compile(r'["$`\\]')
# Control characters and surrogates: bytes that are no UTF-8 as Python carries them (PEP 383), and
# those that a YAML escape made.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# A reader, and shellcheck, would take these for quotes that went wrong and for a home folder.
_MISTAKABLE = re.compile(r"[‘’“”]|\A~")  # noqa: RUF001
_NAMED_ESCAPES = {"\n": r"\n", "\t": r"\t", "\r": r"\r", "\\": r"\\", "'": r"\'"}
_NEEDS_ESCAPE = re.compile(rf"{_UNPRINTABLE.pattern}|[\\']")
_DIRECTIVE_SPECIAL = re.compile(r"[\s\"'\\#]", re.ASCII)
_WIDTH = 96


def quote(text: str) -> str:
    r"""Return text as one word of bash that expands to exactly it, in its most readable form.

    Control characters are written as ``$'\n'`` because a line break would tear the line, and a
    carriage return makes sbatch refuse the script ("DOS line breaks").
    """
    if "\0" in text:
        raise ValueError("no word of a command can hold a NUL byte")
    if _PLAIN.fullmatch(text):
        return text
    if _needs_ansi_c(text):
        return f"$'{_NEEDS_ESCAPE.sub(_escape, text)}'"
    if not re.search(r"[$`\\']", text):
        return f"'{text}'"
    # Not '$HOME': whoever reads that wonders, and so does shellcheck, whether it was meant.
    return '"' + _NEEDS_BACKSLASH.sub(r"\\\g<0>", text) + '"'


def quote_word(word: Word) -> str:
    """Return a word in which variables are expanded, but never split."""
    first, *others = word
    option = _OPTION.match(first) if isinstance(first, str) else None
    if option is None or not isinstance(first, str):
        return _quote_parts(word)
    rest = first[option.end() :]
    return option[0] + _quote_parts((rest, *others) if rest else tuple(others))


def _quote_parts(parts: Word) -> str:
    word = tuple(part for part in parts if part != "") or parts
    texts = [part for part in word if isinstance(part, str)]
    if len(texts) == len(word):
        return quote("".join(texts)) if texts else ""
    if any(_needs_ansi_c(text) for text in texts):
        return "".join(
            f'"${part.name}"' if isinstance(part, Variable) else quote(part) for part in word
        )
    following = [*word[1:], ""]
    inside = [_inside(part, after) for part, after in zip(word, following, strict=True)]
    return f'"{"".join(inside)}"'


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
    if char in _NAMED_ESCAPES:
        return _NAMED_ESCAPES[char]
    is_byte = "\udc80" <= char <= "\udcff"
    raw = char.encode("utf-8", "surrogateescape" if is_byte else "surrogatepass")
    return "".join(f"\\{byte:03o}" for byte in raw)


def _inside(part: str | Variable, after: str | Variable) -> str:
    if isinstance(part, str):
        return _NEEDS_BACKSLASH.sub(r"\\\g<0>", part)
    ambiguous = isinstance(after, str) and re.match(r"[\w\[]", after)
    return f"${{{part.name}}}" if ambiguous else f"${part.name}"


def _needs_ansi_c(text: str) -> bool:
    """Tell whether text is written in the form ``$'...'`` (bash(1), "QUOTING")."""
    return bool(_UNPRINTABLE.search(text) or _MISTAKABLE.search(text))
