"""Sweeps as they are shown: right, and with a few queries for any number of them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from app.db import Sweep
from app.jobs.outcome import Outcome
from app.sweeps.best import best_trial, complete_trials, ranked
from app.sweeps.listing import SweepFilter, list_sweeps
from app.sweeps.read import SweepView, view, views
from tests.sweeps.conftest import Field


def listed(field: Field, page_size: int) -> tuple[list[SweepView], list[str]]:
    """A page of sweeps as the list shows them, and the statements that it took."""
    statements: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        statements.append(statement)

    with field.database.session() as session:
        event.listen(field.database.engine, "before_cursor_execute", note)
        try:
            rows, _ = list_sweeps(session, SweepFilter(), page_size=page_size, before=None)
            return views(session, rows), statements
        finally:
            event.remove(field.database.engine, "before_cursor_execute", note)


def test_a_page_of_sweeps_takes_as_many_statements_as_one_sweep(field: Field) -> None:
    made = []
    for number in range(20):
        made.append(field.create(max_parallel=1))
        field.advance(made[-1])
        field.run(number / 100)
    for sweep_id in made:
        field.advance(sweep_id)
    one, few = listed(field, 1)
    page, many = listed(field, 20)
    assert [found.row.id for found in page] == made[::-1]
    assert len(few) == len(many) == 7
    assert "jobs.config" not in "".join(many)
    for number, found in enumerate(reversed(page)):
        assert found.best is not None
        assert found.best.value == pytest.approx(number / 100)
        assert set(found.best.intermediate_values) == {1, 2}
        assert (found.best.epochs, len(found.best.job_ids)) == (2, 1)
        assert found.counts["succeeded"] == found.counts["queued"] == 1
        assert found.counts["waiting"] == 2
        assert found.estimated_finish_at is not None
    with field.database.session() as session:
        alone = view(session, session.get_one(Sweep, made[-1]))
    assert (
        (alone.best, alone.counts)
        == (page[0].best, page[0].counts)
        == (
            one[0].best,
            one[0].counts,
        )
    )


def test_a_page_without_sweeps_is_empty(field: Field) -> None:
    assert listed(field, 20)[0] == []


@pytest.mark.parametrize(
    ("metric", "direction", "best"),
    [("valid/rank_ic", "maximize", 1), ("valid/loss", "minimize", 4)],
)
def test_the_database_finds_the_same_best_trial_as_the_ranking(
    field: Field, metric: str, direction: str, best: int
) -> None:
    sweep_id = field.create(
        n_trials=7,
        max_parallel=7,
        objective={"metric": metric, "direction": direction},
        constraints=[{"metric": "valid/turnover", "max": 0.5}],
    )
    field.advance(sweep_id)
    runs = ((0.9, 0.6), (0.3, 0.5), (0.3, 0.4), (0.8, None), (-0.2, 0.1), (-0.9, 0.6))
    for value, turnover in runs:
        field.run(value, loss=value, turnover=turnover)
    field.end(Outcome.PRUNED)
    field.advance(sweep_id)
    with field.database.session() as session:
        sweep = session.get_one(Sweep, sweep_id)
        found = best_trial(session, sweep)
        assert found is not None
        assert found.number == best
        assert found == ranked(sweep, complete_trials(session, sweep_id))[0]
