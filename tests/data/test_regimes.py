"""Regimes come from the past alone, follow the market, and weigh the days as told."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gogooku3.config import DataConfig, DateSplit, RegimeConfig
from gogooku3.data.panel import Panel
from gogooku3.data.regimes import REGIMES, day_weights, regimes
from gogooku3.data.splits import Split, split_days
from gogooku3.errors import ConfigError

CONFIG = RegimeConfig(window=10, history=60)


def days_of(panel: Panel) -> torch.Tensor:
    """int64 [R]: the day of each row."""
    day_R = torch.full((panel.header.rows,), -1)
    for day, row_N in enumerate(panel.row_of_TN):
        day_R[row_N[row_N >= 0].long()] = day
    return day_R


def parts(panel: Panel) -> Split:
    split = DateSplit(train_end=panel.calendar[150], valid_end=panel.calendar[190])
    return split_days(panel.calendar, DataConfig(lookback=5, horizons=(1, 5), split=split))


def test_every_regime_occurs(panel: Panel) -> None:
    assert set(regimes(panel, CONFIG).tolist()) == set(range(len(REGIMES)))


@pytest.mark.parametrize("last", [60, 120, 180])
def test_later_returns_change_nothing(panel: Panel, last: int) -> None:
    later_R = days_of(panel) > last
    changed = replace(panel, return_R=torch.where(later_R, -5 * panel.return_R, panel.return_R))
    before, after = regimes(panel, CONFIG), regimes(changed, CONFIG)
    assert torch.equal(before[: last + 1], after[: last + 1])
    assert not torch.equal(before, after)


def test_a_storm_is_volatile_and_a_common_move_is_joint(panel: Panel) -> None:
    day_R = days_of(panel)
    g = torch.Generator().manual_seed(0)
    common_T = torch.randn(len(panel.calendar), generator=g)
    own_R = torch.randn(len(day_R), generator=g)
    # 150 quiet days of independent moves, 20 of the same moves ten times as large, 20 of one move.
    storm_R = torch.where((day_R >= 150) & (day_R < 170), 10.0, 1.0)
    return_R = torch.where(day_R >= 190, common_T[day_R], own_R * storm_R) * 0.01
    regime_T = regimes(replace(panel, return_R=return_R), CONFIG)
    assert set(regime_T[162:170].tolist()) <= {2, 3}
    assert set(regime_T[202:210].tolist()) <= {1, 3}


def test_weights_are_those_of_the_regimes_and_one_in_the_mean(panel: Panel) -> None:
    config = CONFIG.model_copy(update={"volatile_joint": 4.0, "calm_dispersed": 0.5})
    split = parts(panel)
    weight_T, regime_T = day_weights(panel, config, split), regimes(panel, config)
    assert float(weight_T[list(split.train_D)].mean()) == pytest.approx(1.0)
    scale = weight_T / torch.tensor(config.weights)[regime_T]
    assert torch.allclose(scale, scale[0])


@pytest.mark.parametrize("name", REGIMES)
def test_each_weight_is_that_of_the_regime_it_is_named_after(panel: Panel, name: str) -> None:
    alone = dict.fromkeys(REGIMES, 0.0) | {name: 2.0}
    weight_T = day_weights(panel, CONFIG.model_copy(update=alone), parts(panel))
    assert torch.equal(weight_T > 0, regimes(panel, CONFIG) == REGIMES.index(name))


@pytest.mark.parametrize("change", [{"window": 20}, {"history": 120}], ids=str)
def test_each_length_is_read(panel: Panel, change: dict[str, int]) -> None:
    changed = CONFIG.model_copy(update=change)
    assert not torch.equal(regimes(panel, CONFIG), regimes(panel, changed))


def test_a_weight_that_no_training_day_has_is_refused(panel: Panel) -> None:
    split = parts(panel)
    regime_T = regimes(panel, CONFIG)
    train_D = [day for day in split.train_D if regime_T[day] != 3]
    only_joint = dict.fromkeys(REGIMES[:3], 0.0)
    config = CONFIG.model_copy(update=only_joint)
    with pytest.raises(ConfigError, match=r"weight 0 to all \d+ training days"):
        day_weights(panel, config, replace(split, train_D=tuple(train_D)))
