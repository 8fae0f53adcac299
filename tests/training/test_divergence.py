"""A run that diverges says where: step, parameter, dates, codes, and what input is no number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gogooku3.config import TrainConfig
from gogooku3.errors import DivergedError
from gogooku3.training.experiment import Experiment
from gogooku3.training.failure import failure_of
from gogooku3.training.statistics import EpochStatistics

MakeConfig = Callable[..., TrainConfig]


def first_epoch(config: TrainConfig, dataset: Path, change: Callable[[Experiment], None]) -> Any:
    """The finding of a first epoch that diverges."""
    experiment = Experiment.open(config, dataset, "cpu")
    assert experiment.learner is not None
    change(experiment)
    statistics = EpochStatistics(experiment.steps, experiment.device)
    with pytest.raises(DivergedError) as caught:
        experiment.learner.epoch(
            1, experiment.split.train_D, 0, statistics, lambda step, seconds, verify: False
        )
    event = failure_of(caught.value)
    assert event.failure_class == "diverged"
    return event.message, event.findings[0]


def test_the_input_that_is_no_number_is_named(
    tmp_path: Path,
    make_config: MakeConfig,
    make_rows: Callable[..., Any],
    make_cache: Callable[[Path, Any], Path],
    calendar: list[Any],
) -> None:
    rows = make_rows()
    place = np.flatnonzero((rows.day_R == 30) & (rows.stock_R == 7))
    rows.features_RF[place, 3] = np.nan
    cache = make_cache(tmp_path / "bad.arrow", rows)
    message, finding = first_epoch(
        make_config(batch={"days_per_step": 2}), cache, lambda experiment: None
    )
    assert f"slow of S007 on {calendar[30]}" in message
    assert {"code": "S007", "date": str(calendar[30]), "feature": "slow"} in finding["inputs"]
    assert len(finding["dates"]) == 2
    assert "S007" in finding["codes"]
    assert finding["stocks"] == len(finding["codes"])
    assert finding["parameter"] in message
    # One of the step's days has the bad day in its look-back.
    days = [calendar.index(day) for day in calendar if str(day) in finding["dates"]]
    assert any(30 <= day < 36 for day in days)


def test_the_parameter_whose_gradient_is_no_number_is_named(
    tiny: Path, make_config: MakeConfig
) -> None:
    def poison(experiment: Experiment) -> None:
        name, parameter = list(experiment.model.named_parameters())[4]
        calls = iter(range(100))
        parameter.register_hook(lambda grad: grad * (torch.nan if next(calls) == 3 else 1.0))
        poisoned.append(name)

    poisoned: list[str] = []
    message, finding = first_epoch(make_config(), tiny, poison)
    assert finding["parameter"] == poisoned[0]
    assert (finding["epoch"], finding["step"]) == (1, 4)
    assert finding["inputs"] == []
    assert float(finding["values"]["loss"]) == pytest.approx(1, abs=3)
    assert f"gradient of {poisoned[0]} became NaN or infinite in epoch 1 at step 4" in message
