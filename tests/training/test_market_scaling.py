"""A trained model scales market features as in its training, on whatever dataset it scores.

Shapes: T market days, B days, N stocks, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gogooku3.config import TrainConfig
from gogooku3.data.panel import Panel
from gogooku3.errors import DatasetMismatchError
from gogooku3.training.checkpoint import load_model, read_checkpoint
from gogooku3.training.experiment import Experiment
from gogooku3.training.trainer import TrainResult, train

Configure = Callable[..., TrainConfig]


def with_market(panel: Panel, value_T: Tensor) -> Panel:
    """The tiny market with `slow` made a market feature of these values."""
    features = tuple(
        replace(feature, role="market") if feature.name == "slow" else feature
        for feature in panel.header.features
    )
    features_RF = panel.features_RF.clone()
    column = panel.columns_of(["slow"])[0]
    for row_N, value in zip(panel.row_of_TN, value_T, strict=True):
        features_RF[row_N[row_N >= 0].long(), column] = value
    return replace(panel, header=replace(panel.header, features=features), features_RF=features_RF)


@pytest.fixture
def market(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Panel:
    """What is opened wherever a dataset is opened by name."""
    panel = Panel.open(tiny)
    market = with_market(panel, torch.linspace(50.0, 90.0, len(panel.calendar)))
    monkeypatch.setattr(Panel, "open", classmethod(lambda cls, path, verify=False: market))
    return market


@pytest.fixture
def trained(market: Panel, tiny: Path, tmp_path: Path, make_config: Configure) -> TrainResult:
    config = make_config(max_epochs=1)
    return train(config, dataset=tiny, out_dir=tmp_path, on_event=lambda event: None)


def test_the_manifest_holds_the_scaling_of_the_training_days(
    market: Panel, tiny: Path, trained: TrainResult, make_config: Configure
) -> None:
    assert trained.best_checkpoint is not None
    found = read_checkpoint(trained.best_checkpoint)[0].market_scaling
    experiment = Experiment.open(make_config(), tiny, "cpu")
    row_T = market.row_of_TN[list(experiment.split.train_D), 0].long()
    value_T = market.features_RF[row_T, market.columns_of(["slow"])[0]].double()
    assert set(found) == {"slow"}
    assert found["slow"] == pytest.approx((float(value_T.mean()), float(value_T.std(correction=0))))


def test_scoring_another_market_does_not_fit_anew(market: Panel, trained: TrainResult) -> None:
    assert trained.best_checkpoint is not None
    model = load_model(trained.best_checkpoint)
    day = market.calendar[70]
    home = model.score(market, day)
    # The same values on the days of day 70's window, anything on the others.
    value_T = torch.full((len(market.calendar),), -1e3)
    value_T[65:71] = torch.linspace(50.0, 90.0, len(market.calendar))[65:71]
    assert model.score(with_market(market, value_T), day) == home
    value_T[70] = 0.0
    assert model.score(with_market(market, value_T), day) != home


def test_a_market_without_the_split_s_days_is_scored(market: Panel, trained: TrainResult) -> None:
    """Scoring needs no training days, of which a dataset of later days has none."""
    assert trained.best_checkpoint is not None
    model = load_model(trained.best_checkpoint)
    later = tuple(day.replace(year=day.year + 5) for day in market.calendar if day.day < 29)
    kept = len(later)
    rows = int(market.index.first_row_T[kept])
    short = replace(
        market,
        calendar=later,
        header=replace(market.header, calendar=later),
        index=replace(
            market.index,
            first_row_T=market.index.first_row_T[: kept + 1],
            stock_R=market.index.stock_R[:rows],
        ),
    )
    assert model.score(short).num_rows > 0


def test_a_market_that_disagrees_on_the_role_is_an_error(
    market: Panel, trained: TrainResult
) -> None:
    assert trained.best_checkpoint is not None
    features = tuple(replace(feature, role="stock") for feature in market.header.features)
    plain = replace(market, header=replace(market.header, features=features))
    with pytest.raises(DatasetMismatchError, match=r"disagree.*slow"):
        load_model(trained.best_checkpoint).score(plain)
