"""Writes the reference pages that come from code; ``--check`` only says which are out of date."""

import importlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DOCS_DIR = Path(__file__).resolve().parent
# Schemas of what commands print, and the commands.
_REPORTS = {
    "status": "`status --json` (without RUN a list of them) and `submit --wait --json`",
    "check": "`check --json`; `submit --dry-run --json` adds the script",
    "submit": "`submit --json`",
    "run": "`run --json`, with and without `--hosts`",
    "run-clean": "`run --hosts HOSTS.yaml --clean --json`",
    "report": "`report --json`",
    "explain": "`explain --json`",
    "doctor": "`doctor --json`",
    "bench": "`bench ... --json`, and `bench.json` in its run directory",
    "health-check": "`health check --json`",
    "health-drains": "`health drains --json`",
    "site-generate": "`site generate --json`",
    "mpi": "`mpi --json`",
    "ckpt-list": "`ckpt list --json`",
    "ckpt-verify": "`ckpt verify --json`",
    "ckpt-prune": "`ckpt prune --json`",
    "ckpt-commit": "`ckpt commit --json`",
    "site-survey": "`site survey --json` and `site init --json`",
    "site-topology": "`site topology --json`",
    "elastic-report": "`elastic report --json`",
    "topo-show": "`topo show --json`; `topo import --json` leaves out pairs and costs",
    "topo-verify": "`topo verify --json`",
    "topo-plan": "`topo plan --json`",
    "site-check": "`site check --json`",
    "site-log": "`site log --json`",
    "site-tiers": "`site tiers --json`",
}
_NOTICE = "<!-- Written by docs/generate.py from the code; changes made here are lost. -->\n\n"


def cli_page() -> str:
    """Return every command with its arguments and options, from the Typer application."""
    import typer.main  # noqa: PLC0415

    from slurmkit.cli.app import app  # noqa: PLC0415

    root: Any = typer.main.get_command(app)
    parts = [
        "# Commands\n",
        "Every command has `--help`. Commands that report have `--json`; what they print then\n"
        "has a [published schema](json.md). Their exit codes are [few](exit-codes.md).\n",
        "`slurmkit --install-completion` installs completion for your shell.\n",
    ]
    for path, command in _commands(root, ("slurmkit",)):
        parts.append("\n".join(_command_section(path, command)))
    return "\n".join(parts)


def _commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


def _command_section(path: tuple[str, ...], command: Any) -> list[str]:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option"]
    usage = [*path, *(["[OPTIONS]"] if options else []), *map(_argument_usage, arguments)]
    lines = [f"## {' '.join(path)}\n", "```text", " ".join(usage), "```\n", _help(command), ""]
    if arguments:
        lines += ["| argument | |", "|---|---|"]
        lines += [f"| `{_metavar(item)}` | {_cell(item.help)} |" for item in arguments]
        lines.append("")
    if options:
        lines += ["| option | | default |", "|---|---|---|"]
        lines += [_option_row(item) for item in options if not getattr(item, "hidden", False)]
        lines.append("")
    return lines


def _help(command: Any) -> str:
    # Lines of a paragraph belong together; an indented or empty line starts a new one.
    text = (command.help or "").replace("\f", "").strip()
    return re.sub(r"[ \t]*\n(?![\n \t])", " \n", text).replace(" \n", "\n")


def _metavar(item: Any) -> str:
    return str(item.metavar or item.name.upper()).strip("[]")


def _argument_usage(item: Any) -> str:
    name = _metavar(item)
    if item.nargs == -1 and not name.endswith("..."):
        name += "..."
    return name if item.required else f"[{name}]"


def _option_row(item: Any) -> str:
    value = "" if item.is_flag or item.count else f" {_metavar(item)}"
    names = ", ".join(f"`{name}{value}`" for name in [*item.opts, *item.secondary_opts])
    text = _cell(item.help)
    if item.multiple:
        text += " May be given several times."
    if item.envvar:
        text += f" Also read from `${item.envvar}`."
    shown = item.default if isinstance(item.default, (str, int, float, Path)) else None
    default = "" if shown is None or isinstance(shown, bool) or shown == "" else f"`{shown}`"
    return f"| {names} | {text} | {default} |"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _call(path: str) -> Callable[[], str]:
    """Return a function that calls ``module:function`` when the text is needed."""

    def text() -> str:
        module, _, name = path.partition(":")
        return str(getattr(importlib.import_module(module), name)())

    return text


def json_page() -> str:
    """Return what ``--json`` prints, as JSON Schema."""
    from slurmkit.api.schemas import schema_of  # noqa: PLC0415

    parts = [
        "# JSON output\n",
        "`slurmkit schema NAME` prints these as JSON Schema. As long as the major version stays,\n"
        "fields are added but not renamed or removed. `slurmkit schema job` and `slurmkit schema\n"
        "site` describe [job.yaml](job-yaml.md) and [site.yaml](site-yaml.md), for editors.\n",
    ]
    for name, commands in _REPORTS.items():
        body = json.dumps(schema_of(name), indent=2)
        parts.append(f"## {name}\n\nPrinted by {commands}.\n\n```json\n{body}\n```\n")
    return "\n".join(parts)


# What the table of keys cannot say, behind the heading of a section.
_MORE = {
    "checkpoint": """
`checkpoint: true` takes every default, and `checkpoint: 10m` only says how often. The section
tells the ranks, by [variables](environment.md#checkpoints), where and how often to save; the
program saves with `slurmkit.train`, or by its own means. How to choose `every` is explained in
[Choosing the interval](../explanation/interval.md).
""",
    "resilience": """
`resilience: true` takes every default, and a list such as `[spare, successor, requeue]` is
`on_node_failure` and `then` in one. [Survive failures](../how-to/recover.md) shows it, and
[What is guaranteed](../explanation/guarantees.md) says what it can do and what not.
""",
}


