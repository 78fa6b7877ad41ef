"""How long a person waits for slurmkit to start, against importing what it is made of."""

import sys
from collections.abc import Callable
from pathlib import Path

SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))


def test_render(
    tmp_path: Path,
    in_turn: Callable[..., object],
    program: Callable[..., Callable[[], object]],
    figure: Callable[[str, str, str], None],
) -> None:
    program(SLURMKIT, "init", "llama-finetune", str(tmp_path))()
    render = program(SLURMKIT, "render", str(tmp_path / "llama-finetune.yaml"))
    imports = program(sys.executable, "-c", "import typer, pydantic, jinja2, yaml")
    pair = in_turn(render, imports, rounds=15)
    figure("slurmkit render / import typer, pydantic, jinja2, yaml", f"{pair.ratio:.2f}", "<= 1.6")


def test_help(
    in_turn: Callable[..., object],
    program: Callable[..., Callable[[], object]],
    figure: Callable[[str, str, str], None],
) -> None:
    shown = program(SLURMKIT, "--help")
    imports = program(sys.executable, "-c", "import typer")
    pair = in_turn(shown, imports, rounds=15)
    figure("slurmkit --help / import typer", f"{pair.ratio:.2f}", "<= 1.3")
