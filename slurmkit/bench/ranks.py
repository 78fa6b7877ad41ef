"""What a rank does around the measurement: its place, what it prints, and where the result goes."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from slurmkit.bench.measure import measure
from slurmkit.bench.order import Order, read_order
from slurmkit.bench.report import header_line, row_line
from slurmkit.bench.transport import Transport
from slurmkit.bench.values import RESULT_NAME, BenchResult
from slurmkit.errors import SlurmkitError
from slurmkit.rundir.atomic import atomic_write


def run_rank(
    connect: Callable[[Order], Transport],
    argv: Sequence[str],
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Measure as one rank and return the exit code.

    Args:
        connect: makes the connection to all other ranks.
        argv: the command line after the program.
        environ: this process's environment.
    """
    transport = None
    try:
        order = read_order(argv)
        transport = connect(order)
        speaks = transport.rank == 0
        if speaks:
            sys.stdout.write(f"{header_line(order.operation, transport)}\n")
            sys.stdout.flush()
        result = measure(
            transport,
            order,
            environ.get("SLURMD_NODENAME") or os.uname().nodename,
            lambda row: _say(row_line(row)) if speaks else None,
        )
        if speaks:
            for finding in result.findings:
                _say(f"slow: {finding.message}")
            if folder := environ.get("SLURMKIT_RUN_DIR"):
                write_result(result, Path(folder))
        transport.barrier()
        transport.close()
    except SlurmkitError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        if transport is not None:
            transport.abort()
        return error.exit_code
    except Exception:
        if transport is not None:
            # Python would wait for MPI to end, and the others for this rank, until the time limit.
            traceback.print_exc()
            transport.abort()
        raise
    return 0


def write_result(result: BenchResult, run_dir: Path) -> Path:
    """Write the result into the run directory and return its path."""
    path = run_dir / RESULT_NAME
    atomic_write(path, json.dumps(asdict(result), indent=2, sort_keys=True) + "\n")
    return path


def world_size_told(environ: Mapping[str, str]) -> int | None:
    """Return how many ranks the launcher started; None when nobody says."""
    text = environ.get("WORLD_SIZE") or environ.get("SLURM_NTASKS") or ""
    return int(text) if text.isascii() and text.isdigit() else None


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
