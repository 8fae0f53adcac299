"""The next item is made while the present one is used, and never more than that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gogooku3.config import TrainConfig
from gogooku3.data.batch import Batch
from gogooku3.training.ahead import one_ahead
from gogooku3.training.experiment import Experiment
from gogooku3.training.feed import Feed
from gogooku3.training.statistics import EpochStatistics

WAIT_S = 20.0


def test_order_is_kept_and_one_item_is_made_ahead_in_another_thread() -> None:
    made: list[tuple[int, int]] = []
    is_made = [threading.Event() for _ in range(5)]

    def items() -> Iterator[int]:
        for number in range(5):
            made.append((number, threading.get_ident()))
            is_made[number].set()
            yield number

    seen = []
    for number in one_ahead(items()):
        if number < 4:
            assert is_made[number + 1].wait(WAIT_S)
        assert len(made) <= number + 2
        seen.append(number)
    assert seen == [0, 1, 2, 3, 4]
    assert threading.get_ident() not in {thread for _, thread in made}


def test_nothing_is_made_before_it_is_asked_for() -> None:
    made = []

    def items() -> Iterator[int]:
        made.append(0)
        yield 0

    ahead = one_ahead(items())
    assert made == []
    assert list(ahead) == [0]


def test_an_error_comes_where_the_item_would_have() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    ahead = one_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(ahead)


def test_closing_waits_for_the_item_under_way() -> None:
    may_end, ended = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 1
        assert may_end.wait(WAIT_S)
        ended.set()
        yield 2

    ahead = one_ahead(items())
    next(ahead)
    threading.Timer(0.1, may_end.set).start()
    ahead.close()
    assert ended.is_set()
    assert not any(thread.name.startswith("ahead") for thread in threading.enumerate())


def test_an_epoch_makes_its_batches_ahead_and_leaves_the_one_in_use_alone(
    tiny: Path, make_config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Experiment.open(make_config(), tiny, "cpu")
    learner = experiment.learner
    assert learner is not None
    threads, make = set(), Feed.batch

    def noted(feed: Feed, *given: Any) -> Batch:
        threads.add(threading.current_thread().name.partition("_")[0])
        return make(feed, *given)

    monkeypatch.setattr(Feed, "batch", noted)
    statistics = EpochStatistics(experiment.steps, experiment.device)
    days = experiment.split.train_D
    assert learner.epoch(1, days, 0, statistics, lambda *_: False)
    assert threads == {"ahead"}
    first = experiment.feed.batch(days[:1])
    kept = first.x_BNTF.clone()
    second = experiment.feed.batch(days[-1:])
    assert first.x_BNTF.data_ptr() != second.x_BNTF.data_ptr()
    assert first.x_BNTF.equal(kept)
