"""Checks of the program's environment, its arguments, and how its ranks share a node."""

from slurmkit.check.facts import SYSTEM_DIRS
from slurmkit.check.registry import About, Problems, local
from slurmkit.check.subject import Subject

# Longest single string of an exec, its name and the ending NUL included: MAX_ARG_STRLEN of Linux.
_MAX_STRING_BYTES = 128 * 1024


@local(
    About(
        "env-path",
        "A PATH of one's own still leads to the system's programs.",
        "PATH leads neither to /usr/bin nor to /bin, so that the script finds no srun",
    )
)
def env_path(subject: Subject) -> Problems:
    """Find a PATH under which the script itself cannot go on."""
    value = dict(subject.plan.env).get("PATH")
    if value is not None and not SYSTEM_DIRS & set(value.split(":")):
        yield subject.problem(
            "env.PATH",
            "PATH leads neither to /usr/bin nor to /bin, so that the script finds no srun",
            'Write a line such as `export PATH="/my/bin:$PATH"` under software.setup.',
        )


@local(
    About(
        "string-too-long",
        "Each variable and argument is shorter than the 128 KiB that Linux hands to a program.",
        "DATA has 200000 bytes; Linux hands no variable of more than 131071 to a program",
    )
)
def string_too_long(subject: Subject) -> Problems:
    """Find strings with which no program starts ("Argument list too long")."""
    most = _MAX_STRING_BYTES - 1
    for name, value in subject.spec.env.items():
        size = len(f"{name}={value}".encode(errors="surrogateescape"))
        if size > most:
            yield subject.problem(
                f"env.{name}",
                f"{name} has {size} bytes; Linux hands no variable of more than {most} to a "
                "program",
                "Put it into a file that the program reads.",
            )
    for index, argument in enumerate(subject.spec.launch.command):
        size = len(argument.encode(errors="surrogateescape"))
        if size > most:
            yield subject.problem(
                f"launch.command.{index}",
                f"the argument has {size} bytes; Linux hands none of more than {most} to a program",
                "Put it into a file that the program reads.",
            )


@local(
    About(
        "env-too-large",
        "All variables and arguments together fit into what the kernel takes (ARG_MAX).",
        "environment and arguments take 2500000 bytes; the kernel takes 2097152",
    )
)
def env_too_large(subject: Subject) -> Problems:
    """Find environments with which no program starts; the job inherits the submitter's."""
    own = sum(len(f"{name}={value}") + 9 for name, value in subject.plan.env)
    arguments = sum(len(argument) + 9 for argument in subject.spec.launch.command)
    total = subject.facts.environ_bytes + own + arguments
    if total > subject.facts.arg_max:
        yield subject.problem(
            "env",
            f"environment and arguments take {total} bytes; the kernel takes "
            f"{subject.facts.arg_max}",
            "Put long values into a file, or submit from a smaller environment.",
        )


@local(
    About(
        "gpus-shared-by-ranks",
        "A torch job has as many ranks on a node as GPUs.",
        "8 ranks share 4 GPUs on each node",
        warning=True,
    )
)
def gpus_shared_by_ranks(subject: Subject) -> Problems:
    """Find ranks that would run on one GPU together, which NCCL refuses."""
    shape = subject.request.shape
    if subject.spec.launch.kind == "torch" and 0 < shape.gpus_per_node < shape.tasks_per_node:
        yield subject.problem(
            "resources.tasks_per_node",
            f"{shape.tasks_per_node} ranks share {shape.gpus_per_node} GPUs on each node",
            f"NCCL wants one GPU for each rank: write tasks_per_node: {shape.gpus_per_node}.",
        )


@local(
    About(
        "gpus-idle",
        "A torch job has a rank for each GPU, or says by one rank that it sees to them itself.",
        "2 ranks for 8 GPUs on each node: 6 GPUs have no rank",
        warning=True,
    )
)
def gpus_idle(subject: Subject) -> Problems:
    """Find GPUs that are paid for and not used; one rank may well use all of its node."""
    shape = subject.request.shape
    if subject.spec.launch.kind == "torch" and 1 < shape.tasks_per_node < shape.gpus_per_node:
        yield subject.problem(
            "resources.tasks_per_node",
            f"{shape.tasks_per_node} ranks for {shape.gpus_per_node} GPUs on each node: "
            f"{shape.gpus_per_node - shape.tasks_per_node} GPUs have no rank",
            f"Write tasks_per_node: {shape.gpus_per_node}, or ask for fewer GPUs.",
        )
