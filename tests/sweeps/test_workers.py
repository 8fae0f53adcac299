"""Sweeps run by real worker processes: to the end, through kills, with pruning."""

from __future__ import annotations

import time

import pytest

from app.artifacts import Artifacts
from app.domain import JobState, SweepState
from app.sweeps.analysis import Analyst
from app.sweeps.control import cancel
from tests.sweeps.conftest import BASE, Field
from tests.sweeps.objective_trainer import quality


def ended(field: Field, sweep_id: str) -> int:
    return sum(trial.outcome is not None for trial in field.trials(sweep_id))


def test_worker_runs_a_sweep_in_parallel_to_its_end(field: Field) -> None:
    sweep_id = field.create(n_trials=4, max_parallel=2, sampler={"kind": "tpe"})
    field.start_worker(slots=2)
    assert field.wait_ended(sweep_id).state is SweepState.SUCCEEDED
    jobs, trials = field.jobs(sweep_id), field.trials(sweep_id)
    assert len(jobs) == len(trials) == 4
    for job, trial in zip(jobs, trials, strict=True):
        assert job.provenance is not None
        inside = job.provenance["config"]  # as the trainer saw it
        assert inside == job.config
        assert inside["optimizer"]["lr"] == trial.params["optimizer.lr"]
        assert inside["model"]["dropout"] == trial.params["model.dropout"]
        assert trial.values == [pytest.approx(quality(inside) * (1 - 0.5**4))]


def test_killed_workers_lose_no_trial_and_double_none(field: Field) -> None:
    sweep_id = field.create(n_trials=6, max_parallel=3)
    for aim in (1, 3):
        workers = [field.start_worker(slots=2, epoch_s=0.1) for _ in range(2)]
        field.wait(lambda aim=aim: ended(field, sweep_id) >= aim)
        for worker in workers:
            worker.kill()
            worker.wait()
    field.start_worker(slots=3)
    assert field.wait_ended(sweep_id).state is SweepState.SUCCEEDED
    trials = field.trials(sweep_id)
    assert [trial.number for trial in trials] == list(range(6))
    assert [trial.outcome for trial in trials] == ["succeeded"] * 6
    assert len(field.jobs(sweep_id)) == 6
    study = field.searches.of(field.sweep(sweep_id)).study
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 6
    assert [trial.value for trial in study.trials] == [
        (trial.values or [None])[0] for trial in trials
    ]


def test_bad_trial_is_pruned_within_an_epoch(field: Field) -> None:
    config = {**BASE, "max_epochs": 12}
    good = {"optimizer.lr": 1e-3, "model.dropout": 0.2}
    bad = {"optimizer.lr": 1e-5, "model.dropout": 0.5}
    sweep_id = field.create(
        config=config,
        n_trials=3,
        max_parallel=1,
        enqueue=[good, good, bad],
        pruner={"kind": "median", "startup_trials": 2, "warmup_epochs": 1},
    )
    field.start_worker(epoch_s=0.25)
    assert field.wait_ended(sweep_id).state is SweepState.SUCCEEDED
    trials = field.trials(sweep_id)
    assert [trial.outcome for trial in trials] == ["succeeded", "succeeded", "pruned"]
    pruned = field.jobs(sweep_id)[2]
    assert pruned.state is JobState.PRUNED
    told = field.searches.of(field.sweep(sweep_id)).study.trials[2].intermediate_values
    assert min(told) == 1
    assert max(told) <= 6  # judged at epoch 2; the machine may be slow


def test_wilcoxon_pruner_compares_days(field: Field) -> None:
    config = {**BASE, "max_epochs": 24}
    good = {"optimizer.lr": 5e-4, "model.dropout": 0.2}
    bad = {"optimizer.lr": 2e-4, "model.dropout": 0.4}
    better = {"optimizer.lr": 1e-3, "model.dropout": 0.2}
    sweep_id = field.create(
        config=config,
        n_trials=3,
        max_parallel=1,
        enqueue=[good, bad, better],
        pruner={"kind": "wilcoxon", "warmup_epochs": 7},
    )
    field.start_worker(epoch_s=0.15, series=True)
    assert field.wait_ended(sweep_id).state is SweepState.SUCCEEDED
    outcomes = [trial.outcome for trial in field.trials(sweep_id)]
    assert outcomes == ["succeeded", "pruned", "succeeded"]


def test_cancel_reaches_the_trainers(field: Field) -> None:
    sweep_id = field.create(n_trials=50, max_parallel=2)
    field.start_worker(slots=2, epoch_s=0.3)
    field.wait(lambda: sum(job.state is JobState.RUNNING for job in field.jobs(sweep_id)) == 2)
    with field.database.session() as session:
        cancel(session, sweep_id)
    began = time.monotonic()
    assert field.wait_ended(sweep_id).state is SweepState.CANCELLED
    assert time.monotonic() - began < 60
    assert all(job.state.is_finished for job in field.jobs(sweep_id))


def test_analysis_says_how_much_is_luck(field: Field) -> None:
    sweep_id = field.create(n_trials=4, max_parallel=2, seeds_per_trial=2)
    field.start_worker(slots=2, series=True, seed_noise=0.002)
    field.wait_ended(sweep_id)
    field.wait(lambda: field.sweep(sweep_id).analysed_trials == 4)
    analysis = field.sweep(sweep_id).analysis
    assert analysis is not None
    selection = analysis["selection"]
    assert selection["best_of"] == 4
    assert selection["runs_on_dataset"] == 8
    assert 0 <= selection["deflated_sharpe"]["probability"] <= 1
    assert selection["deflated_sharpe"]["days"] == 80
    assert selection["overfitting"]["trials"] == 4
    assert selection["overfitting"]["probability"] < 0.1  # the trials do differ
    assert selection["seed_noise"]["effect_share"] > 0.9
    shares = analysis["importances"]["valid/rank_ic"]
    assert set(shares) == {"optimizer.lr", "model.dropout"}
    again = field.sweep(sweep_id).version
    Analyst(field.database, field.searches, Artifacts(field.artifacts)).analyse(sweep_id)
    assert field.sweep(sweep_id).analysis == analysis
    assert field.sweep(sweep_id).version > again
