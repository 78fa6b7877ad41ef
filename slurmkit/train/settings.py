"""What the job tells a training program through its environment."""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from slurmkit.train.errors import TrainError


@dataclass(frozen=True)
class Settings:
    """How to save and whom to tell; the defaults are those of a program alone.

    Attributes:
        folder: where checkpoints are.
        every: ``auto``, seconds as ``600s`` or steps as ``100``.
        keep: how many committed steps are kept.
        asynchronous: whether training goes on while a save is written.
        local_dir: node-local folder that a save goes to first; None for straight to ``folder``.
        partner: whether another node keeps a copy of what is in ``local_dir``.
        fence: which attempt this is and may commit; None when nobody else can be writing.
        run_dir: the run directory; None without slurmkit around the program.
        attempt: the number of the launch, from 1.
        agent_socket: path of the agent's Unix socket on this node; None where there is no agent.
        warning_signal: what says that the end of the time comes; None when nobody sends one.
        grace_s: seconds from SIGTERM to SIGKILL.
        mtbf_s: mean time between failures, for ``auto``; None when it is not known.
    """

    folder: Path
    every: str = "auto"
    keep: int = 3
    asynchronous: bool = True
    local_dir: Path | None = None
    partner: bool = False
    fence: str | None = None
    run_dir: Path | None = None
    attempt: int = 1
    agent_socket: str | None = None
    warning_signal: signal.Signals | None = None
    grace_s: float = 30.0
    mtbf_s: float | None = None

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """Read the variables that the batch script and the supervisor set.

        Raises:
            TrainError: one of them cannot be read.
        """
        run_dir = Path(env["SLURMKIT_RUN_DIR"]) if env.get("SLURMKIT_RUN_DIR") else None
        folder = env.get("SLURMKIT_CHECKPOINT_DIR", "checkpoints")
        levels = env.get("SLURMKIT_CHECKPOINT_LEVELS", "")
        local = env.get("SLURMKIT_LOCAL_DIR") if "nvme" in levels.split(",") else None
        return cls(
            folder=((run_dir or Path()) / folder).absolute(),
            every=env.get("SLURMKIT_CHECKPOINT_EVERY") or "auto",
            keep=int(_number(env, "SLURMKIT_CHECKPOINT_KEEP", 3)),
            asynchronous=env.get("SLURMKIT_CHECKPOINT_ASYNC", "1") != "0",
            local_dir=Path(local) if local else None,
            partner="partner" in levels.split(","),
            fence=env.get("SLURMKIT_FENCE") or None,
            run_dir=run_dir,
            attempt=int(_number(env, "SLURMKIT_ATTEMPT", 1)),
            agent_socket=env.get("SLURMKIT_AGENT_SOCKET") or None,
            warning_signal=_signal(env.get("SLURMKIT_WARNING_SIGNAL", "")),
            grace_s=_number(env, "SLURMKIT_GRACE_S", 30.0),
            mtbf_s=_number(env, "SLURMKIT_MTBF_S", 0.0) or None,
        )

    def overridden(
        self,
        *,
        folder: str | Path | None = None,
        every: str | int | None = None,
        keep: int | None = None,
        asynchronous: bool | None = None,
    ) -> "Settings":
        """Return them with what the program itself says; None leaves what the job says."""
        return replace(
            self,
            folder=self.folder if folder is None else Path(folder).absolute(),
            every=self.every if every is None else str(every),
            keep=self.keep if keep is None else keep,
            asynchronous=self.asynchronous if asynchronous is None else asynchronous,
        )


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "")
    if not text:
        return default
    try:
        return float(text)
    except ValueError:
        raise TrainError(f"{name}={text} is not a number") from None


def _signal(name: str) -> signal.Signals | None:
    if not name:
        return None
    try:
        return signal.Signals[f"SIG{name.removeprefix('SIG')}"]
    except KeyError:
        raise TrainError(f"SLURMKIT_WARNING_SIGNAL={name} is not a signal") from None