def job_page() -> str:
    """Return the page of job.yaml, with more than its models say about some sections."""
    from slurmkit.spec.reference import markdown  # noqa: PLC0415

    text = str(markdown())
    for section, more in _MORE.items():
        heading = f"## `{section}`\n"
        if heading not in text:
            raise SystemExit(f"job.yaml has no section {section!r} any more")
        text = text.replace(heading, heading + more)
    return text


_SAVES_S = (0.1, 1.0, 10.0, 60.0, 300.0)
_FAILURES_H = (1, 6, 24, 24 * 7)


def intervals_table() -> str:
    """Return Daly's interval, and what is lost then, by the cost of a save and the failures."""
    from slurmkit.checkpoint.interval import daly_s, overhead  # noqa: PLC0415
    from slurmkit.observe.words import span  # noqa: PLC0415

    heads = " | ".join(f"a failure every {span(hours * 3600)}" for hours in _FAILURES_H)
    lines = [f"| a save costs | {heads} |", "|---|" + "---|" * len(_FAILURES_H)]
    for save_s in _SAVES_S:
        cells = []
        for hours in _FAILURES_H:
            best_s = daly_s(save_s, hours * 3600)
            lost = overhead(best_s, save_s, hours * 3600)
            cells.append(f"{span(best_s)}, {lost:.1%} lost".replace("%", " %"))
        lines.append(f"| {span(save_s)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def flat_table() -> str:
    """Return what is lost when the interval is not the best one."""
    from slurmkit.checkpoint.interval import daly_s, overhead  # noqa: PLC0415
    from slurmkit.observe.words import span  # noqa: PLC0415

    save_s, mtbf_s = 10.0, 12 * 3600.0
    best_s = daly_s(save_s, mtbf_s)
    lines = ["| interval | is | lost |", "|---|---|---|"]
    factors = ((0.25, "a quarter"), (0.5, "half"), (1, "the best"), (2, "twice"), (4, "4 times"))
    for factor, name in factors:
        lost = overhead(factor * best_s, save_s, mtbf_s)
        lines.append(f"| {name} | {span(factor * best_s)} | {100 * lost:.1f} % |")
    return "\n".join(lines)


def check_page(name: str) -> Callable[[], str]:
    """Return a function that gives the page of one check of nodes."""

    def text() -> str:
        from slurmkit.health.reference import pages  # noqa: PLC0415

        return pages()[name]

    return text


def check_names() -> list[str]:
    """Return the ids of the checks of nodes, which have a page each."""
    from slurmkit.health.registry import all_checks  # noqa: PLC0415

    return [check.id for check in all_checks()]


#: Pages that are written as a whole.
PAGES: dict[str, Callable[[], str]] = {
    "reference/cli.md": cli_page,
    "reference/job-yaml.md": job_page,
    "reference/hosts-yaml.md": _call("slurmkit.hosts.reference:markdown"),
    "reference/site-yaml.md": _call("slurmkit.site.reference:markdown"),
    "reference/site-check.md": _call("slurmkit.sitecheck.reference:markdown"),
    "reference/json.md": json_page,
    "reference/slurm-versions.md": _call("slurmkit.site.generate.reference:markdown"),
    "reference/fabrics.md": _call("slurmkit.site.fabric_reference:markdown"),
    "reference/doctor.md": _call("slurmkit.doctor.reference:markdown"),
}
PAGES |= {f"reference/checks-of-nodes/{name}.md": check_page(name) for name in check_names()}
#: Parts of pages, between ``<!-- begin NAME ... -->`` and ``<!-- end NAME -->``.
PARTS: dict[str, Callable[[], str]] = {
    "reference/environment.md#ranks": _call("slurmkit.launch.variables:reference_table"),
    "reference/environment.md#affinity": _call("slurmkit.topology.affinity_env:reference_table"),
    "explanation/interval.md#intervals": intervals_table,
    "explanation/interval.md#flat": flat_table,
    "reference/checks.md#checks": _call("slurmkit.check.reference:markdown"),
    "reference/health-checks.md#checks": _call("slurmkit.health.reference:markdown"),
}


def page_text(name: str) -> str:
    """Return what a page of PAGES should hold now."""
    return _NOTICE + PAGES[name]().strip() + "\n"


def with_part(page: str, part: str, text: str) -> str:
    """Return the page with the text between the part's marks."""
    marks = re.compile(rf"(<!-- begin {part}\b[^\n]*-->\n).*?(<!-- end {part} -->)", re.DOTALL)
    found = marks.search(page)
    if found is None:
        raise SystemExit(f"no marks for the part {part!r}")
    return f"{page[: found.end(1)]}\n{text.strip()}\n\n{page[found.start(2) :]}"


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` return 1 and name those that are out of date."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    wanted = {name: page_text(name) for name in PAGES}
    for name, part_text in PARTS.items():
        page, _, part = name.partition("#")
        before = wanted.get(page) or (DOCS_DIR / page).read_text(encoding="utf-8")
        wanted[page] = with_part(before, part, part_text())
    stale = [name for name, text in wanted.items() if _read(DOCS_DIR / name) != text]
    if "--check" in arguments:
        if stale:
            print(f"out of date: {', '.join(stale)}; run docs/generate.py", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (DOCS_DIR / name).write_text(wanted[name], encoding="utf-8")
        print(f"wrote docs/{name}")
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
