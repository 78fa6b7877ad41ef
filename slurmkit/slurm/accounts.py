"""The door to slurmdbd: sacctmgr's tables as rows of text, and changes one by one."""

import os
from collections.abc import Mapping, Sequence

from slurmkit.errors import RefusedError, SlurmError
from slurmkit.slurm.runner import Output, Runner

Table = list[dict[str, str]]

_NOT_ALLOWED = ("isn't authorized", "not authorized", "Access/permission denied", "privilege")
_NO_DATABASE = ("accounting_storage", "slurmdbd", "SlurmDBD", "You are not running a supported")
_TIMEOUT_S = 60.0


def tables(
    questions: Mapping[str, tuple[Sequence[str], Mapping[str, object]]],
) -> dict[str, Table]:
    """Return several tables.

    Args:
        questions: by name, what to show, such as ``("account", "withcoordinator")``, and the names
            of columns; what may hold any text comes last.

    Raises:
        SlurmUnreachableError: there is no sacctmgr, or slurmdbd does not answer.
        SlurmError: sacctmgr failed.
    """
    return {name: _table(entity, tuple(columns)) for name, (entity, columns) in questions.items()}


def _table(entity: Sequence[str], columns: Sequence[str]) -> Table:
    words = ("--noheader", "--parsable2", "show", *entity, f"format={','.join(columns)}")
    rows = []
    for line in _sacctmgr(words).splitlines():
        values = line.split("|", len(columns) - 1)
        if len(values) != len(columns):
            raise SlurmError(
                f"sacctmgr show {entity[0]} printed {line!r}, which has not {len(columns)} columns"
            )
        rows.append(dict(zip(columns, values, strict=True)))
    return rows


def change(command: Sequence[str]) -> None:
    """Change something.

    Args:
        command: the words after ``sacctmgr --immediate``.

    Raises:
        RefusedError: this user may not.
        SlurmUnreachableError: there is no sacctmgr, or slurmdbd does not answer.
        SlurmError: sacctmgr failed.
    """
    _sacctmgr(("--immediate", *command))


def _sacctmgr(words: Sequence[str]) -> str:
    """Return what sacctmgr prints; it is started as by a person, with the person's environment."""
    output = Runner(os.environ, timeout_s=_TIMEOUT_S).run(["sacctmgr", *words])
    if output.returncode != 0:
        raise _error(output)
    return output.stdout


def _error(output: Output) -> SlurmError | RefusedError:
    said = f"{output.stderr} {output.stdout}"
    command = " ".join(output.argv)
    complaint = output.complaint or " ".join(output.stdout.split()) or "nothing"
    if any(words in said for words in _NOT_ALLOWED):
        return RefusedError(
            f"slurmdbd refuses {command}: {complaint}",
            hint="run it as a user whose AdminLevel is Operator or Administrator, or as root",
        )
    error = output.error()
    if type(error) is SlurmError:
        error = SlurmError(f"{command} failed: {complaint}")
    if any(words in said for words in _NO_DATABASE):
        error.hint = "this cluster may have no slurmdbd: see AccountingStorageType in slurm.conf"
    return error
