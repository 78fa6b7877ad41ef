"""Job files of tests: written below a folder, and loaded."""

from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from slurmkit.spec.loader import Job, load

NEEDED = "name: demo\nlaunch: {command: [python, train.py]}\n"
reuse_tmp_path = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None
)
ENV_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def write(folder: Path, text: str, name: str = "job.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def loaded(folder: Path, text: str, *overrides: str) -> Job:
    return load(write(folder, NEEDED + text), overrides)
