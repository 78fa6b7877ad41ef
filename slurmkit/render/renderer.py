"""Plan to batch script, through Jinja2 templates that users and sites may replace."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import jinja2

from slurmkit.errors import InvalidInputError, Location, Problem
from slurmkit.plan.model import Plan
from slurmkit.render import shell
from slurmkit.render.cache import CompiledTemplates
from slurmkit.resources import shipped_dir

# What a template can raise; whether it was a person's template, its place tells.
_MISTAKES = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


def render(plan: Plan, search_dirs: Sequence[Path]) -> str:
    """Return the text of the batch script.

    Args:
        plan: what the script has to say.
        search_dirs: folders that may hold ``sbatch/KIND.sbatch.j2``; the first one found is used.
            The shipped templates come last even when they are not among them.

    Raises:
        InvalidInputError: a template that a person wrote is wrong; tells its file and line.
    """
    return _render(f"sbatch/{plan.kind}.sbatch.j2", plan, search_dirs)


def render_local(plan: Plan, search_dirs: Sequence[Path]) -> str:
    """Return the shell script that prepares a run on this machine, from ``sbatch/local.sh.j2``.

    It writes the environment that the software section leaves, NUL-separated, to the file that its
    first argument names. Arguments and errors are those of ``render``.
    """
    return _render("sbatch/local.sh.j2", plan, search_dirs)


def render_hosts(plan: Plan, start: object, search_dirs: Sequence[Path]) -> str:
    """Return the script that starts the ranks on hosts without Slurm, from ``hosts/mpirun.sh.j2``.

    Args:
        plan: the job.
        start: what the template calls ``start``; see slurmkit.api.hosts.
        search_dirs: as of ``render``.

    Raises:
        InvalidInputError: as ``render``.
    """
    return _render("hosts/mpirun.sh.j2", plan, search_dirs, start=start)


def _render(name: str, plan: Plan, search_dirs: Sequence[Path], **more: object) -> str:
    environment = _environment([*search_dirs, shipped_dir("templates")])
    try:
        template = environment.get_template(name)
        return template.render(plan=plan, step=plan.step, **more)
    except _MISTAKES as error:
        problem = _problem(error)
        if problem is None:
            raise
        raise InvalidInputError([problem]) from error


def _environment(folders: Sequence[Path]) -> jinja2.Environment:
    shipped = str(shipped_dir("templates"))
    loader = jinja2.ChoiceLoader(
        [
            jinja2.FileSystemLoader([str(folder) for folder in folders]),
            # A template that replaces a shipped one can still extend it, by this prefix.
            jinja2.PrefixLoader({"shipped": jinja2.FileSystemLoader(shipped)}),
        ]
    )
    # No HTML is made here: values are quoted for the shell, by the filters.
    environment = jinja2.Environment(  # noqa: S701
        loader=loader,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        bytecode_cache=CompiledTemplates(),
    )
    filters: dict[str, Callable[..., str]] = {
        "quote": shell.quote,
        "word": shell.quote_word,
        "words": shell.quote_words,
        "directive": shell.directive,
        "comment": shell.comment,
    }
    environment.filters.update(filters)
    return environment


def _problem(error: Exception) -> Problem | None:
    """Return what is wrong with a person's template; None when it is not such a mistake."""
    where = _place(error)
    if isinstance(error, jinja2.TemplateNotFound):
        message = f"there is no template {error.name!r}"
        hint = "shipped ones are sbatch/base.sbatch.j2 and its children; see the templates page"
        return Problem(message, where=where, hint=hint, code="template-missing")
    if where is None or where.file.startswith(str(shipped_dir("templates"))):
        return None
    if isinstance(error, jinja2.TemplateSyntaxError):
        return Problem(f"template syntax: {error.message}", where=where, code="template-syntax")
    message = f"the template fails: {error}"
    return Problem(message, where=where, code="template", hint=_hint(error))


def _hint(error: Exception) -> str:
    if isinstance(error, jinja2.UndefinedError):
        return "templates know plan and step; slurmkit render --json prints what they hold"
    return ""


def _place(error: Exception) -> Location | None:
    """Return the innermost template line that the error passed; Jinja rewrites its tracebacks."""
    if isinstance(error, jinja2.TemplateSyntaxError) and error.filename:
        return Location(error.filename, error.lineno, 1)
    place = None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.endswith(".j2"):
            place = Location(file, trace.tb_lineno, 1)
        trace = trace.tb_next
    return place
