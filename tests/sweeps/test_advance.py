"""A sweep is moved on by anybody, any number of times, to exactly its number of trials."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from app.artifacts import Artifacts
from app.db import Sweep
from app.domain import DatasetInUseError, InvalidSpecError, InvalidStateError, JobState, SweepState
from app.jobs.datasets import delete_dataset
from app.jobs.outcome import Outcome
from app.jobs.retry import retry
from app.jobs.submit import claim_name
from app.sweeps.best import best_trial, complete_trials, pareto_front
from app.sweeps.control import cancel, extend, pause, resume
from app.sweeps.due import due
from gogooku3.config import TrainConfig
from gogooku3.search import Search
from tests.sweeps.conftest import BASE, LIVE, SPACE, Field
from worker.sweeps import Sweeps


def waiting(field: Field) -> list[str]:
    with field.database.session() as session:
        return due(session)


def live(field: Field, sweep_id: str) -> int:
    return sum(job.state in LIVE for job in field.jobs(sweep_id))


def test_a_worker_that_rests_analyses_what_has_ended_and_nothing_else(field: Field) -> None:
    ended, going = field.create(n_trials=1), field.create(n_trials=3, max_parallel=1)
    for sweep_id in (ended, going):
        field.advance(sweep_id)
        field.run(0.1)
        field.advance(sweep_id)
    assert field.sweep(ended).state is SweepState.SUCCEEDED
    sweeps = Sweeps(field.database, field.caches, Artifacts(field.artifacts))
    for _ in range(2):
        sweeps._rests_until = math.inf
        sweeps.analyse()
    sweeps._rests_until = 0.0
    assert (field.sweep(ended).analysed_trials, field.sweep(going).analysed_trials) == (1, 0)
    sweeps.analyse()
    assert field.sweep(going).analysed_trials == 1
    sweeps.close()


def test_runs_to_its_end_with_exactly_its_trials(field: Field) -> None:
    sweep_id = field.create(n_trials=5, labels={"team": "a"}, priority=7)
    assert waiting(field) == [sweep_id]
    assert field.advance(sweep_id) == 2
    assert waiting(field) == []
    for step in range(5):
        assert live(field, sweep_id) == min(2, 5 - step)
        field.run(0.1 * step)
        assert waiting(field) == [sweep_id]
        assert field.advance(sweep_id) == (1 if step < 3 else 0)
    sweep = field.sweep(sweep_id)
    assert sweep.state is SweepState.SUCCEEDED
    assert sweep.finished_at is not None
    trials = field.trials(sweep_id)
    assert [trial.number for trial in trials] == [0, 1, 2, 3, 4]
    assert [trial.outcome for trial in trials] == ["succeeded"] * 5
    jobs = field.jobs(sweep_id)
    assert [job.id for job in jobs] == [trial.job_id for trial in trials]
    assert {job.priority for job in jobs} == {7}
    assert all(job.labels == {"team": "a"} for job in jobs)
    assert waiting(field) == []
    with field.database.session() as session:
        best = best_trial(session, sweep)
    assert best is not None
    assert (best.number, best.values) == (4, [pytest.approx(0.4)])


def test_job_has_exactly_the_values_that_were_suggested(field: Field) -> None:
    sweep_id = field.create(max_parallel=4)
    field.advance(sweep_id)
    for trial, job in zip(field.trials(sweep_id), field.jobs(sweep_id), strict=True):
        config = TrainConfig.model_validate(job.config)
        assert config.optimizer.lr == trial.params["optimizer.lr"]
        assert config.model.dropout == trial.params["model.dropout"]
        assert job.config_sources["optimizer.lr"] == "request"
        assert config.early_stopping.metric == "valid/rank_ic"
    assert len({trial.params["optimizer.lr"] for trial in field.trials(sweep_id)}) == 4


def test_study_hears_of_everything(field: Field) -> None:
    sweep_id = field.create(n_trials=4, max_parallel=4, max_failures=4)
    field.advance(sweep_id)
    field.run(0.3, epochs=3)
    field.end(Outcome.FAILED)
    field.end(Outcome.PRUNED)
    field.end(Outcome.CANCELLED)
    field.advance(sweep_id)
    study = field.searches.of(field.sweep(sweep_id)).study
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "PRUNED", "FAIL"]
    assert study.trials[0].value == 0.3
    assert study.trials[0].intermediate_values == {1: 0.3, 2: 0.3, 3: 0.3}
    assert study.trials[1].value is None
    assert study.trials[1].user_attrs["reason"] == "told so"
    trials = field.trials(sweep_id)
    assert [t.outcome for t in trials] == ["succeeded", "failed", "pruned", "cancelled"]
    assert trials[1].reason is not None
    assert trials[1].reason["code"] == "broken"
    assert study.user_attrs["optuna_version"] == field.sweep(sweep_id).optuna_version


def test_many_at_once_make_no_trial_twice(field: Field) -> None:
    sweep_id = field.create(n_trials=6, max_parallel=6)
    start = threading.Barrier(4)

    def advance(_: int) -> int:
        start.wait()
        return field.advance(sweep_id)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(advance, range(4))) == 6
    assert len(field.jobs(sweep_id)) == 6
    assert len(field.searches.of(field.sweep(sweep_id)).study.trials) == 6


@pytest.mark.parametrize("place", ["suggest", "tell"])
def test_killed_between_the_study_and_the_tables_nothing_is_lost_or_doubled(
    field: Field, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep_id = field.create(n_trials=3, max_parallel=1)
    field.advance(sweep_id)
    field.run(0.2)
    whole = getattr(Search, place)

    def die_afterwards(self: Search, *args: object, **more: object) -> None:
        whole(self, *args, **more)
        raise SystemError("killed")

    monkeypatch.setattr(Search, place, die_afterwards)
    with pytest.raises(SystemError):
        field.advance(sweep_id)
    monkeypatch.undo()
    known = field.searches.of(field.sweep(sweep_id)).study.trials
    assert field.advance(sweep_id) == 1
    field.run(0.3)
    field.advance(sweep_id)
    field.run(0.1)
    field.advance(sweep_id)
    assert field.sweep(sweep_id).state is SweepState.SUCCEEDED
    study = field.searches.of(field.sweep(sweep_id)).study
    assert [trial.value for trial in study.trials] == [0.2, 0.3, 0.1]
    assert len(field.jobs(sweep_id)) == 3
    if place == "suggest":  # what was suggested before the kill is what runs
        assert field.trials(sweep_id)[1].params == known[1].params


def test_failure_budget_ends_the_sweep(field: Field) -> None:
    sweep_id = field.create(n_trials=20, max_failures=1, max_parallel=2)
    field.advance(sweep_id)
    field.end(Outcome.FAILED)
    field.advance(sweep_id)
    assert field.sweep(sweep_id).state is SweepState.RUNNING
    field.end(Outcome.FAILED)
    field.advance(sweep_id)
    sweep = field.sweep(sweep_id)
    assert sweep.state is SweepState.FAILED
    assert sweep.reason is not None
    assert sweep.reason["code"] == "too-many-failures"
    assert live(field, sweep_id) == 0
    assert all(trial.outcome for trial in field.trials(sweep_id))


def test_sweep_without_a_complete_trial_has_failed(field: Field) -> None:
    sweep_id = field.create(n_trials=2, max_failures=5)
    field.advance(sweep_id)
    field.end(Outcome.FAILED)
    field.run(None)  # a constant prediction: no rank IC
    field.advance(sweep_id)
    sweep = field.sweep(sweep_id)
    assert sweep.state is SweepState.FAILED
    assert sweep.reason is not None
    assert sweep.reason["code"] == "no-complete-trial"
    reason = field.trials(sweep_id)[1].reason
    assert reason is not None
    assert reason["code"] == "objective-undefined"


def test_cancel_ends_what_runs(field: Field) -> None:
    sweep_id = field.create()
    field.advance(sweep_id)
    running = field.claim()
    assert running is not None
    with field.database.session() as session:
        cancel(session, sweep_id)
    field.advance(sweep_id)
    assert field.sweep(sweep_id).state is SweepState.RUNNING  # its run is still ending
    assert [job.state for job in field.jobs(sweep_id)] == [JobState.RUNNING, JobState.CANCELLED]
    from app.jobs.finish import finish

    with field.database.session() as session:
        finish(session, running.job_id, running.attempt, outcome=Outcome.CANCELLED)
    field.advance(sweep_id)
    assert field.sweep(sweep_id).state is SweepState.CANCELLED
    with field.database.session() as session:
        cancel(session, sweep_id)  # again is fine
        with pytest.raises(InvalidStateError):
            extend(session, sweep_id, 50)
    states = [t.state.name for t in field.searches.of(field.sweep(sweep_id)).study.trials]
    assert states == ["FAIL", "FAIL"]


def test_cancel_may_let_what_runs_finish(field: Field) -> None:
    sweep_id = field.create(n_trials=10)
    field.advance(sweep_id)
    running = field.claim()
    assert running is not None
    with field.database.session() as session:
        cancel(session, sweep_id, is_finishing=True)
    from app.jobs.finish import finish

    with field.database.session() as session:
        finish(session, running.job_id, running.attempt, outcome=Outcome.SUCCEEDED)
    field.advance(sweep_id)
    assert field.sweep(sweep_id).state is SweepState.CANCELLED
    assert len(field.jobs(sweep_id)) == 2


def test_paused_sweep_stands_still_and_goes_on(field: Field) -> None:
    sweep_id = field.create(n_trials=3, max_parallel=2)
    field.advance(sweep_id)
    with field.database.session() as session:
        pause(session, sweep_id)
    assert {job.state for job in field.jobs(sweep_id)} == {JobState.PAUSED}
    assert field.claim() is None
    assert waiting(field) == []
    with field.database.session() as session:
        resume(session, sweep_id)
    for _ in range(3):
        field.run()
        field.advance(sweep_id)
    assert field.sweep(sweep_id).state is SweepState.SUCCEEDED


def test_pause_may_let_what_runs_finish(field: Field) -> None:
    sweep_id = field.create(max_parallel=1)
    field.advance(sweep_id)
    running = field.claim()
    assert running is not None
    with field.database.session() as session:
        pause(session, sweep_id, is_finishing=True)
    job = field.jobs(sweep_id)[0]
    assert job.state is JobState.RUNNING
    assert job.pause_requested_at is None


def test_paused_sweep_of_which_all_trials_have_ended_has_ended(field: Field) -> None:
    sweep_id = field.create(n_trials=1)
    field.advance(sweep_id)
    field.run()
    with field.database.session() as session:
        pause(session, sweep_id)
    assert waiting(field) == [sweep_id]
    field.advance(sweep_id)
    assert field.sweep(sweep_id).state is SweepState.SUCCEEDED
    # Paused between the study's hearing of the last trial and the end.
    with field.database.session() as session:
        sweep = session.get_one(Sweep, sweep_id)
        sweep.state, sweep.finished_at = SweepState.PAUSED, None
    assert waiting(field) == [sweep_id]
    field.advance(sweep_id)
    assert field.sweep(sweep_id).state is SweepState.SUCCEEDED
    assert waiting(field) == []


def test_paused_sweep_with_too_many_failures_fails_with_its_last_trial(field: Field) -> None:
    sweep_id = field.create(n_trials=1, max_failures=0)
    field.advance(sweep_id)
    field.end(Outcome.FAILED)
    with field.database.session() as session:
        pause(session, sweep_id)
    field.advance(sweep_id)
    found = field.sweep(sweep_id)
    assert found.state is SweepState.FAILED
    assert (found.reason or {})["code"] == "too-many-failures"


def test_ended_sweep_is_extended(field: Field) -> None:
    sweep_id = field.create(n_trials=1)
    field.advance(sweep_id)
    field.run()
    field.advance(sweep_id)
    with field.database.session() as session:
        extend(session, sweep_id, 2)
        with pytest.raises(InvalidStateError):
            extend(session, sweep_id, 1)
    assert waiting(field) == [sweep_id]
    field.advance(sweep_id)
    field.run()
    field.advance(sweep_id)
    assert field.sweep(sweep_id).state is SweepState.SUCCEEDED
    assert len(field.trials(sweep_id)) == 2


def test_seeds_of_a_trial_are_runs_of_the_same_values(field: Field) -> None:
    sweep_id = field.create(
        n_trials=2, max_parallel=4, seeds_per_trial=3, seed_penalty=1.0, config={**BASE, "seed": 7}
    )
    field.advance(sweep_id)
    assert [(job.trial_number, job.seed_index) for job in field.jobs(sweep_id)] == [(0, 0), (1, 0)]
    field.run(0.1)
    field.end(Outcome.PRUNED)  # the other seeds of this one are saved
    field.advance(sweep_id)
    runs = field.jobs(sweep_id)
    assert [(job.trial_number, job.seed_index) for job in runs] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert [job.config["seed"] for job in runs] == [7, 8, 9, 7]
    lr = field.trials(sweep_id)[0].params["optimizer.lr"]
    assert [job.config["optimizer"]["lr"] for job in runs[:3]] == [lr] * 3
    field.run(0.2)
    field.run(0.3)
    field.advance(sweep_id)
    assert field.sweep(sweep_id).state is SweepState.SUCCEEDED
    trial = field.trials(sweep_id)[0]
    assert trial.seed_values == [0.1, 0.2, 0.3]
    assert trial.values == [pytest.approx(0.2 - 0.1)]


def test_given_trials_come_first(field: Field) -> None:
    sweep_id = field.create(enqueue=[{"optimizer.lr": 5.61e-5}], max_parallel=3)
    field.advance(sweep_id)
    assert field.trials(sweep_id)[0].params["optimizer.lr"] == 5.61e-5
    assert field.trials(sweep_id)[1].params["optimizer.lr"] != 5.61e-5


def test_constraints_keep_a_trial_from_being_best(field: Field) -> None:
    sweep_id = field.create(
        n_trials=2, constraints=[{"metric": "valid/turnover", "max": 0.5}], max_parallel=2
    )
    field.advance(sweep_id)
    field.run(0.9, turnover=0.6)
    field.run(0.1, turnover=0.4)
    field.advance(sweep_id)
    with field.database.session() as session:
        best = best_trial(session, field.sweep(sweep_id))
    assert best is not None
    assert best.number == 1
    assert field.trials(sweep_id)[0].violations == {"valid/turnover <= 0.5": pytest.approx(0.1)}
    study = field.searches.of(field.sweep(sweep_id)).study
    assert study.best_trial.number == 1


def test_several_objectives_have_a_front(field: Field) -> None:
    sweep_id = field.create(
        n_trials=3,
        max_parallel=3,
        objectives=[
            {"metric": "valid/rank_ic"},
            {"metric": "valid/turnover", "direction": "minimize"},
        ],
    )
    field.advance(sweep_id)
    for value, turnover in ((0.5, 0.5), (0.4, 0.6), (0.2, 0.1)):
        field.run(value, turnover=turnover)
    field.advance(sweep_id)
    with field.database.session() as session:
        front = pareto_front(field.sweep(sweep_id), complete_trials(session, sweep_id))
    assert [trial.number for trial in front] == [0, 2]
    study = field.searches.of(field.sweep(sweep_id)).study
    assert {trial.number for trial in study.best_trials} == {0, 2}


def test_warm_start_learns_from_an_ended_sweep(field: Field) -> None:
    first = field.create(n_trials=2)
    with pytest.raises(InvalidSpecError) as caught:
        field.create(sampler={"kind": "tpe"}, warm_start_from=[first])
    assert {problem.code for problem in caught.value.problems} == {
        "sweep-unfinished",
        "no-complete-trial",
    }
    field.advance(first)
    field.run(0.1)
    field.run(0.2)
    field.advance(first)
    # One more parameter: its value in the earlier trials stands in their configuration.
    space = SPACE | {"model.gat.layers": {"int": [0, 4]}}
    second = field.create(space, sampler={"kind": "tpe"}, warm_start_from=[first], n_trials=1)
    field.advance(second)
    field.run(0.3)
    field.advance(second)
    study = field.searches.of(field.sweep(second)).study
    assert [trial.value for trial in study.trials] == [0.1, 0.2, 0.3]
    assert study.trials[0].params["model.gat.layers"] == 2
    assert field.sweep(second).state is SweepState.SUCCEEDED
    assert [trial.number for trial in field.trials(second)] == [0]


def test_dataset_that_was_replaced_ends_the_sweep(field: Field) -> None:
    sweep_id = field.create(n_trials=5, max_parallel=1)
    field.advance(sweep_id)
    field.run()
    with field.database.session() as session:
        session.execute(text("UPDATE sweeps SET dataset_fingerprint = 'another'"))
    field.advance(sweep_id)
    sweep = field.sweep(sweep_id)
    assert sweep.state is SweepState.FAILED
    assert sweep.reason is not None
    assert "not the one that the sweep was created for" in sweep.reason["message"]


def test_dataset_stays_while_a_sweep_may_need_it(field: Field) -> None:
    sweep_id = field.create(n_trials=3)
    # No trial waits or runs: the sweep alone holds the dataset, paused or not.
    for stop in (None, pause):
        with field.database.session() as session:
            if stop is not None:
                stop(session, sweep_id)
        with pytest.raises(DatasetInUseError, match=sweep_id), field.database.session() as session:
            delete_dataset(session, field.caches, "tiny")
        with pytest.raises(DatasetInUseError, match=sweep_id), field.database.session() as session:
            claim_name(session, "tiny", field.caches, replace=True)
    with field.database.session() as session:
        cancel(session, sweep_id)
    field.advance(sweep_id)
    with field.database.session() as session:
        claim_name(session, "tiny", field.caches, replace=True)


def test_counted_trial_is_not_tried_again(field: Field) -> None:
    sweep_id = field.create(n_trials=3, max_parallel=1, max_failures=3)
    field.advance(sweep_id)
    failed = field.end(Outcome.FAILED)
    field.advance(sweep_id)
    with field.database.session() as session, pytest.raises(InvalidStateError, match="has counted"):
        retry(session, failed.job_id, caches=field.caches)


def test_grid_is_run_whole(field: Field) -> None:
    space = {"model.dropout": {"choice": [0.0, 0.1]}, "optimizer.kind": {"choice": ["adamw"]}}
    sweep_id = field.create(space, sampler={"kind": "grid"}, n_trials=50, max_parallel=50)
    assert field.sweep(sweep_id).n_trials == 2
    assert field.advance(sweep_id) == 2
    assert {trial.params["model.dropout"] for trial in field.trials(sweep_id)} == {0.0, 0.1}


def test_spec_is_refused_before_any_trial(field: Field) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        field.create(SPACE | {"data.lookback": {"choice": [5, 500]}})
    problem = caught.value.problems[0]
    assert problem.pointer == "/search_space/data.lookback"
    assert "data.lookback = 500" in problem.message
    assert math.isfinite(1)
