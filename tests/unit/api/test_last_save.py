"""What the checks know of checkpoints from earlier runs of the same name."""

from pathlib import Path

from slurmkit.api.submitting import _last_save
from slurmkit.check.facts import LastSave
from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.ledger import LedgerWriter
from slurmkit.spec.loader import from_spec
from slurmkit.spec.models import JobSpec


def _spec(**sections: object) -> JobSpec:
    return JobSpec.model_validate({"name": "demo", "launch": {"command": ["./a"]}, **sections})


def _run(root: Path, run_id: str, *saves: tuple[float, int]) -> None:
    ledger = LedgerWriter(RunDir.create(root, "demo", run_id).element(), "17.0.abcd")
    ledger.append("attempt_started", 1, job_id="17", nodes="n1")
    for step, (save_s, size) in enumerate(saves, start=1):
        ledger.append(
            "checkpoint_committed", 1, step=step, size_bytes=size, save_s=save_s, stall_s=0.0
        )
    ledger.close()


def test_the_newest_run_that_saved_tells(tmp_path: Path) -> None:
    _run(tmp_path, "20261120-120000-aaaaaa", (9.0, 900))
    _run(tmp_path, "20261120-130000-bbbbbb", (2.0, 100), (3.0, 50))
    _run(tmp_path, "20261120-140000-cccccc")
    job = from_spec(_spec(checkpoint=True))
    assert _last_save(job, tmp_path) == LastSave(3.0, 100)


def test_nobody_looks_for_a_job_that_does_not_save(tmp_path: Path) -> None:
    _run(tmp_path, "20261120-120000-aaaaaa", (9.0, 900))
    assert _last_save(from_spec(_spec()), tmp_path) is None


def test_a_damaged_ledger_stops_nobody(tmp_path: Path) -> None:
    _run(tmp_path, "20261120-120000-aaaaaa", (9.0, 900))
    damaged = RunDir.create(tmp_path, "demo", "20261120-130000-bbbbbb")
    damaged.element().ledger_path.write_text("no json\nat all\n")
    assert _last_save(from_spec(_spec(checkpoint=True)), tmp_path) == LastSave(9.0, 900)
