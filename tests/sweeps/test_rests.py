"""A sweep that something is wrong with rests; no other one waits for it."""

from __future__ import annotations

import pytest

from app.artifacts import Artifacts
from app.db import Sweep
from gogooku3.search import Search, Suggestion
from tests.sweeps.conftest import Field
from worker.sweeps import Rests, Sweeps


def test_a_sweep_that_cannot_be_moved_on_rests_and_holds_up_no_other(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, whole = field.create(), field.create()
    tried = []
    suggest = Search.suggest

    def fail(self: Search, index: int) -> Suggestion:
        if self.study.study_name == broken:
            tried.append(index)
            raise RuntimeError("a defect")
        return suggest(self, index)

    monkeypatch.setattr(Search, "suggest", fail)
    sweeps = Sweeps(field.database, field.caches, Artifacts(field.artifacts))
    for _ in range(3):
        sweeps.advance()
    assert len(field.jobs(whole)) == 2
    assert tried == [0]
    sweeps.close()


def test_a_sweep_rests_for_longer_each_time_that_it_fails() -> None:
    now = 100.0
    rests = Rests(clock=lambda: now)
    for rest_s in (4, 8, 16):
        assert rests.awake(["a", "b"]) == ["a", "b"]
        rests.failed("a")
        now += rest_s - 1
        assert rests.awake(["a", "b"]) == ["b"]
        now += 1
    rests.worked("a")
    rests.failed("a")
    now += 4
    assert rests.awake(["a"]) == ["a"]


def test_a_sweep_that_cannot_be_analysed_rests_and_holds_up_no_other(field: Field) -> None:
    broken, whole = field.create(n_trials=1), field.create(n_trials=1)
    for sweep_id in (broken, whole):
        field.advance(sweep_id)
        field.run(0.1)
        field.advance(sweep_id)
    config = field.sweep(broken).config
    with field.database.session() as session:
        session.get_one(Sweep, broken).config = config | {"sampler": {"kind": "forgotten"}}
    sweeps = Sweeps(field.database, field.caches, Artifacts(field.artifacts))
    sweeps.analyse()
    assert (field.sweep(broken).analysed_trials, field.sweep(whole).analysed_trials) == (0, 1)
    with field.database.session() as session:
        session.get_one(Sweep, broken).config = config
    sweeps.analyse()
    assert field.sweep(broken).analysed_trials == 0, "it rests"
    sweeps.close()
