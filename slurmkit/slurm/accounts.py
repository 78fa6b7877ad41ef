"""The door to slurmdbd: sacctmgr's tables as rows of text, and changes one by one."""

import os
from collections.abc import Mapping, Sequence

from slurmkit.errors import RefusedError, SlurmError
from slurmkit.slurm.runner import Output, Runner

Table = list[dict[str, str]]

_NOT_ALLOWED = ("isn't authorized", "not authorized", "Access/permission denied", "privilege")
_NO_DATABASE = ("accounting_storage", "slurmdbd", "SlurmDBD", "You are not running a supported")
_TIMEOUT_S = 60.0


def default_runner() -> Runner:
    """Return how sacctmgr is started by people: with their environment."""
    return Runner(os.environ, timeout_s=_TIMEOUT_S)


class AccountManager:
    """slurmdbd as sacctmgr shows and changes it.

    Args:
        runner: how to start sacctmgr.
    """

    def __init__(self, runner: Runner | None = None) -> None:
        self._runner = runner or default_runner()

    def table(self, entity: Sequence[str], columns: Sequence[str]) -> Table:
        """Return a table.

        Args:
            entity: what to show, such as ``("qos",)`` or ``("account", "withcoordinator")``.
            columns: names of columns; what may hold any text comes last.

        Raises:
            SlurmUnreachableError: there is no sacctmgr, or slurmdbd does not answer.
            SlurmError: sacctmgr failed.
        """
        words = ["sacctmgr", "--noheader", "--parsable2", "show", *entity]
        output = self._runner.run([*words, f"format={','.join(columns)}"])
        if output.returncode != 0:
            raise _error(output)
        rows = []
        for line in output.stdout.splitlines():
            values = line.split("|", len(columns) - 1)
            if len(values) != len(columns):
                raise SlurmError(
                    f"sacctmgr show {entity[0]} printed {line!r}, which has not "
                    f"{len(columns)} columns"
                )
            rows.append(dict(zip(columns, values, strict=True)))
        return rows

    def tables(
        self, questions: Mapping[str, tuple[Sequence[str], Mapping[str, object]]]
    ) -> dict[str, Table]:
        """Return several tables: by name, what to show and the columns."""
        return {
            name: self.table(entity, tuple(columns))
            for name, (entity, columns) in questions.items()
        }

    def change(self, command: Sequence[str]) -> None:
        """Change something.

        Args:
            command: the words after ``sacctmgr --immediate``.

        Raises:
            RefusedError: this user may not.
            SlurmUnreachableError: there is no sacctmgr, or slurmdbd does not answer.
            SlurmError: sacctmgr failed.
        """
        output = self._runner.run(["sacctmgr", "--immediate", *command])
        if output.returncode != 0:
            raise _error(output)


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
