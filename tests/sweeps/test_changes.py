"""What is changed while a sweep goes on counts from its next step on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.db import Sweep
from app.sweeps.control import cancel, pause
from app.sweeps.searches import Searches
from gogooku3.search import Search
from tests.sweeps.conftest import Field


def test_changed_retention_counts_for_the_next_trial(field: Field) -> None:
    keep = {"save_sweep_best": 1, "save_trial_best": 1, "save_trial_latest": 0}
    sweep_id = field.create(n_trials=3, max_parallel=1, retention=keep)
    field.advance(sweep_id)
    first = field.run(0.1)
    field.advance(sweep_id)
    second = field.run(0.2)
    with field.database.session() as session:
        sweep = session.get_one(Sweep, sweep_id)
        sweep.config = sweep.config | {"retention": keep | {"save_trial_best": 0}}
    field.advance(sweep_id)
    assert [len(field.checkpoints(run.job_id)) for run in (first, second)] == [0, 1]


@pytest.mark.parametrize("stop", [cancel, pause])
def test_no_seed_is_queued_for_a_sweep_that_is_stopped_at_this_moment(
    field: Field, stop: Callable[..., Sweep], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep_id = field.create(n_trials=1, seeds_per_trial=2)
    field.advance(sweep_id)
    field.run(0.1)
    whole = Searches.of

    def of(self: Searches, sweep: Sweep) -> Search:
        with field.database.session() as other:
            stop(other, sweep_id)
        return whole(self, sweep)

    monkeypatch.setattr(Searches, "of", of)
    assert field.advance(sweep_id) == 0
    assert len(field.jobs(sweep_id)) == 1
