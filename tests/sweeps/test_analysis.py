"""The analysis of a sweep takes its time outside of transactions."""

from __future__ import annotations

from app.artifacts import Artifacts
from app.artifacts.stored import StoredFile
from app.sweeps.analysis import Analyst
from gogooku3.outputs import SERIES_FILE
from tests.sweeps.conftest import Field


def test_no_transaction_waits_for_the_files(field: Field) -> None:
    sweep_id = field.create(n_trials=2)
    field.advance(sweep_id)
    runs = [field.run(0.1), field.run(0.2)]
    field.advance(sweep_id)
    opened: dict[str, int] = {}

    class Watched(Artifacts):
        def open(self, path: str) -> StoredFile:
            pool = field.database.engine.pool
            opened[path] = pool.checkedout()
            return super().open(path)

    Analyst(field.database, field.searches, Watched(field.artifacts)).analyse(sweep_id)
    assert opened == {f"{run.job_id}/attempt-1/{SERIES_FILE}": 0 for run in runs}
    assert field.sweep(sweep_id).analysed_trials == 2
