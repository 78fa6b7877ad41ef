"""Paths with variables: USER is always known, and nothing is put into a folder called $SCRATCH."""

import os
import pwd
from pathlib import Path

import pytest

from slurmkit.api.preparing import expanded
from slurmkit.errors import UsageError


def test_variables_and_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch")
    monkeypatch.setenv("HOME", "/home/user1")
    assert expanded("$SCRATCH/${SCRATCH}x/runs") == Path("/scratch//scratchx/runs")
    assert expanded("~/runs") == Path("/home/user1/runs")


def test_the_user_is_known_where_nobody_has_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("USER", raising=False)
    assert expanded("/shared/$USER") == Path("/shared", pwd.getpwuid(os.getuid()).pw_name)


def test_an_unset_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCRATCH", raising=False)
    with pytest.raises(UsageError, match=r"\$SCRATCH is not set"):
        expanded("$SCRATCH/runs")
