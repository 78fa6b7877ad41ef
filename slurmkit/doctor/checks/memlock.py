"""May ranks pin as much memory as RDMA needs?"""

import resource

from slurmkit.doctor.link import Answer, Link, Place, fail, passed, warn

_ENOUGH_BYTES = 1 << 30


def judge(limit: int, has_hcas: bool) -> Answer:
    """Return the answer for a limit in bytes; -1 is unlimited."""
    shown = "unlimited" if limit == resource.RLIM_INFINITY else f"{limit >> 10} KiB"
    facts = {"memlock": shown}
    if limit == resource.RLIM_INFINITY:
        return passed(shown, facts)
    if limit >= _ENOUGH_BYTES:
        return warn(f"{shown}: large buffers may not fit", facts)
    if has_hcas:
        return fail(f"{shown}: RDMA cannot register its buffers", facts)
    return passed(f"{shown}: enough without HCAs", facts)


def _look(place: Place) -> Answer:
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return judge(limit, place.fabric.rdma and bool(place.names("sys/class/infiniband")))


LINK = Link(
    id="memlock",
    group="resources",
    reads="RLIMIT_MEMLOCK of a process of the job",
    limits="fails below 1 GiB where there are HCAs; warns below unlimited; fails when nodes differ",
    todo="LimitMEMLOCK=infinity in slurmd's unit, `* - memlock unlimited` in "
    "/etc/security/limits.d, and PropagateResourceLimitsExcept=MEMLOCK in slurm.conf",
    look=_look,
)
