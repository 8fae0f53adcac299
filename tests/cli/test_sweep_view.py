"""Trials as a person or a program reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.cli.sweep_view import (
    Lines,
    LiveTable,
    print_preview,
    short_names,
    short_params,
    summary,
)
from gogooku3.client import Sweep, Trial


def trial(number: int, state: str, value: float | None = None, **more: Any) -> Trial:
    params = {"optimizer.lr": 0.00123456, "model.gat.layers": 2}
    return Trial(
        number=number, state=state, value=value, params=params, job_id=f"job_{number}", **more
    )


def sweep(best: Trial | None = None, **more: Any) -> Sweep:
    return Sweep(
        id="swp_1",
        state="running",
        name="search",
        dataset="demo",
        objectives=[{"metric": "valid/rank_ic", "direction": "maximize"}],
        n_trials=5,
        max_parallel=2,
        counts={"succeeded": 2, "running": 1, "pruned": 1},
        best=best,
        created_at=datetime.now(UTC),
        **more,
    )


def test_names_are_as_short_as_tells_them_apart() -> None:
    paths = ["optimizer.kind", "scheduler.kind", "model.gat.layers"]
    assert short_names(paths) == ["optimizer.kind", "scheduler.kind", "layers"]
    assert short_params({"optimizer.lr": 0.00123456, "model.gat.layers": 2}) == (
        "lr=0.00123 layers=2"
    )


def test_each_ended_trial_is_one_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    best = trial(1, "succeeded", 0.05)
    trials = [trial(0, "pruned"), best, trial(2, "running", intermediate_values={1: 0.01})]
    with Lines(as_json=False) as view:
        view.show(sweep(best), trials[:1])
        view.show(sweep(best), trials)
    assert capsys.readouterr().out.splitlines() == [
        "trial 0 (1/5)  pruned  lr=0.00123 layers=2",
        "trial 1 (2/5)  succeeded  0.0500  best so far  lr=0.00123 layers=2",
    ]


def test_summary_says_that_a_sweep_is_ending() -> None:
    assert summary(sweep()).startswith("running: 2 complete")
    ending = sweep(cancel_requested_at=datetime.now(UTC))
    assert summary(ending).startswith("being cancelled: 2 complete, 1 running")


def test_preview_is_read_by_people(capsys: pytest.CaptureFixture[str]) -> None:
    print_preview(
        {
            "n_trials": 6,
            "runs": 12,
            "epochs": 120,
            "parameters": 2,
            "grid_size": 6,
            "warnings": ["model.gat.dropout is left out by some trials"],
            "suggestions": [
                {"optimizer.lr": 0.00123456, "model.gat.layers": 0},
                {"optimizer.lr": 0.01, "model.gat.layers": 2, "model.gat.dropout": 0.25},
            ],
        }
    )
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "6 trials, 12 runs, 120 epochs at most; 2 parameters with 6 combinations",
        "trial\tlr\tlayers\tdropout",
        "0\t0.00123\t0\t–",
        "1\t0.01\t2\t0.25",
    ]
    assert told.err.splitlines()[0] == "note: model.gat.dropout is left out by some trials"


def test_live_table_shows_what_runs_and_the_best() -> None:
    from rich.console import Console

    best = trial(1, "succeeded", 0.05, epochs=9)
    view = LiveTable()
    later = datetime.now(UTC) + timedelta(minutes=5, seconds=30)
    running = trial(2, "running", intermediate_values={1: 0.01, 2: 0.02}, epochs=2)
    view.show(sweep(best, estimated_finish_at=later), [trial(0, "pruned"), best, running])
    console = Console(width=120, record=True)
    console.print(view._render())
    shown = console.export_text()
    assert "0.0500" in shown
    assert "0.0200" in shown  # of the running trial: its newest value
    assert "best so far 0.0500 (trial 1)" in shown
    assert "about 5 min" in shown


def test_summary_counts_what_there_is() -> None:
    assert summary(sweep()) == "running: 2 complete, 1 running, 1 pruned of 5"
