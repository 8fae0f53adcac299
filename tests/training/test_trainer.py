"""What a run does besides learning: order, best epoch, files, ends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from gogooku3.config import TrainConfig
from gogooku3.errors import CheckpointError, DatasetMismatchError, DivergedError
from gogooku3.events import (
    CheckpointEvent,
    EndEvent,
    EpochEvent,
    Event,
    ProgressEvent,
    ResumePointEvent,
    StartEvent,
)
from gogooku3.metrics import daily_series, summarise
from gogooku3.training import proof
from gogooku3.training.checkpoint import load_model, read_checkpoint
from gogooku3.training.trainer import train

MakeConfig = Callable[..., TrainConfig]


def kinds(events: list[Event]) -> list[str]:
    return [event.type for event in events if not isinstance(event, ProgressEvent)]


def test_everything_told_is_already_on_the_disk(
    tiny: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        if isinstance(event, EpochEvent):
            state = torch.load(tmp_path / "resume.pt", weights_only=True)
            assert state["epoch"] == event.epoch
        if isinstance(event, CheckpointEvent):
            content = (tmp_path / event.path).read_bytes()
            assert len(content) == event.size
            assert hashlib.sha256(content).hexdigest() == event.sha256

    result = train(make_config(max_epochs=3), dataset=tiny, out_dir=tmp_path, on_event=listen)
    assert result.outcome == "completed"
    assert isinstance(events[0], StartEvent)
    assert isinstance(events[-1], EndEvent)
    order = kinds(events)
    for place, kind in enumerate(order):
        if kind == "epoch":
            rest = order[place + 1 : place + 3]
            assert "resume_point" in rest
            assert rest.index("resume_point") == (1 if rest[0] == "checkpoint" else 0)
    assert [e.epoch for e in events if isinstance(e, EpochEvent)] == [1, 2, 3]
    # The last epoch always leaves a checkpoint.
    assert result.last_checkpoint == tmp_path / "epoch-0003.gk3"
    assert not list(tmp_path.glob(".*.part"))


def test_the_metrics_of_an_epoch(tiny: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    result = train(make_config(), dataset=tiny, out_dir=tmp_path, on_event=lambda e: None)
    metrics = result.epochs[0].metrics
    expected = {"train/loss", "train/lr", "train/grad_norm", "train/loss_ic", "valid/loss@5"}
    expected |= {"sys/samples_per_s", "sys/epoch_s", "sys/rss_bytes", "sys/data_wait_share"}
    expected |= {"sys/cpu_util"}
    expected |= {"train/ic", "train/rank_ic@5", "valid/psi", "valid/psi@1", "valid/ic_low@1"}
    expected |= {"valid/rank_ic", "valid/rank_ic@1", "valid/sharpe_net@5", "valid/n_days@1"}
    assert expected <= metrics.keys()
    assert not any(name.startswith("test/") for name in metrics)
    assert 0 < (metrics["sys/cpu_util"] or 0) < 8
    loss, one, five = (metrics[f"valid/{name}"] for name in ("loss", "loss@1", "loss@5"))
    assert one is not None
    assert five is not None
    assert loss == pytest.approx((one + five) / 2)
    share = metrics["sys/data_wait_share"]
    assert share is not None
    assert 0 < share < 1


def test_the_best_epoch_is_the_one_with_the_best_metric(
    tiny: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    events: list[Event] = []
    config = make_config(max_epochs=4, optimizer={"lr": 0.05})
    result = train(config, dataset=tiny, out_dir=tmp_path, on_event=events.append)
    values = [epoch.metrics["valid/rank_ic"] for epoch in result.epochs]
    best = max(range(4), key=lambda place: values[place] or -1.0) + 1
    assert result.best_epoch == best
    marked = [e.epoch for e in events if isinstance(e, CheckpointEvent) and e.is_best]
    assert marked[-1] == best
    assert result.best_checkpoint is not None
    assert read_checkpoint(result.best_checkpoint)[0].epoch == best


def test_patience_stops_early_and_leaves_the_last_checkpoint(
    tiny: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    config = make_config(max_epochs=9, early_stopping={"patience": 2, "min_delta": 5.0})
    result = train(config, dataset=tiny, out_dir=tmp_path, on_event=lambda e: None)
    assert result.outcome == "stopped_early"
    assert len(result.epochs) == 3
    assert result.best_epoch == 1
    assert result.last_checkpoint == tmp_path / "epoch-0003.gk3"
    assert not (tmp_path / "epoch-0002.gk3").exists()


def test_the_stored_predictions_give_the_stored_metrics(
    tiny: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    config = make_config(max_epochs=3)
    result = train(config, dataset=tiny, out_dir=tmp_path, on_event=lambda e: None)
    table = read(tmp_path / "predictions-valid.arrow")
    assert table.column_names == ["date", "code", "score@1", "return@1", "score@5", "return@5"]
    days, day_R = np.unique(table["date"].to_numpy(), return_inverse=True)
    codes, stock_R = np.unique(table["code"].to_pylist(), return_inverse=True)
    score = torch.zeros(len(days), len(codes), 1)
    known = torch.full_like(score, torch.nan)
    score[day_R, stock_R, 0] = torch.tensor(table["score@5"].to_numpy())
    known[day_R, stock_R, 0] = torch.tensor(table["return@5"].to_numpy(zero_copy_only=False))
    again = summarise(daily_series(score, known, ~known.isnan(), (5,)))
    assert again["rank_ic@5"] == pytest.approx(result.best_metrics["valid/rank_ic@5"], abs=1e-6)
    series = read(tmp_path / "series-valid.arrow")
    assert np.nanmean(series["rank_ic@5"].to_numpy()) == pytest.approx(
        result.best_metrics["valid/rank_ic@5"], abs=1e-9
    )
    assert series.schema.metadata[b"epoch"] == str(result.best_epoch).encode()
    selection = json.loads((tmp_path / "selection.json").read_text())
    assert list(selection["epochs"]) == ["1", "2", "3"]
    assert len(selection["epochs"]["3"]) == len(selection["features"]) == 5
    assert list(selection["attention"]) == ["1", "2", "3"]
    assert sum(selection["attention"]["3"]) == pytest.approx(1.0, abs=1e-5)


def read(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


@pytest.mark.parametrize("kind", ["linear", "lightgbm", "reversal"])
def test_models_without_gradient_take_one_epoch(
    tiny: Path, tmp_path: Path, make_config: MakeConfig, kind: str
) -> None:
    events: list[Event] = []
    model = {"kind": kind} | ({"min_leaf_rows": 20} if kind == "lightgbm" else {})
    config = make_config(max_epochs=7, model=model)
    result = train(config, dataset=tiny, out_dir=tmp_path, on_event=events.append)
    assert kinds(events) == ["start", "epoch", "checkpoint", "resume_point", "end"]
    assert result.outcome == "completed"
    assert result.best_epoch == 1
    rank_ic = result.best_metrics["valid/rank_ic@1"]
    assert rank_ic is not None
    if kind != "reversal":
        assert rank_ic > 0.3  # it found the signal that every day holds
    assert read_checkpoint(tmp_path / "epoch-0001.gk3")[0].config == config


@pytest.mark.parametrize(("kind", "questions"), [("linear", 2), ("lightgbm", 9)])
def test_an_interrupted_fit_starts_again(
    tiny: Path, tmp_path: Path, make_config: MakeConfig, kind: str, questions: int
) -> None:
    config = make_config(model={"kind": kind})
    asked = iter([False] * questions + [True])
    first = train(
        config,
        dataset=tiny,
        out_dir=tmp_path,
        on_event=lambda e: None,
        should_stop=lambda: next(asked, True),
    )
    assert first.outcome == "interrupted"
    again = train(
        config,
        dataset=tiny,
        out_dir=tmp_path,
        on_event=lambda e: None,
        resume=first.resume_state,
    )
    assert again.outcome == "completed"


def test_a_resume_state_is_written_within_an_epoch(
    tiny: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    events: list[Event] = []
    train(
        make_config(max_epochs=1),
        dataset=tiny,
        out_dir=tmp_path,
        on_event=events.append,
        resume_interval_s=0.0,
    )
    points = [(e.epoch, e.step) for e in events if isinstance(e, ResumePointEvent)]
    steps = next(e.steps for e in events if isinstance(e, ProgressEvent))
    assert points == [(0, step) for step in range(1, steps + 1)] + [(1, 0)]


def test_progress_tells_where_the_run_is(
    tiny: Path, tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gogooku3.training.progress.INTERVAL_S", 0.0)
    events: list[Event] = []
    train(make_config(), dataset=tiny, out_dir=tmp_path, on_event=events.append)
    progress = [event for event in events if isinstance(event, ProgressEvent)]
    steps = progress[0].steps
    assert [(p.epoch, p.step) for p in progress] == [
        (epoch, step) for epoch in (1, 2) for step in range(steps + 1)
    ]
    assert progress[0].eta_s is None
    assert all(p.eta_s is not None and p.eta_s >= 0 for p in progress[1:])


def test_a_loss_that_is_not_a_number_ends_the_run(
    tmp_path: Path,
    make_config: MakeConfig,
    make_rows: Callable[..., Any],
    make_cache: Callable[[Path, Any], Path],
    calendar: list[object],
) -> None:
    rows = make_rows()
    bad_day = 30
    rows.features_RF[rows.day_R == bad_day] = np.inf
    cache = make_cache(tmp_path / "bad.arrow", rows)
    config = make_config(batch={"days_per_step": 1})
    with pytest.raises(DivergedError, match=r"epoch 1 at step \d+ of \d+ .*training on 2020-"):
        train(config, dataset=cache, out_dir=tmp_path, on_event=lambda e: None)
    assert not (tmp_path / "resume.pt").exists()


def test_a_score_that_is_not_a_number_ends_the_run(
    tmp_path: Path,
    make_config: MakeConfig,
    make_rows: Callable[..., Any],
    make_cache: Callable[[Path, Any], Path],
) -> None:
    rows = make_rows()
    rows.features_RF[rows.day_R == 70] = np.inf
    cache = make_cache(tmp_path / "bad.arrow", rows)
    with pytest.raises(DivergedError, match="valid split"):
        train(make_config(), dataset=cache, out_dir=tmp_path, on_event=lambda e: None)


def test_a_dataset_that_does_not_fit_is_refused_with_every_problem(
    tiny: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    config = make_config(data={"horizons": (1, 7), "features": ("signel",)})
    with pytest.raises(DatasetMismatchError, match=r"(?s)horizons/1.*features/0.*'signal'"):
        train(config, dataset=tiny, out_dir=tmp_path, on_event=lambda e: None)


def test_a_checkpoint_that_does_not_reproduce_is_an_error(
    tiny: Path, tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_changed(path: Path, device: str) -> object:
        loaded = load_model(path, device)
        with torch.no_grad():
            next(loaded.model.parameters()).add_(0.01)
        return loaded

    monkeypatch.setattr(proof, "load_model", load_changed)
    events: list[Event] = []
    with pytest.raises(CheckpointError, match="reproduce"):
        train(make_config(), dataset=tiny, out_dir=tmp_path, on_event=events.append)
    assert "epoch" not in kinds(events)
