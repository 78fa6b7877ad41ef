"""Secrets are readable by their owner alone and gone when they are removed."""

import stat
from pathlib import Path

import pytest

from slurmkit.errors import UsageError
from slurmkit.rundir.secretfile import read_secrets, remove_secrets, secrets_path, write_secrets


def test_written_for_the_owner_alone_and_read_back(tmp_path: Path) -> None:
    values = {"HF_TOKEN": "it's\nmulti 'line' 🚀", "EMPTY": ""}
    write_secrets(tmp_path, values)
    assert stat.S_IMODE(Path(secrets_path(tmp_path)).stat().st_mode) == 0o600
    assert read_secrets(tmp_path) == values


def test_removed_once(tmp_path: Path) -> None:
    assert read_secrets(tmp_path) is None
    write_secrets(tmp_path, {"A": "b"})
    assert remove_secrets(tmp_path)
    assert not remove_secrets(tmp_path)
    assert read_secrets(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_nul_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="NUL"):
        write_secrets(tmp_path, {"A": "b\0c"})
    assert list(tmp_path.iterdir()) == []
