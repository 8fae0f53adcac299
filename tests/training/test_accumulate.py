"""Accumulating batches is the same as one larger batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gogooku3.config import TrainConfig
from gogooku3.training.experiment import Experiment
from gogooku3.training.statistics import EpochStatistics


def one_step(config: TrainConfig, dataset: Path) -> tuple[dict[str, torch.Tensor], float]:
    """The gradients and the loss of the first step."""
    experiment = Experiment.open(config, dataset, "cpu")
    learner = experiment.learner
    assert learner is not None
    statistics = EpochStatistics(experiment.steps, experiment.device)
    whole = learner.epoch(1, experiment.split.train_D, 0, statistics, lambda *told: True)
    assert not whole
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in experiment.model.named_parameters()
        if parameter.grad is not None
    }
    row_S = statistics.state()["rows"]["loss"]
    return gradients, float(row_S[0])


@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulated_gradients_equal_the_large_batch(
    tiny: Path, make_config: Callable[..., TrainConfig], accumulate: int
) -> None:
    model = {
        "kind": "atft_gat_fan",
        "hidden_size": 8,
        "dropout": 0.0,
        "fan": {"top_k": 1},
        "gat": {"layers": 1, "dropout": 0.0},
        "graph": {"window": 10, "neighbours": 3, "sector_neighbours": 2},
    }
    optimizer = {"clip_norm": None}
    large = make_config(model=model, optimizer=optimizer, batch={"days_per_step": 4 * accumulate})
    small = make_config(
        model=model, optimizer=optimizer, batch={"days_per_step": 4, "accumulate": accumulate}
    )
    expected, expected_loss = one_step(large, tiny)
    found, loss = one_step(small, tiny)
    assert loss == pytest.approx(expected_loss, abs=1e-6)
    assert found.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    assert largest > 1e-3
    for name, gradient in expected.items():
        # Sums in another order: the rounding of float32, over many terms of either sign.
        torch.testing.assert_close(found[name], gradient, atol=1e-5 * largest, rtol=1e-4, msg=name)


def test_steps_and_the_last_smaller_one(
    tiny: Path, make_config: Callable[..., TrainConfig]
) -> None:
    config = make_config(batch={"days_per_step": 5, "accumulate": 2})
    experiment = Experiment.open(config, tiny, "cpu")
    days = len(experiment.split.train_D)
    assert days % 10  # the last step has fewer days
    assert experiment.steps == days // 10 + 1
    learner = experiment.learner
    assert learner is not None
    statistics = EpochStatistics(experiment.steps, experiment.device)
    assert learner.epoch(1, experiment.split.train_D, 0, statistics, lambda *told: False)
    assert statistics.state()["days"] == days


def test_steps_of_blocks_see_every_day_once(
    tiny: Path, make_config: Callable[..., TrainConfig]
) -> None:
    config = make_config(batch={"days_per_step": 6, "block_days": 3, "stocks_per_step": 12})
    experiment = Experiment.open(config, tiny, "cpu")
    learner = experiment.learner
    assert learner is not None
    statistics = EpochStatistics(experiment.steps, experiment.device)
    assert learner.epoch(1, experiment.split.train_D, 0, statistics, lambda *told: False)
    assert statistics.state()["days"] == len(experiment.split.train_D)
