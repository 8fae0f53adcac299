"""A killed run, resumed, ends with the same bits as one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gogooku3.config import TrainConfig
from gogooku3.errors import CheckpointError, ConfigError, DatasetMismatchError
from gogooku3.events import (
    CheckpointEvent,
    EndEvent,
    EpochEvent,
    Event,
    ResumePointEvent,
    RunRequest,
    StartEvent,
    WarningEvent,
)
from gogooku3.models.linear import Linear
from gogooku3.training.checkpoint import read_checkpoint
from gogooku3.training.trainer import TrainResult, train

MakeConfig = Callable[..., TrainConfig]
ADAMW = {"kind": "adamw", "lr": 0.01}
ADABELIEF = {"kind": "adabelief", "lr": 0.01}
LION_MEAN = {"kind": "lion", "lr": 0.002, "ema_decay": 0.9}


class StopAfter:
    """Asks to stop once it has been asked a number of times."""

    def __init__(self, questions: int) -> None:
        self.left = questions

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def steady(metrics: dict[str, float | None]) -> dict[str, float | None]:
    """The metrics that don't depend on the machine's pace."""
    return {name: value for name, value in metrics.items() if not name.startswith("sys/")}


def assert_same_end(one: TrainResult, other: TrainResult) -> None:
    assert one.last_checkpoint is not None
    assert other.last_checkpoint is not None
    mine, theirs = (read_checkpoint(run.last_checkpoint)[1] for run in (one, other))  # type: ignore[arg-type]
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert torch.equal(mine[name], theirs[name]), name
    assert [steady(e.metrics) for e in one.epochs] == [steady(e.metrics) for e in other.epochs]
    assert one.best_epoch == other.best_epoch
    assert steady(one.best_metrics) == steady(other.best_metrics)
    # A checkpoint holds no times: the same run writes the same file.
    assert one.last_checkpoint.read_bytes() == other.last_checkpoint.read_bytes()


@pytest.fixture(scope="module")
def undisturbed(
    tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[TrainConfig], TrainResult]:
    """The run that nobody interrupts, done once for each configuration."""
    done: dict[str, TrainResult] = {}

    def run(config: TrainConfig) -> TrainResult:
        key = config.model_dump_json()
        if key not in done:
            folder = tmp_path_factory.mktemp("whole")
            done[key] = train(config, dataset=tiny, out_dir=folder, on_event=lambda e: None)
        return done[key]

    return run


@pytest.mark.parametrize(
    ("questions", "optimizer"),
    # In the first epoch before, between and after its steps, in its evaluation; in the second.
    [(questions, ADAMW) for questions in (0, 1, 4, 6, 7, 13, 18)]
    + [(4, ADABELIEF), (18, ADABELIEF), (4, LION_MEAN), (18, LION_MEAN)],
)
def test_interrupted_anywhere_it_ends_the_same(
    tiny: Path,
    tmp_path: Path,
    make_config: MakeConfig,
    undisturbed: Callable[[TrainConfig], TrainResult],
    questions: int,
    optimizer: dict[str, object],
) -> None:
    # Blocks at one of the points, single days at the others.
    blocks = {"days_per_step": 4, "block_days": 2} if questions == 7 else {}
    config = make_config(optimizer=optimizer, batch={"stocks_per_step": 20, **blocks})
    whole = undisturbed(config)
    events: list[Event] = []
    first = train(
        config,
        dataset=tiny,
        out_dir=tmp_path / "one",
        on_event=events.append,
        should_stop=StopAfter(questions),
    )
    assert first.outcome == "interrupted"
    assert isinstance(events[-1], EndEvent)
    assert isinstance(events[-2], ResumePointEvent)
    second = train(
        config,
        dataset=tiny,
        out_dir=tmp_path / "two",
        on_event=events.append,
        resume=first.resume_state,
        recorded_epoch=len(first.epochs),
    )
    assert second.outcome == "completed"
    assert_same_end(whole, second)
    assert [e.epoch for e in events if isinstance(e, EpochEvent)] == [1, 2]
    starts = [e for e in events if isinstance(e, StartEvent)]
    assert "resumed_from" not in starts[0].provenance
    points = [e for e in events[: events.index(starts[1])] if isinstance(e, ResumePointEvent)]
    left = points[-1]
    assert starts[1].provenance["resumed_from"] == {"epoch": left.epoch, "step": left.step}


def test_stopped_at_every_step_it_ends_the_same(
    tiny: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    config = make_config(max_epochs=4, evaluation={"train_days": 0})
    whole = train(config, dataset=tiny, out_dir=tmp_path / "whole", on_event=lambda e: None)
    resume, runs = None, 0
    while True:
        part = train(
            config,
            dataset=tiny,
            out_dir=tmp_path / "parts",
            on_event=lambda e: None,
            should_stop=StopAfter(5),
            resume=resume,
        )
        runs += 1
        assert runs < 60
        resume = part.resume_state
        if part.outcome == "completed":
            break
    assert runs > 6
    assert_same_end(whole, part)


def test_killed_at_any_moment_it_ends_the_same(
    tiny: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    """SIGKILL of a real trainer process, at moments spread over its run."""
    config = make_config(max_epochs=3)
    whole = train(config, dataset=tiny, out_dir=tmp_path / "whole", on_event=lambda e: None)
    epochs: set[int] = set()
    resume: Path | None = None
    for attempt, lines in enumerate((2, 6, 4, None)):
        folder = tmp_path / f"attempt-{attempt}"
        request = RunRequest(
            config=config,
            dataset=tiny,
            out_dir=folder,
            resume=resume,
            recorded_epoch=max(epochs, default=0),
            cpu_threads=1,
        )
        events, code = run_and_kill(request, lines)
        for event in events:
            if event["type"] == "epoch":
                assert event["epoch"] not in epochs
                epochs.add(event["epoch"])
            if event["type"] == "resume_point":
                resume = folder / event["path"]
        assert code == (0 if lines is None else -signal.SIGKILL)
    assert epochs == {1, 2, 3}
    final = train(
        config,
        dataset=tiny,
        out_dir=tmp_path / "read",
        on_event=lambda e: None,
        resume=resume,
    )
    assert_same_end(whole, final)


def run_and_kill(request: RunRequest, lines: int | None) -> tuple[list[dict[str, object]], int]:
    """Start a trainer, kill it after so many events; the events read and its exit code."""
    read_fd, write_fd = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "gogooku3.training.run", "--events-fd", str(write_fd)],
        stdin=subprocess.PIPE,
        pass_fds=(write_fd,),
    )
    os.close(write_fd)
    assert child.stdin is not None
    child.stdin.write(request.model_dump_json().encode())
    child.stdin.close()
    events = []
    with os.fdopen(read_fd) as pipe:
        for line in pipe:
            events.append(json.loads(line))
            if len(events) == lines:
                child.kill()
    return events, child.wait()


def test_events_the_caller_missed_are_told_again(
    tiny: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    config = make_config(max_epochs=3)
    first = train(config, dataset=tiny, out_dir=tmp_path / "one", on_event=lambda e: None)
    events: list[Event] = []
    train(
        config,
        dataset=tiny,
        out_dir=tmp_path / "two",
        on_event=events.append,
        resume=first.resume_state,
        recorded_epoch=1,
    )
    assert [e.epoch for e in events if isinstance(e, EpochEvent)] == [2, 3]
    for event in events:
        if isinstance(event, CheckpointEvent):
            assert (tmp_path / "two" / event.path).stat().st_size == event.size
    assert (tmp_path / "two" / "series-valid.arrow").exists()
    assert isinstance(events[-1], EndEvent)
    assert events[-1].best_epoch == first.best_epoch


def test_an_epoch_is_told_once_though_the_resume_state_is_older(
    tiny: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    """Killed after telling epoch 2, before telling of the resume state that holds it."""
    config = make_config(max_epochs=3, evaluation={"train_days": 0})
    first = train(
        config,
        dataset=tiny,
        out_dir=tmp_path / "one",
        on_event=lambda e: None,
        should_stop=StopAfter(12),
    )
    assert len(first.epochs) == 1
    events: list[Event] = []
    train(
        config,
        dataset=tiny,
        out_dir=tmp_path / "two",
        on_event=events.append,
        resume=first.resume_state,
        recorded_epoch=2,
    )
    assert [e.epoch for e in events if isinstance(e, EpochEvent)] == [3]


def test_a_resume_state_that_is_gone_means_a_start_from_the_beginning(
    tiny: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    events: list[Event] = []
    result = train(
        make_config(max_epochs=1),
        dataset=tiny,
        out_dir=tmp_path / "out",
        on_event=events.append,
        resume=tmp_path / "gone.pt",
    )
    assert result.outcome == "completed"
    assert [e.code for e in events if isinstance(e, WarningEvent)] == ["resume-missing"]


def test_a_resume_state_of_another_run_is_refused(
    tiny: Path,
    tmp_path: Path,
    make_config: MakeConfig,
    make_rows: Callable[..., object],
    make_cache: Callable[..., Path],
) -> None:
    config = make_config(max_epochs=1)
    first = train(config, dataset=tiny, out_dir=tmp_path / "one", on_event=lambda e: None)
    other_cache = make_cache(tmp_path / "other.arrow", make_rows(seed=9))
    (tmp_path / "damaged.pt").write_bytes(first.resume_state.read_bytes()[:5000])
    for changed, cache, path, error in (
        (make_config(max_epochs=2), tiny, first.resume_state, ConfigError),
        (config, other_cache, first.resume_state, DatasetMismatchError),
        (config, tiny, tmp_path / "damaged.pt", CheckpointError),
    ):
        with pytest.raises(error):
            train(
                changed,
                dataset=cache,
                out_dir=tmp_path / "two",
                on_event=lambda e: None,
                resume=path,
            )


def test_a_fitted_model_that_was_stopped_while_it_was_evaluated_is_not_fitted_again(
    tiny: Path, tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(model={"kind": "linear"})
    fits: list[int] = []
    fit = Linear.fit

    def counted(self: Linear, *given: Any) -> None:
        fit(self, *given)
        fits.append(1)

    monkeypatch.setattr(Linear, "fit", counted)
    told: list[Event] = []
    whole = train(config, dataset=tiny, out_dir=tmp_path / "whole", on_event=told.append)
    first = train(
        config,
        dataset=tiny,
        out_dir=tmp_path / "one",
        on_event=told.append,
        should_stop=lambda: len(fits) == 2,
    )
    assert first.outcome == "interrupted"
    second = train(
        config,
        dataset=tiny,
        out_dir=tmp_path / "two",
        on_event=told.append,
        resume=first.resume_state,
    )
    assert len(fits) == 2
    assert_same_end(whole, second)
