"""Whether hosts can take part in a run: one question to each, and what is wrong with an answer."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slurmkit.errors import SlurmkitError
from slurmkit.hostlist import compress
from slurmkit.hosts.model import Host, Hosts
from slurmkit.hosts.outcome import Outcome
from slurmkit.hosts.ssh import run_all

_BEGIN = "slurmkit-probe"


@dataclass(frozen=True)
class Question:
    """What is asked of every host.

    Attributes:
        shared_file: a file of this machine that every host has to see; empty for none.
        slurmkit: path of the slurmkit command; empty when the run does without.
        slurmkit_version: what it answers here.
        python: path of the Python that it runs by.
        python_version: that of the one here.
        mpirun: path of mpirun; empty when it is not known yet.
        mpirun_version: the first line that it answers here.
        daemon: path of the program that it starts on every host; empty for not known.
        workdir: folder to run in.
        program: first word of the command.
        path: PATH that the program is looked for in.
    """

    shared_file: str = ""
    slurmkit: str = ""
    slurmkit_version: str = ""
    python: str = ""
    python_version: str = ""
    mpirun: str = ""
    mpirun_version: str = ""
    daemon: str = ""
    workdir: str = ""
    program: str = ""
    path: str = ""


@dataclass(frozen=True)
class Trouble:
    """Why one host cannot take part."""

    host: str
    message: str
    hint: str


class HostsError(SlurmkitError):
    """Hosts that cannot take part in a run.

    Args:
        troubles: what is wrong with which host.
        num_hosts: how many were asked.
    """

    def __init__(self, troubles: Sequence[Trouble], num_hosts: int) -> None:
        self.troubles = tuple(troubles)
        grouped: dict[tuple[str, str], list[str]] = {}
        for item in troubles:
            grouped.setdefault((item.message, item.hint), []).append(item.host)
        lines = []
        for (message, hint), names in grouped.items():
            lines.append(f"  {compress(names)}: {message}\n    {hint.replace('HOST', names[0])}")
        count = len({item.host for item in troubles})
        head = f"{count} of {num_hosts} hosts cannot take part:"
        super().__init__("\n".join([head, *lines]))


def script(question: Question) -> str:
    """Return the question as a program of sh: it answers in lines of NAME=VALUE."""
    q = shlex.quote
    lines = [
        f"echo {_BEGIN}",
        'say() { printf "%s=%s\\n" "$1" "$2"; }',
        'say hostname "$(uname -n)"',
        'n=0; for d in /sys/class/infiniband/*; do [ -e "$d" ] && n=$((n+1)); done; say rdma $n',
    ]
    if question.shared_file:
        lines.append(f"if [ -e {q(question.shared_file)} ]; then say shared yes; fi")
    if question.python:
        lines.append(
            f"if [ -x {q(question.python)} ]; then"
            f' say python "$({q(question.python)} --version 2>&1)"; fi'
        )
    if question.slurmkit:
        lines.append(
            f"if [ -x {q(question.slurmkit)} ]; then"
            f' say slurmkit "$({q(question.slurmkit)} --version 2>&1)"; fi'
        )
    if question.mpirun:
        lines.append(
            f"if [ -x {q(question.mpirun)} ]; then"
            f' say mpirun "$({q(question.mpirun)} --version 2>&1 | head -n 1)"; fi'
        )
    if question.daemon:
        lines.append(f"if [ -x {q(question.daemon)} ]; then say daemon yes; fi")
    if question.program:
        lines.append(
            f"if cd {q(question.workdir)} 2>/dev/null; then say workdir yes;"
            f" PATH={q(question.path)}; command -v {q(question.program)} >/dev/null"
            " && say program yes; fi"
        )
    return "\n".join([*lines, "exit 0", ""])


def answers(stdout: str) -> dict[str, str] | None:
    """Return what a host answered; None when what it wrote is no answer."""
    # A login file that prints comes before it.
    _, mark, text = stdout.partition(f"{_BEGIN}\n")
    if not mark:
        return None
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value for name, _, value in pairs}


def judge(question: Question, outcome: Outcome) -> Trouble | None:
    """Return the first thing that keeps a host from taking part; None when nothing does."""
    host = outcome.host
    if outcome.fault is not None:
        return Trouble(host, outcome.fault.message, outcome.fault.hint)
    found = answers(outcome.stdout)
    if found is None:
        said = (outcome.stderr.strip() or outcome.stdout.strip() or "nothing").splitlines()[-1]
        return Trouble(host, f"sh did not run there: {said[:200]}", "ssh HOST sh -c true")
    for message, hint in _wrong(question, found):
        return Trouble(host, message, hint)
    return None


def _wrong(question: Question, found: Mapping[str, str]) -> list[tuple[str, str]]:
    wrong = []
    if question.shared_file and "shared" not in found:
        wrong.append(
            (
                f"it does not see {question.shared_file}, which this machine has just written",
                "name a folder that all hosts mount by shared_dir in hosts.yaml, or by run_root",
            )
        )
    same_place = "install it in the same place on every host, or in a shared folder"
    for name, path, expected in (
        ("python", question.python, question.python_version),
        ("slurmkit", question.slurmkit, question.slurmkit_version),
        ("mpirun", question.mpirun, question.mpirun_version),
        ("daemon", question.daemon, ""),
    ):
        if not path:
            continue
        if name not in found:
            wrong.append((f"there is no program {path}", same_place))
        elif expected and found[name] != expected:
            message = f"another {name}: {path} is {found[name] or 'broken'!r}, here {expected!r}"
            wrong.append((message, "install the same release on every host"))
    if question.program and "workdir" not in found:
        wrong.append((f"there is no folder {question.workdir}", "run in a folder that is shared"))
    elif question.program and "program" not in found:
        wrong.append(
            (
                f"there is no program {question.program} (in {question.workdir}, or on PATH)",
                "put it into a folder that all hosts share, or install it on every host",
            )
        )
    return wrong


def ask(
    hosts: Hosts, selected: Sequence[Host], question: Question, deadline_s: float
) -> dict[str, dict[str, str]]:
    """Ask all hosts at once; return their answers by name.

    Raises:
        HostsError: some cannot take part; names each and why.
    """
    outcomes = run_all(hosts, ["sh", "-s"], deadline_s, stdin=script(question), only=selected)
    troubles = [t for outcome in outcomes.values() if (t := judge(question, outcome)) is not None]
    if troubles:
        raise HostsError(troubles, len(selected))
    return {name: answers(outcome.stdout) or {} for name, outcome in outcomes.items()}
