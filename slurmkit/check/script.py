"""Checks of the batch script: its directives, its size, and what people put into it."""

from slurmkit.check.registry import About, Problems, local
from slurmkit.check.request import option_of
from slurmkit.check.sbatch_options import NOT_IN_A_SCRIPT, OPTIONS, OWN_KEYS, RELIED_ON
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
        "directive-not-in-script",
        "The extra directives are ones that sbatch can act on while slurmkit submits.",
        "--wait makes sbatch wait for the end of the job, and slurmkit with it",
    )
)
def directive_not_in_script(subject: Subject) -> Problems:
    """Find options that belong on sbatch's command line alone."""
    for index, line in enumerate(subject.spec.sbatch):
        option, _ = option_of(line)
        if option in NOT_IN_A_SCRIPT:
            yield subject.problem(
                f"sbatch.{index}",
                f"{option} {NOT_IN_A_SCRIPT[option]}",
                "Remove it.",
            )


@local(
    About(
        "directive-export",
        "No --export passes values, which Slurm cuts at commas, or names that leave PATH out.",
        "--export=LR=0.1,BS=8 loses the environment, and values at their first comma",
    )
)
def directive_export(subject: Subject) -> Problems:
    """Find ways to pass variables that lose some without a word."""
    for index, line in enumerate(subject.spec.sbatch):
        option, value = option_of(line)
        words = (value or "").split(",")
        if option != "--export" or words[0].upper() in ("NONE", "NIL") or words == ["ALL"]:
            continue
        lost = "" if words[0] == "ALL" else "the environment, and "
        yield subject.problem(
            f"sbatch.{index}",
            f"--export={value} loses {lost}values at their first comma",
            "Put variables under env: they arrive unchanged.",
        )


@local(
    About(
        "directive-relied-on",
        "The extra directives leave alone what the launch and the logs are built on.",
        "--ntasks=4 contradicts what the script's own lines say: --ntasks-per-node=8",
    )
)
def directive_relied_on(subject: Subject) -> Problems:
    """Find directives that win over those that the rest of the script counts on."""
    own = {directive.option: directive.value for directive in subject.plan.directives}
    for index, line in enumerate(subject.spec.sbatch):
        option, value = option_of(line)
        if option not in RELIED_ON or (option in own and own[option] == value):
            continue
        against, key = RELIED_ON[option]
        said = f"{against}={own[against]}" if own.get(against) else against
        if option == "--gres" and not _touches_gpus(value, own.get("--gres")):
            continue
        yield subject.problem(
            f"sbatch.{index}",
            f"{option}{f'={value}' if value else ''} contradicts what the script's own lines say: "
            f"{said}",
            f"Write {key} instead." if key else "Remove it.",
        )


def _touches_gpus(value: str | None, own: str | None) -> bool:
    """Tell whether another --gres takes the GPUs away that the job asks for, or adds some."""
    items = (value or "").replace("gres:", "").replace("gres/", "").split(",")
    if own is None:
        return any(item.split(":")[0] == "gpu" for item in items)
    return own not in items


@local(
    About(
        "directive-overrides",
        "An extra directive does not win over a key of the job file that says the same thing.",
        "--time=1:00:00 wins over resources.time",
        warning=True,
    )
)
def directive_overrides(subject: Subject) -> Problems:
    """Find two answers to one question, of which sbatch takes the later."""
    own = {directive.option for directive in subject.plan.directives if directive.value}
    for index, line in enumerate(subject.spec.sbatch):
        option, value = option_of(line)
        if option in OWN_KEYS and option in own and OWN_KEYS[option] is not None:
            yield subject.problem(
                f"sbatch.{index}",
                f"{option}={value} wins over {OWN_KEYS[option]}",
                f"Write it as {OWN_KEYS[option]}.",
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
        option, _ = option_of(line)
        known = option in OPTIONS or option in RELIED_ON or option in NOT_IN_A_SCRIPT
        if known or option in OWN_KEYS or not option.startswith("--"):
            continue
        near = nearest(option, {*OPTIONS, *OWN_KEYS, *RELIED_ON})
        yield subject.problem(
            f"sbatch.{index}",
            f"sbatch has no option {option}, unless a plugin adds it",
            f"Did you mean {near}?" if near else "",
        )
