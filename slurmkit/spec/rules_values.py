"""Rules on variables, secrets and swept values."""

import re
from collections.abc import Callable, Iterator
from math import prod

from slurmkit.reserved import why_reserved
from slurmkit.spec.finding import Finding
from slurmkit.spec.models import JobSpec
from slurmkit.spec.values import MAX_ARRAY_INDEX

_REFERENCE = re.compile(r"\{sweep\.([^{}]*)\}")
_EXPANSION = re.compile(r"\$(?:\{[A-Za-z_]\w*\}?|[A-Z_][A-Z0-9_]*)")


def _reserved(spec: JobSpec) -> Iterator[Finding]:
    names = [(name, f"env.{name}") for name in spec.env]
    names += [(secret.name, f"secrets.{index}") for index, secret in enumerate(spec.secrets)]
    for name, key in names:
        if reason := why_reserved(name):
            yield Finding(
                f"a job may not set {name}: {reason}", key, "Remove it.", code="reserved-name"
            )
        elif name.startswith("SLURM_"):
            yield Finding(
                f"{name} changes how srun itself behaves", key, "Be sure that is meant.", True
            )


def _expansions(spec: JobSpec) -> Iterator[Finding]:
    for name, value in spec.env.items():
        if match := _EXPANSION.search(value):
            yield Finding(
                f"{match[0]} is not replaced: values arrive in every task exactly as they stand",
                f"env.{name}",
                f"Write export {name}=... under software.setup to use other variables.",
                warning=True,
            )
        elif name == "PATH":
            yield Finding(
                "replaces the whole PATH, so that srun and python may not be found",
                "env.PATH",
                "Write export PATH=/my/bin:$PATH under software.setup.",
                warning=True,
            )
        if _REFERENCE.search(value):
            yield Finding(
                "{sweep.NAME} is replaced in launch.command only",
                f"env.{name}",
                "Read the variable SWEEP_NAME in the program.",
                warning=True,
            )


def _secrets(spec: JobSpec) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, secret in enumerate(spec.secrets):
        key = f"secrets.{index}"
        if secret.name in seen:
            yield Finding(f"{secret.name} stands here twice", key, "Keep one of the two.")
        seen.add(secret.name)
        if secret.name in spec.env:
            yield Finding(
                f"{secret.name} stands under env, too, where everybody can read it",
                key,
                f"Remove env.{secret.name}, and change the value if it was the secret.",
            )
        if secret.file is not None and secret.env is not None:
            yield Finding(
                f"{secret.name} has two sources, file and env", key, "Keep one of the two."
            )


def _arrays(spec: JobSpec) -> Iterator[Finding]:
    if spec.array is not None and spec.sweep is not None:
        yield Finding(
            "a sweep is an array itself, so there cannot be another one",
            "array",
            "Give the sweep one more name with these values, or remove one of the two.",
        )


def _sweep(spec: JobSpec) -> Iterator[Finding]:
    if spec.sweep is None:
        return
    matrix = spec.sweep.matrix
    size = prod(len(values) for values in matrix.values())
    if size > MAX_ARRAY_INDEX + 1:
        yield Finding(
            f"stands for {size} combinations; no array of Slurm's has more than"
            f" {MAX_ARRAY_INDEX + 1}",
            "sweep",
            "Remove values.",
        )
    variables: dict[str, str] = {}
    used = set(_REFERENCE.findall("\n".join(spec.launch.command)))
    text = "\n".join(spec.launch.command)
    for name, values in matrix.items():
        key = f"sweep.matrix.{name}"
        variable = f"SWEEP_{name.upper()}"
        if variable in variables:
            yield Finding(
                f"{name} and {variables[variable]} both become {variable}",
                key,
                "Choose names that differ by more than upper and lower case.",
            )
        variables.setdefault(variable, name)
        if variable in spec.env:
            yield Finding(f"carries the swept value {name}", f"env.{variable}", "Remove it.")
        if len(set(values)) < len(values):
            yield Finding(f"{name} has the same value twice; both would run", key, "", True)
        if name not in used and variable not in text:
            yield Finding(
                f"the command does not use {name}",
                key,
                f"Write {{sweep.{name}}} in launch.command, or read {variable} in the program.",
                warning=True,
            )


def _references(spec: JobSpec) -> Iterator[Finding]:
    names = list(spec.sweep.matrix) if spec.sweep is not None else []
    for index, text in enumerate(spec.launch.command):
        for name in _REFERENCE.findall(text):
            if name in names:
                continue
            known = f"it has {', '.join(names)}" if names else "there is no sweep"
            yield Finding(
                f"{{sweep.{name}}} names nothing in the sweep; {known}",
                f"launch.command.{index}",
                _nearest(name, names) or f"Add {name or 'a name'} under sweep.",
                code="unknown-name",
            )


def _nearest(name: str, names: list[str]) -> str:
    from slurmkit.yamlfile.problems import nearest  # noqa: PLC0415 - for mistakes only

    return nearest(name, names)


VALUE_RULES: tuple[Callable[[JobSpec], Iterator[Finding]], ...] = (
    _reserved,
    _expansions,
    _secrets,
    _arrays,
    _sweep,
    _references,
)
