"""Checks of the batch script: its directives, its size, and what people put into it."""

from slurmkit.check.registry import About, Problems, local
from slurmkit.check.sbatch_options import OPTIONS
from slurmkit.check.scripts import directives_after_command
from slurmkit.check.subject import Subject, nearest
from slurmkit.errors import Location

# Slurm's default of SchedulerParameters=max_script_size; slurm.conf(5).
_MAX_SCRIPT_BYTES = 4 * 1024**2


@local(
    About(
        "directive-ignored",
        "All #SBATCH lines of the script stand before its first command.",
        "'#SBATCH --mem=64G' stands after the first command, where sbatch ignores it",
    )
)
def directive_ignored(subject: Subject) -> Problems:
    """Find directives that a template of one's own put too late."""
    lines = subject.script.split("\n")
    for number in directives_after_command(subject.script):
        line = lines[number - 1].strip()
        yield subject.problem(
            "",
            f"{line!r} stands after the first command, where sbatch ignores it",
            "Move it up, into the template's block `directives`.",
            _place(subject, line, number),
        )


def _place(subject: Subject, line: str, number: int) -> Location:
    """Return where a person wrote the line: in a template, else where it is in the script."""
    for template in subject.facts.templates:
        for index, text in enumerate(template.text.split("\n"), start=1):
            head = text.strip().partition("{{")[0].strip()
            if head.startswith("#SBATCH -") and line.startswith(head):
                return Location(template.path, index, 1)
    return Location("job.sbatch", number, 1)


@local(
    About(
        "script-too-large",
        "The script is within the 4 MiB that the controller takes (max_script_size).",
        "the script has 5.2 MiB; slurmctld takes 4 MiB",
    )
)
def script_too_large(subject: Subject) -> Problems:
    """Find scripts that sbatch refuses; long environments and sweeps make them so."""
    size = len(subject.script.encode(errors="surrogateescape"))
    if size > _MAX_SCRIPT_BYTES:
        key = "sweep" if subject.spec.sweep is not None else "env"
        yield subject.problem(
            key,
            f"the script has {size / 1024**2:.1f} MiB; slurmctld takes 4 MiB",
            "Put long values into a file that the program reads.",
        )


@local(
    About(
        "setup-syntax",
        "bash can read the lines under setup.",
        "bash cannot read these lines: line 2: syntax error near unexpected token `fi'",
    )
)
def setup_syntax(subject: Subject) -> Problems:
    """Find shell lines that would end the script."""
    complaint = subject.facts.setup_complaint
    if complaint:
        yield subject.problem(
            "software.setup",
            f"bash cannot read these lines: {complaint}",
            "Each entry is a line of one script.",
        )


@local(
    About(
        "directive-unknown",
        "The extra directives are options of sbatch, or of a plugin.",
        "sbatch has no option --mail-tpye, unless a plugin adds it",
        warning=True,
    )
)
def directive_unknown(subject: Subject) -> Problems:
    """Find typing errors; SPANK plugins may add options that nobody can list."""
    for index, line in enumerate(subject.spec.sbatch):
        option = line.strip().partition("=")[0].partition(" ")[0]
        if option in OPTIONS or not option.startswith("--"):
            continue
        # getopt_long(3): any beginning of a name will do that fits one option only.
        if len([name for name in OPTIONS if name.startswith(option)]) == 1:
            continue
        near = nearest(option, OPTIONS)
        yield subject.problem(
            f"sbatch.{index}",
            f"sbatch has no option {option}, unless a plugin adds it",
            f"Did you mean {near}?" if near else "See `sbatch --help`.",
        )
