"""What starts and stops machines: an interface, and the drivers that speak it.

A driver of one's own is either a program (any language, see CommandDriver) or a Python class behind
the entry point group ``slurmkit.elastic``: a callable that takes the environment of the section
``elastic`` of site.yaml, as a mapping, and returns a Driver.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal, Protocol

from slurmkit.errors import SlurmkitError, UsageError

GROUP = "slurmkit.elastic"

State = Literal["running", "stopped", "starting", "stopping", "unknown"]
STATES: tuple[State, ...] = ("running", "stopped", "starting", "stopping", "unknown")


class DriverError(SlurmkitError):
    """The driver itself failed: it could not be started, took too long, or made no sense."""


class Driver(Protocol):
    """Starts and stops machines by the names that Slurm has for them.

    Calls may be repeated at any time, also while an earlier one still runs: starting what runs and
    stopping what is stopped succeeds and changes nothing. A call returns when the machines have
    been told; whether one comes up, Slurm sees by itself.
    """

    def start(self, hosts: Sequence[str]) -> Mapping[str, str]:
        """Start machines; return why for each that could not be, and nothing for the others."""

    def stop(self, hosts: Sequence[str]) -> Mapping[str, str]:
        """Stop machines; return why for each that could not be, and nothing for the others."""

    def list(self, hosts: Sequence[str]) -> Mapping[str, State]:
        """Return what each machine is; one that does not exist is stopped."""


class CommandDriver:
    """A program that is called as ``PROGRAM start|stop|list HOST...``.

    It prints a line per host: ``HOST ok`` or ``HOST failed WORDS`` for start and stop, ``HOST
    STATE`` for list. With exit code 0, hosts without a line are fine; with another one, they
    failed, and its stderr says why.

    Args:
        program: its absolute path.
        env: variables on top of PATH and HOME, which are all that it gets besides.
        timeout_s: after so many seconds it is killed, with all that it started.
    """

    def __init__(self, program: str, env: Mapping[str, str], timeout_s: float) -> None:
        if not Path(program).is_absolute():
            raise UsageError(f"elastic.driver {program} is no absolute path")
        self._program = program
        self._env = env
        self._timeout_s = timeout_s

    def start(self, hosts: Sequence[str]) -> Mapping[str, str]:
        """Call ``PROGRAM start HOST...``."""
        return self._failures("start", hosts)

    def stop(self, hosts: Sequence[str]) -> Mapping[str, str]:
        """Call ``PROGRAM stop HOST...``."""
        return self._failures("stop", hosts)

    def list(self, hosts: Sequence[str]) -> Mapping[str, State]:
        """Call ``PROGRAM list HOST...``."""
        code, printed, complaint = self._call("list", hosts)
        if code != 0:
            raise DriverError(f"{self._program} list ended with {code}: {complaint}")
        return states_of(printed, hosts)

    def _failures(self, action: str, hosts: Sequence[str]) -> Mapping[str, str]:
        code, printed, complaint = self._call(action, hosts)
        return failures_of(printed, hosts, code, complaint)

    def _call(self, action: str, hosts: Sequence[str]) -> tuple[int, str, str]:
        base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        try:
            process = subprocess.Popen(
                [self._program, action, *hosts],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**base, **self._env},
                text=True,
                errors="replace",
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise DriverError(
                f"the driver {self._program} cannot be started: {error.strerror}",
                hint="elastic.driver in site.yaml names a program with an absolute path",
            ) from error
        try:
            printed, complaint = process.communicate(timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise DriverError(
                f"{self._program} {action} took longer than {self._timeout_s:g} s and was killed",
                hint="elastic.driver_timeout_s in site.yaml; a driver need not wait for a boot",
            ) from None
        return process.returncode, printed, " ".join(complaint.split())[-500:]


def failures_of(printed: str, hosts: Sequence[str], code: int, complaint: str) -> dict[str, str]:
    """Return why each host failed, by what a driver program printed and ended with."""
    said = {}
    for line in printed.splitlines():
        host, _, rest = line.strip().partition(" ")
        word, _, why = rest.strip().partition(" ")
        if host in hosts and word in ("ok", "failed"):
            said[host] = "" if word == "ok" else why.strip() or "it does not say why"
    if code != 0:
        why = complaint or f"the driver ended with {code} and said nothing"
        said = {**dict.fromkeys(hosts, why), **said}
    return {host: why for host, why in said.items() if why}


def states_of(printed: str, hosts: Sequence[str]) -> dict[str, State]:
    """Return the state of each host, by what a driver program printed; ``failed`` is unknown."""
    found: dict[str, State] = dict.fromkeys(hosts, "unknown")
    for line in printed.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] in found and words[1] != "failed":
            state = next((one for one in STATES if one == words[1]), None)
            if state is None:
                raise DriverError(
                    f"the driver says {words[1]!r} of {words[0]}",
                    hint=f"a state is one of {', '.join(STATES)}",
                )
            found[words[0]] = state
    return found


def load_driver(name: str, env: Mapping[str, str], timeout_s: float) -> Driver:
    """Return the driver that site.yaml names.

    Args:
        name: absolute path of a program, or name of an entry point.
        env: environment of the section ``elastic``.
        timeout_s: how long one call of a program may take.

    Raises:
        UsageError: there is no such driver.
    """
    if "/" in name:
        if not Path(name).is_file():
            raise UsageError(f"the driver {name} does not exist", hint="see elastic.driver")
        return CommandDriver(name, env, timeout_s)
    found = {one.name: one for one in entry_points(group=GROUP)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none is installed"
        raise UsageError(
            f"there is no driver {name!r}: {known}",
            hint=f"name a program with an absolute path, or install a package with a {GROUP}"
            " entry point",
        )
    driver: Driver = found[name].load()(dict(env))
    return driver
