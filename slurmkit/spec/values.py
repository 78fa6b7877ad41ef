"""Values of job.yaml: their types, their short forms, and what they mean."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from slurmkit.units import parse_duration_s, parse_size_mib
from slurmkit.yamlfile.shapes import Form
from slurmkit.yamlfile.types import (
    DURATION_PATTERN,
    ENV_NAME_PATTERN,
    SIZE_PATTERN,
    Word,
    single_line,
)

#: Slurm's own bound: MaxArraySize can be at most 4000001 (slurm.conf(5)).
MAX_ARRAY_INDEX = 4_000_000
#: A run's folder has the job's name, and file systems bound that in bytes.
MAX_NAME_BYTES = 128

_INDICES = r"\d+(?:-\d+(?::[1-9]\d*)?)?(?:,\d+(?:-\d+(?::[1-9]\d*)?)?)*"
_ARRAY = re.compile(rf"(?P<indices>{_INDICES})(?:%(?P<limit>[1-9]\d*))?", re.ASCII)
NAME_PATTERN = r"(?!\d+(_\d+)?$)[^\-./\s\x00-\x1f\x7f][^/\x00-\x1f\x7f]*"
_GPUS = re.compile(r"(?:(?P<type>[A-Za-z][\w.-]*):)?(?P<count>\d+)", re.ASCII)
_JOB_ID = re.compile(r"\d+(?:_\d+)?", re.ASCII)
_STEPS = re.compile(r"(?P<count>[1-9]\d*)(?: ?steps?)?", re.ASCII)


def _memory(value: str | int) -> str | int:
    amount, _, per = str(value).partition("/")
    if per not in ("", "cpu", "gpu"):
        raise ValueError(f"{value!r}: after the slash only cpu or gpu may stand, as in 4G/cpu")
    parse_size_mib(amount)
    return value


def _gpus(value: str | int) -> str | int:
    if not _GPUS.fullmatch(str(value)):
        raise ValueError(f"{value!r} is not a GPU count; write 8, or h100:8 to name the type")
    if gpu_type(value) and gpu_count(value) == 0:
        raise ValueError(f"{value!r} names a type of GPU but asks for none; write 0 or a count")
    return value


def _indices(value: str) -> str:
    match = _ARRAY.fullmatch(value)
    if not match:
        raise ValueError(f"{value!r} is not a set of indices; write 0-9, 1,3,5 or 0-99:2")
    if match["limit"]:
        raise ValueError(f"{value!r} holds a limit; write limit: {match['limit']} beside indices")
    size = 0
    for item in value.split(","):
        first, _, last = item.partition(":")[0].partition("-")
        if last and int(last) < int(first):
            raise ValueError(f"{item!r} runs backwards; write {last}-{first}")
        if int(last or first) > MAX_ARRAY_INDEX:
            raise ValueError(f"{item!r}: Slurm has no array index above {MAX_ARRAY_INDEX}")
        size += int(last or first) - int(first) + 1
    if size > MAX_ARRAY_INDEX + 1:
        raise ValueError("names more indices than an array of Slurm's can have")
    return value


def _name(value: str) -> str:
    single_line(value)
    if value.startswith(("-", ".")) or "/" in value:
        raise ValueError("must not start with '-' or '.' or hold a '/', since a folder is named so")
    if len(value.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"must not be longer than {MAX_NAME_BYTES} bytes")
    if _JOB_ID.fullmatch(value):
        raise ValueError(f"{value!r} cannot be told from a job id; put a letter into it")
    return value


def _every(value: str | int) -> str | int:
    if value == "auto" or _STEPS.fullmatch(str(value)):
        return value
    if isinstance(value, int):
        raise ValueError(f"{value} is no count of steps; it must be at least 1")
    if parse_duration_s(value) is None:
        raise ValueError(f"{value!r} is never; leave the section out to save no checkpoints")
    return value


def _hang(value: str | int) -> str | int:
    if value not in ("auto", "off"):
        parse_duration_s(value)
    return value


def _host(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(host, str) for host in value):
        return ",".join(value)
    return value


def list_of_one(value: Any) -> Any:
    """Accept one text for a list of one."""
    return [value] if isinstance(value, str) else value


def affinity_mode(value: Any) -> Any:
    """Accept the mode alone."""
    return {"mode": value} if isinstance(value, str) else value


def checkpoint_every(value: Any) -> Any:
    """Accept ``true`` for all defaults, ``false`` for none, and how often alone."""
    if value is True or value == "true":
        return {}
    if value is False or value == "false":
        return None
    return {"every": value} if isinstance(value, (str, int)) else value


def resilience_actions(value: Any) -> Any:
    """Accept ``true`` and ``false`` as above, one action, and a list of them in their order."""
    if value is True or value == "true":
        return {}
    if value is False or value == "false":
        return None
    if isinstance(value, str):
        return {"on_node_failure": value}
    if isinstance(value, list) and value:
        return {"on_node_failure": value[0], "then": value[1:]}
    return value


def sweep_matrix(value: Any) -> Any:
    """Accept the short form: names and lists, with or without ``limit`` beside them."""
    if not isinstance(value, dict) or "matrix" in value:
        return value
    limit = {name: item for name, item in value.items() if name == "limit"}
    return {"matrix": {name: item for name, item in value.items() if name != "limit"}, **limit}


def array_text(value: Any) -> Any:
    """Accept Slurm's own short form, ``0-99%10``."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and (match := _ARRAY.fullmatch(value)):
        limit = {"limit": int(match["limit"])} if match["limit"] else {}
        return {"indices": match["indices"], **limit}
    return {"indices": value} if isinstance(value, str) else value


