"""Finds what the pages tell a reader to do, so that tests can do it.

A page is a session in one folder. ```` ```console ```` blocks hold commands (``$ ...``, continued
by ``> ...``) and what they print; ```` ```yaml title="job.yaml" ```` and other blocks with a title
hold files. The comment ``<!-- on: cluster -->`` before a block moves it to the session of its page
on the login host of a cluster.
"""

import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

DOCS_DIR = Path(__file__).resolve().parent
_BESIDE = [DOCS_DIR.parent / "README.md", DOCS_DIR.parent / "CONTRIBUTING.md"]

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)(?P<options>[^\n]*)\n(?P<body>.*?)\n(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
_TITLE = re.compile(r'title="([^"]+)"')
_PLACE = re.compile(r"<!-- on: (\w+) -->\s*$")

#: Printed after each command, with its exit code.
MARK = "=^..^="


@dataclass
class Command:
    """One command of a page.

    Attributes:
        line: where it stands in the page, from 1.
        text: what the shell is given.
        output: the lines that the page shows below it; ``...`` stands for anything.
    """

    line: int
    text: str
    output: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class File:
    """A file that a page shows."""

    line: int
    name: str
    text: str


Step = Command | File


def pages() -> list[Path]:
    """Return the README, CONTRIBUTING and every page below docs/, sorted."""
    return [*_BESIDE, *sorted(DOCS_DIR.rglob("*.md"))]


def pages_with_commands(place: str) -> list[Path]:
    """Return the pages that have something to run at ``place``."""
    return [
        page for page in pages() if any(isinstance(step, Command) for step in steps(page, place))
    ]


def page_name(page: Path) -> str:
    """Return how tests call a page, such as ``how-to/sweeps.md``."""
    return page.name if page in _BESIDE else page.relative_to(DOCS_DIR).as_posix()


def steps(page: Path, place: str) -> list[Step]:
    """Return the commands of a page's session at ``place`` and its files, in order.

    Files belong to every session of their page.
    """
    text = page.read_text(encoding="utf-8")
    found: list[Step] = []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 2  # of the first row inside
        indent = len(match["indent"])
        body = [row[indent:] for row in match["body"].split("\n")]
        where = _PLACE.search(text[: match.start()])
        if match["language"] == "console":
            if (where[1] if where else "laptop") == place:
                found += _commands(body, line)
        elif title := _TITLE.search(match["options"]):
            found.append(File(line, title[1], "\n".join(body) + "\n"))
    return found


def _commands(body: list[str], line: int) -> list[Command]:
    commands: list[Command] = []
    for number, row in enumerate(body, start=line):
        if row.startswith("$ "):
            commands.append(Command(number, row[2:]))
        elif row.startswith("> ") and commands and not commands[-1].output:
            commands[-1].text += "\n" + row[2:]
        elif commands:
            commands[-1].output.append(row)
        else:
            raise ValueError(f"line {number}: a console block starts with a command, as `$ ls`")
    return commands


def script(session: list[Step], leave_out: Collection[str]) -> str:
    """Return a bash script that does the session and prints each exit code after MARK."""
    lines = ["exec 2>&1", "PS1='$ '"]
    for step in session:
        if isinstance(step, File):
            quoted = shlex.quote(step.text)
            parent = shlex.quote(str(Path(step.name).parent))
            lines.append(f"mkdir -p {parent}; printf %s {quoted} >{shlex.quote(step.name)}")
        elif step.text in leave_out:
            lines.append(f"printf '\\n{MARK} left-out\\n'")
        else:
            # Keeps $? for a following `echo $?`.
            lines.append(f"(exit ${{code:-0}})\n{step.text}\ncode=$?")
            lines.append(f"printf '\\n{MARK} %s\\n' $code")
    return "\n".join(lines) + "\n"


def complaints(session: list[Step], printed: str, home: Path) -> list[str]:
    """Return how the session went otherwise than the page says: exit codes and shown output.

    A command may fail only when the page goes on with ``echo $?``. Pages show ``~`` for ``home``.
    """
    printed = printed.replace(str(home), "~")
    commands = [step for step in session if isinstance(step, Command)]
    parts = re.split(rf"\n?{re.escape(MARK)} (\S+)\n", printed)
    outputs, codes = parts[0::2], parts[1::2]
    problems = []
    for index, command in enumerate(commands):
        if index >= len(codes):
            problems.append(f"line {command.line}: {command.text}: the session ended here")
            break
        if codes[index] == "left-out":
            continue
        then = commands[index + 1].text if index + 1 < len(commands) else ""
        if codes[index] != "0" and not then.startswith("echo $?"):
            problems.append(
                f"line {command.line}: {command.text}: exit code {codes[index]}\n{outputs[index]}"
            )
        elif missing := _first_missing(command.output, outputs[index]):
            problems.append(
                f"line {command.line}: {command.text}: the page shows\n    {missing}\n"
                f"but it printed\n{outputs[index]}"
            )
    return problems


def _first_missing(shown: list[str], printed: str) -> str | None:
    """Return the first shown line that was not printed, in order; numbers may differ."""
    rows = iter([_without_numbers(row) for row in printed.splitlines()])
    for line in shown:
        if line.strip() in ("", "..."):
            continue
        parts = [re.escape(_without_numbers(part)) for part in line.split("...")]
        pattern = re.compile(".*".join(parts))
        if not any(pattern.fullmatch(row) for row in rows):
            return line
    return None


def _without_numbers(text: str) -> str:
    text = re.sub(r"\d{8}-\d{6}-[0-9a-f]{6}", "RUN-ID", text)
    text = re.sub(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?", "0", text)
    return re.sub(r"\s+", " ", text).strip()
