"""Tells Slurm's daemons that their files have changed, and sees whether they still answer."""

import os
from collections.abc import Mapping

from slurmkit.errors import SlurmError
from slurmkit.slurm.environ import query_environment
from slurmkit.slurm.runner import Runner


class DaemonControl:
    """Slurm's programs, as an administrator uses them after a change of files.

    Args:
        environ: the environment of the caller; None for this process's.
        timeout_s: how long one program may take; a large cluster takes its time.
    """

    def __init__(
        self, environ: Mapping[str, str] | None = None, *, timeout_s: float = 120.0
    ) -> None:
        self._runner = Runner(
            query_environment(dict(os.environ if environ is None else environ)), (), timeout_s
        )

    def present(self) -> bool:
        """Whether Slurm's programs are on this machine."""
        return self._runner.has("scontrol")

    def version(self) -> str:
        """Return what ``scontrol --version`` prints, such as ``slurm 24.11.5``.

        Raises:
            SlurmError: it fails.
        """
        return self._runner.check(["scontrol", "--version"]).strip()

    def reconfigure(self) -> None:
        """Let every daemon read its files again.

        Raises:
            SlurmError: Slurm refuses, or the controller does not answer afterwards.
        """
        self._runner.check(["scontrol", "reconfigure"])
        ping = self._runner.run(["scontrol", "ping"])
        if " is UP" not in ping.stdout:
            said = ping.stdout.strip() or ping.complaint
            raise SlurmError(f"after `scontrol reconfigure` no controller answers: {said}")
