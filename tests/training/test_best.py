"""Which epoch is the best, and when to give up."""

import pytest

from gogooku3.config import EarlyStoppingConfig
from gogooku3.training.best import BestEpoch


def follow(config: EarlyStoppingConfig, values: list[float | None]) -> tuple[BestEpoch, list[bool]]:
    best = BestEpoch(config)
    return best, [
        best.update(epoch, {config.metric: value}) for epoch, value in enumerate(values, start=1)
    ]


def test_the_first_of_the_highest_is_the_best() -> None:
    best, improved = follow(EarlyStoppingConfig(), [0.1, 0.3, 0.3, 0.2])
    assert improved == [True, True, False, False]
    assert (best.epoch, best.waited) == (2, 2)


@pytest.mark.parametrize("metric", ["valid/loss", "valid/loss@5"])
def test_a_loss_is_minimised(metric: str) -> None:
    best, _ = follow(EarlyStoppingConfig(metric=metric), [0.5, 0.4, 0.6])
    assert best.epoch == 2


def test_an_undefined_metric_is_never_better() -> None:
    best, improved = follow(EarlyStoppingConfig(patience=2), [None, float("nan")])
    assert improved == [False, False]
    assert best.epoch is None
    assert best.gave_up


def test_a_value_that_is_not_finite_does_not_stand_for_ever() -> None:
    best, improved = follow(EarlyStoppingConfig(), [float("nan"), 0.1, float("inf")])
    assert improved == [False, True, False]
    assert best.value == 0.1


def test_a_gain_must_exceed_min_delta() -> None:
    best, improved = follow(EarlyStoppingConfig(min_delta=0.05), [0.1, 0.14, 0.16])
    assert improved == [True, False, True]
    assert best.epoch == 3


def test_patience() -> None:
    config = EarlyStoppingConfig(patience=2)
    assert not follow(config, [0.3, 0.1])[0].gave_up
    assert follow(config, [0.3, 0.1, 0.2])[0].gave_up
    assert not follow(config, [0.3, 0.1, 0.4, 0.1])[0].gave_up
    assert not follow(EarlyStoppingConfig(), [0.3] + [0.1] * 50)[0].gave_up


def test_the_state_survives() -> None:
    config = EarlyStoppingConfig(patience=2)
    best, _ = follow(config, [0.3, 0.1])
    again = BestEpoch(config)
    again.restore(best.state())
    assert again == best
    assert not again.update(3, {config.metric: 0.2})
    assert again.gave_up
