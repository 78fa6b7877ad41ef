"""Which mpi4py, torch and NCCL does the Python on PATH have?"""

import json

from slurmkit.doctor.link import Answer, Link, Place, passed, skipped, warn
from slurmkit.doctor.programs import find, run

# What is installed is read from the packages' records: importing torch takes seconds.
_ASK = """\
import importlib.metadata as m, json, platform
found = {"Python": platform.python_version()}
for d in m.distributions():
    name = (d.metadata["Name"] or "").lower()
    if name in ("torch", "mpi4py", "numpy") or name.startswith("nvidia-nccl"):
        found[name] = d.version
print(json.dumps(found))
"""


def _look(_place: Place) -> Answer:
    python = find("python3") or find("python")
    if not python:
        return skipped("no python3 on PATH", {"Python": "none"})
    ran = run([python, "-c", _ASK], timeout_s=15.0)
    try:
        found = {str(key): str(value) for key, value in json.loads(ran.out if ran else "").items()}
    except ValueError:
        return warn(f"{python} does not run: {ran.said if ran else 'nothing'}")
    found.setdefault("mpi4py", "none")
    found.setdefault("torch", "none")
    return passed(", ".join(f"{name} {version}" for name, version in sorted(found.items())), found)


LINK = Link(
    id="python",
    group="software",
    reads="the packages of the python3 on PATH: torch, mpi4py, numpy, nvidia-nccl",
    limits="warns when Python does not run; fails when nodes differ",
    todo="use one environment on the shared file system, or install the same versions on all nodes",
    look=_look,
    timeout_s=20.0,
)
