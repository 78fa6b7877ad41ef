"""Do all nodes run the same operating system?"""

import shlex

from slurmkit.doctor.link import Answer, Link, Place, passed, skipped
from slurmkit.health.verdict import WARN


def _look(place: Place) -> Answer:
    values = dict(line.partition("=")[::2] for line in place.read("etc/os-release").splitlines())
    name = " ".join(shlex.split(values.get("PRETTY_NAME", "")))
    if not name:
        return skipped("/etc/os-release does not tell")
    return passed(name, {"operating system": name})


LINK = Link(
    id="os",
    group="system",
    reads="/etc/os-release",
    limits="warns when nodes differ",
    todo="install the same image on all nodes: libraries of another release may lack a symbol that "
    "the program was linked with",
    look=_look,
    differs=WARN,
)
