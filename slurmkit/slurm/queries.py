"""The one round of concurrent queries behind Client.limits()."""

import getpass
import grp
import os
from concurrent.futures import Future, ThreadPoolExecutor

from slurmkit.errors import SlurmUnreachableError
from slurmkit.limits import Limits
from slurmkit.slurm.cluster import ACCOUNT_FORMAT, QOS_FORMAT, Answers, read_limits
from slurmkit.slurm.runner import Runner

#: scontrol prints JSON since 23.02.
_SCONTROL_JSON = (23, 2)
#: A database that is down must not hold up what the controller can say.
_ACCOUNTING_TIMEOUT_S = 10.0


def query_limits(runner: Runner, version: tuple[int, int]) -> Limits:
    """Ask everything at once and return the answers as one value.

    Args:
        runner: how to start Slurm's programs.
        version: the release of these programs, which decides where JSON is to be had.

    Raises:
        SlurmUnreachableError: the controller does not answer.
    """
    user = getpass.getuser()
    json = version >= _SCONTROL_JSON
    form = "--json" if json else "--oneliner"
    with ThreadPoolExecutor(9) as pool:

        def ask(*argv: str) -> Future[str]:
            return pool.submit(runner.check, argv)

        config = ask("scontrol", "show", "config")
        partitions = ask("scontrol", "--all", "--oneliner", "show", "partition")
        nodes = (
            ask("scontrol", "--json", "--all", "show", "nodes")
            if json
            else ask("sinfo", "--json", "--all")
        )
        reservations = ask("scontrol", form, "show", "reservations")
        licenses = ask("scontrol", form, "show", "licenses")
        mpi = pool.submit(_srun, runner, "--mpi=list")
        srun_help = pool.submit(_srun, runner, "--help")
        qos = pool.submit(_accounting, runner, "qos", QOS_FORMAT)
        accounts = pool.submit(_accounting, runner, "user", user, "withassoc", ACCOUNT_FORMAT)
        answers = Answers(
            config=config.result(),
            partitions=partitions.result(),
            nodes=nodes.result(),
            reservations=reservations.result(),
            licenses=licenses.result(),
            mpi=mpi.result(),
            srun_help=srun_help.result(),
            qos=qos.result(),
            accounts=accounts.result(),
        )
    return read_limits(answers, user, _group_names())


def _srun(runner: Runner, question: str) -> str:
    """Return what srun says of itself; it asks no controller and prints on either stream."""
    output = runner.run(["srun", question])
    return output.stdout + output.stderr


def _accounting(runner: Runner, *words: str) -> str | None:
    """Return what the accounting database answers, or None when there is none.

    Sacctmgr's parsable form is the same in all releases; its JSON exists only since 23.02.
    """
    argv = ["sacctmgr", "--noheader", "--parsable2", "--readonly", "show", *words]
    try:
        output = runner.run(argv, timeout_s=_ACCOUNTING_TIMEOUT_S)
    except SlurmUnreachableError:
        return None
    return output.stdout if output.returncode == 0 else None


def _group_names() -> frozenset[str]:
    names = set()
    for number in {os.getgid(), *os.getgroups()}:
        try:
            names.add(grp.getgrgid(number).gr_name)
        except KeyError:
            names.add(str(number))
    return frozenset(names)
