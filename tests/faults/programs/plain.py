"""A program that knows nothing of slurmkit: it saves and restores by its own means.

Each rank is on its own. Its state is a chain of hashes, so that a step that is left out, done twice
or done out of order shows in the result.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--pace", type=float, default=0.05)
    parser.add_argument("--save-every", type=int, default=5)
    parser.add_argument("--fault", default="", help="KIND:RANK:STEP, once; KIND! for every time")
    args = parser.parse_args()
    rank = int(os.environ.get("SLURM_PROCID", "0"))
    saved = args.folder / f"saved-{rank}.json"
    state = {"step": 0, "chain": hashlib.sha256(b"%d" % rank).hexdigest()}
    if saved.exists():
        state = json.loads(saved.read_text())
    log = os.open(args.folder / f"steps-{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    who = f"{os.environ.get('SLURMKIT_FENCE', '-')} {os.uname().nodename}"
    while state["step"] < args.steps:
        step = state["step"] + 1
        state = {
            "step": step,
            "chain": hashlib.sha256(f"{state['chain']} {step}".encode()).hexdigest(),
        }
        break_down(args.fault, rank, step, args.folder)
        time.sleep(args.pace)
        saves = step % args.save_every == 0 or step == args.steps
        if saves:
            temporary = saved.with_suffix(".tmp")
            temporary.write_text(json.dumps(state))
            temporary.replace(saved)
        os.write(log, f"{time.time():.3f} {step} {int(saves)} {who}\n".encode())
    (args.folder / f"result-{rank}").write_text(state["chain"])
    return 0


def break_down(fault: str, rank: int, step: int, folder: Path) -> None:
    """Do what the test asks for."""
    if not fault:
        return
    kind, its_rank, its_step = fault.split(":")
    if rank != int(its_rank) or step != int(its_step):
        return
    if not kind.endswith("!"):
        try:
            (folder / f"done-{kind}").touch(exist_ok=False)
        except FileExistsError:
            return
    match kind.rstrip("!"):
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            sys.exit(3)
        case "raise":
            raise ValueError(f"bad value at step {step}")
        case "hang":
            while True:
                time.sleep(60)


if __name__ == "__main__":
    sys.exit(main())