def secret_names(value: Any) -> Any:
    """Accept names of variables alone."""
    if not isinstance(value, list):
        return value
    return [{"name": item} if isinstance(item, str) else item for item in value]


def after_runs(value: Any) -> Any:
    """Accept one run for a list of one, and a name alone."""
    items = value if isinstance(value, list) else [value]
    return [{"run": item} if isinstance(item, (str, int)) else item for item in items]


def gpu_count(gpus: str | int) -> int:
    """Return the count of ``8`` or ``h100:8``."""
    return int(str(gpus).rpartition(":")[2])


def gpu_type(gpus: str | int) -> str:
    """Return the type of ``h100:8``; empty when none is named."""
    return str(gpus).rpartition(":")[0]


def every_text(every: str | int) -> str:
    """Return how often to save in one form: ``auto``, seconds as ``600s``, or steps as ``100``."""
    text = str(every)
    if text == "auto":
        return text
    if match := _STEPS.fullmatch(text):
        return match["count"]
    return f"{parse_duration_s(text)}s"


def is_job_id(text: str | int) -> bool:
    """Tell a Slurm job id (``123``, ``123_4``) from the name of a run."""
    return _JOB_ID.fullmatch(str(text)) is not None


def array_indices(indices: str) -> list[int]:
    """Return the sorted indices that ``0-9:2,12`` stands for."""
    found: set[int] = set()
    for item in indices.split(","):
        span, _, step = item.partition(":")
        first, _, last = span.partition("-")
        found.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return sorted(found)


TEXT_SHORT = {"type": ["string", "number", "boolean"]}
NAME_SHORT = {"type": "string", "pattern": f"^(?:{ENV_NAME_PATTERN})$"}
ARRAY_SHORT = {"type": ["string", "integer"], "pattern": f"^(?:{_INDICES}(%[1-9][0-9]*)?)$"}
SWEEP_SHORT = {
    "type": "object",
    "description": "Values by name.",
    "minProperties": 1,
    "properties": {"limit": {"type": ["integer", "null"], "minimum": 1}, "matrix": False},
    "propertyNames": {"pattern": f"^(?:{ENV_NAME_PATTERN})$"},
    "additionalProperties": {"type": "array", "items": TEXT_SHORT, "minItems": 1},
}
CHECKPOINT_SHORT = {"type": ["string", "integer", "boolean"]}
RESILIENCE_SHORT = {
    "type": ["string", "boolean", "array"],
    "items": {"type": "string"},
    "minItems": 1,
}
HOSTS_SHORT = {"type": "array", "items": TEXT_SHORT, "minItems": 1}

Memory = Annotated[
    str | int,
    AfterValidator(_memory),
    Form("a size such as 64G, 4G/cpu or 80G/gpu", f"{SIZE_PATTERN}(/cpu|/gpu)?", minimum=0),
]
Gpus = Annotated[
    str | int,
    AfterValidator(_gpus),
    Form(
        "a GPU count such as 8 or h100:8",
        r"[0-9]+|[A-Za-z][A-Za-z0-9_.\-]*:0*[1-9][0-9]*",
        minimum=0,
    ),
]
Hosts = Annotated[
    Word,
    BeforeValidator(_host),
    Form("hosts such as n[01-04], or a list of them", short=HOSTS_SHORT),
]
Name = Annotated[str, AfterValidator(_name), Form(pattern=NAME_PATTERN)]
Indices = Annotated[
    str, AfterValidator(_indices), Form("indices such as 0-9, 1,3,5 or 0-99:2", _INDICES)
]
Every = Annotated[
    str | int,
    AfterValidator(_every),
    Form(
        "auto, a duration such as 10m, or a count of steps such as 100 steps",
        rf"auto|[1-9]\d* ?steps?|(?![UuIi]){DURATION_PATTERN}",
        1,
    ),
]
Hang = Annotated[
    str | int,
    AfterValidator(_hang),
    Form("auto, off or a duration such as 10m", f"auto|off|{DURATION_PATTERN}", 1),
]
