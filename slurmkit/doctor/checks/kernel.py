"""Do all nodes run the same kernel?"""

import os

from slurmkit.doctor.link import Answer, Link, Place, passed
from slurmkit.health.verdict import WARN


def _look(place: Place) -> Answer:
    release = place.read("proc/sys/kernel/osrelease") or os.uname().release
    facts = {"kernel": release, "machine": os.uname().machine}
    return passed(f"{release} {os.uname().machine}", facts)


LINK = Link(
    id="kernel",
    group="system",
    reads="uname and /proc/sys/kernel/osrelease",
    limits="warns when nodes differ",
    todo="start the node again with the kernel of the others; drivers are built for one kernel",
    look=_look,
    differs=WARN,
)
