"""Does SSH reach the next host without a password?"""

from slurmkit.doctor.link import Answer, Link, Place, fail, passed, skipped
from slurmkit.doctor.programs import run


def _look(place: Place) -> Answer:
    if not place.ssh:
        return skipped("srun needs no SSH; --ssh tries it")
    if not place.others:
        return skipped("there is no other host")
    # A ring: every host is once the client and once the server, at n connections and not n * n.
    target = place.others[0]
    ran = run([*place.ssh, place.address(target), "true"], timeout_s=10.0)
    if ran is None:
        return fail("there is no ssh here")
    if ran.code is None:
        return fail(f"{target} did not answer within 10 s")
    if ran.code != 0:
        return fail(f"{target}: {ran.said}")
    return passed(f"{target} answers")


LINK = Link(
    id="ssh",
    group="access",
    reads="with --hosts: SSH from here to each host; with --ssh: from each host to the next",
    limits="fails when it is refused, asks for a password or a host key, or takes over 10 s",
    todo="see that sshd runs there, that your key is in its authorized_keys and its host key in "
    "known_hosts; mpirun without Slurm starts ranks by it",
    look=_look,
    timeout_s=15.0,
)
