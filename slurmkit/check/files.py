"""Checks of where the run keeps its files, and where secrets come from."""

from slurmkit.check.registry import About, Problems, local
from slurmkit.check.subject import Subject

# Logs, records and the code's diff fit into this many times over; checkpoints do not.
_ENOUGH_BYTES = 100 * 1024**2
_ENOUGH_FILES = 1000


@local(
    About(
        "run-root-not-writable",
        "The user may create files in the run root, or create it.",
        "the run root /data/runs cannot be written: you may not create files in /data",
    )
)
def run_root_not_writable(subject: Subject) -> Problems:
    """Find run roots without which nothing can be submitted."""
    fact = subject.facts.run_root
    if fact is not None and not fact.writable:
        yield subject.problem(
            "",
            f"the run root {fact.path} cannot be written: you may not create files in "
            f"{fact.parent}",
            "Set $SLURMKIT_RUN_ROOT, or run_root in site.yaml, to a folder of yours on the shared "
            "file system.",
        )


@local(
    About(
        "run-root-node-local",
        "The run root is on a file system that all nodes share.",
        "the run root /tmp/runs is on this machine alone (tmpfs): jobs on other nodes fail "
        "without a log",
        warning=True,
    )
)
def run_root_node_local(subject: Subject) -> Problems:
    """Find run roots that compute nodes do not see: such a job fails with 0:53 and no log."""
    fact = subject.facts.run_root
    if fact is not None and fact.node_local:
        yield subject.problem(
            "",
            f"the run root {fact.path} is on this machine alone ({fact.file_system}): jobs on "
            "other nodes fail without a log",
            "Set $SLURMKIT_RUN_ROOT, or run_root in site.yaml, to a shared file system.",
        )


@local(
    About(
        "run-root-full",
        "The run root has room for logs and records.",
        "the run root /data/runs has 12 MB left",
        warning=True,
    )
)
def run_root_full(subject: Subject) -> Problems:
    """Find file systems that are about to refuse the first log line."""
    fact = subject.facts.run_root
    if fact is None:
        return
    if fact.free_bytes is not None and fact.free_bytes < _ENOUGH_BYTES:
        left = f"{fact.free_bytes // 1000**2} MB"
    elif fact.free_files is not None and fact.free_files < _ENOUGH_FILES:
        left = f"room for {fact.free_files} more files"
    else:
        return
    yield subject.problem(
        "", f"the run root {fact.path} has {left} left", "Remove old runs, or use another folder."
    )


@local(
    About(
        "secret-missing",
        "Each secret's variable is set, or its file is there.",
        "the secret HF_TOKEN is not in your environment",
    )
)
def secret_missing(subject: Subject) -> Problems:
    """Find secrets that nobody gave."""
    for fact in subject.facts.secrets:
        if fact.present and not fact.denied:
            continue
        if fact.denied:
            message, hint = f"you may not read {fact.path}", "Name a file of yours."
        elif fact.path:
            message = f"there is no file {fact.path} with the secret {fact.name}"
            hint = f"Write it: install -m 600 /dev/stdin {fact.path}"
        else:
            source = "" if fact.variable == fact.name else f" (as {fact.variable})"
            message = f"the secret {fact.name} is not in your environment{source}"
            hint = f"Run `export {fact.variable}=...` before you submit, or give a file."
        yield subject.problem(fact.key, message, hint)


@local(
    About(
        "secret-exposed",
        "A secret's file belongs to the user, and nobody else may read it (mode 0600).",
        "/home/user1/token may be read by others: its mode is 0644",
    )
)
def secret_exposed(subject: Subject) -> Problems:
    """Find secret files that are no secret."""
    for fact in subject.facts.secrets:
        if not fact.path or not fact.present:
            continue
        if fact.owner != subject.facts.uid:
            yield subject.problem(
                fact.key,
                f"{fact.path} belongs to another user (uid {fact.owner})",
                "Keep secrets in a file of your own, mode 0600.",
            )
        elif fact.mode & 0o077:
            yield subject.problem(
                fact.key,
                f"{fact.path} may be read by others: its mode is {fact.mode:04o}",
                f"Run: chmod 600 {fact.path}",
            )


@local(
    About(
        "secret-empty",
        "A secret has a value.",
        "the secret HF_TOKEN is empty",
        warning=True,
    )
)
def secret_empty(subject: Subject) -> Problems:
    """Find variables and files that are there and hold nothing."""
    for fact in subject.facts.secrets:
        if fact.present and not fact.denied and fact.empty:
            yield subject.problem(
                fact.key, f"the secret {fact.name} is empty", "Give it a value, or leave it out."
            )
