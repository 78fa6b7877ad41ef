"""The public names stay what they are, whatever was imported before."""

from pathlib import Path

from slurmkit import api


def test_no_module_of_the_package_has_a_public_name() -> None:
    modules = {path.stem for path in Path(api.__file__).parent.glob("*.py")}
    assert not modules & {*api.__all__}


def test_every_public_name_can_be_had() -> None:
    assert [name for name in api.__all__ if not hasattr(api, name)] == []
