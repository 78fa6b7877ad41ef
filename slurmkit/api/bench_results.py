"""What a measuring job left in its run directory, as a result."""

import json
from dataclasses import replace
from pathlib import Path

from slurmkit.api.find import find_run
from slurmkit.bench.formulas import OPERATIONS, rated_bytes_per_s
from slurmkit.bench.osu import PROGRAMS, osu_library, osu_rows
from slurmkit.bench.ranks import write_result
from slurmkit.bench.values import RESULT_NAME, BenchResult, Rated, result_from_json
from slurmkit.errors import SlurmkitError
from slurmkit.rundir.layout import RunDir
from slurmkit.spec.loader import load
from slurmkit.spec.models import JobSpec


def read_result(place: str, *, site: str | None = None) -> BenchResult:
    """Return the result of an earlier measurement.

    Args:
        place: the result's file, or a run as ``slurmkit logs`` takes it.
        site: site.yaml or its folder; None looks in the usual places.

    Raises:
        RunNotFoundError: there is no such run.
        SlurmkitError: there is no result, or it cannot be read.
    """
    path = Path(place)
    if path.suffix == ".json":
        return _read(path)
    return result_of(RunDir(find_run(place, site=site).dir))


def result_of(run: RunDir, rated: Rated | None = None) -> BenchResult:
    """Return the result in a run directory.

    Args:
        run: the measuring job's.
        rated: what the fabric is rated for, where the ranks themselves were not told: OSU's.

    Raises:
        SlurmkitError: there is none, or it cannot be read.
    """
    path = run.path / RESULT_NAME
    if not path.exists() and (operation := _of_osu(run)) is not None:
        write_result(_osu_result(run, *operation, rated), run.path)
    return replace(_read(path), run_dir=str(run.path))


def _of_osu(run: RunDir) -> tuple[str, JobSpec] | None:
    """Return what one of OSU's programs measured here; None where it was no such program."""
    if not run.resolved_path.exists():
        return None
    spec = load(run.resolved_path).spec
    program = Path(spec.launch.command[0]).name
    name = next((key for key, value in PROGRAMS.items() if value == program), None)
    return (name, spec) if name is not None else None


def _osu_result(run: RunDir, operation: str, spec: JobSpec, rated: Rated | None) -> BenchResult:
    element = run.element()
    log = element.rank_log_path(max(element.attempts(), default=1), 0)
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SlurmkitError(f"cannot read {log}: {error.strerror}") from error
    num_nodes = spec.resources.nodes
    world_size = num_nodes * (spec.resources.tasks_per_node or 1)
    rated = rated if num_nodes > 1 else None
    limit = rated_bytes_per_s(operation, rated) if rated is not None else None
    about = OPERATIONS[operation]
    return BenchResult(
        operation=operation,
        via="osu",
        library=osu_library(text),
        device="cpu",
        world_size=world_size,
        hosts=[f"node {number}" for number in range(num_nodes)],
        formula=about.formula,
        size_means=about.size_means,
        rows=[row.compared(limit) for row in osu_rows(text, operation, world_size)],
        rated=rated,
    )


def _read(path: Path) -> BenchResult:
    try:
        return result_from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SlurmkitError(
            f"there is no result: {path}: {error.strerror}",
            hint="`slurmkit logs` shows what the ranks wrote",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SlurmkitError(f"{path} is no result that this version can read") from error
