"""Market features: scaled by the training days alone, the same when a trained model scores.

Shapes: T market days, R rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from gogooku3.config import DataConfig, PurgedKFoldSplit
from gogooku3.data.batches import BatchMaker
from gogooku3.data.build import build
from gogooku3.data.features import FEATURES
from gogooku3.data.panel import Panel
from gogooku3.data.scaling import MarketScaling
from gogooku3.data.synth import SyntheticMarket
from gogooku3.errors import DatasetMismatchError

Config = Callable[..., DataConfig]
NAMES = ("return_5", "return_10", "gap_1")


@pytest.fixture(scope="module")
def panel(market: SyntheticMarket, tmp_path_factory: pytest.TempPathFactory) -> Panel:
    """A dataset without features of the market's own."""
    out = tmp_path_factory.mktemp("caches") / "small.arrow"
    names = [spec.name for spec in FEATURES if spec.role == "stock"]
    return Panel.open(build(market.table, name="small", out=out, top=30, features=names).path)


def with_market(panel: Panel, values: dict[str, Tensor]) -> Panel:
    """The panel with some features made the whole market's: `values` holds one value a day."""
    features = tuple(
        replace(feature, role="market") if feature.name in values else feature
        for feature in panel.header.features
    )
    features_RF = panel.features_RF.clone()
    for day, row_N in enumerate(panel.row_of_TN):
        for name, value_T in values.items():
            column = panel.columns_of([name])[0]
            features_RF[row_N[row_N >= 0].long(), column] = value_T[day]
    header = replace(panel.header, features=features)
    return replace(panel, header=header, features_RF=features_RF)


@pytest.fixture
def values(panel: Panel) -> dict[str, Tensor]:
    """A drifting, a wild and a constant series far from unit scale."""
    size = len(panel.calendar)
    random = torch.Generator().manual_seed(4)
    wild_T = torch.randn(size, generator=random)
    wild_T[100] = 300.0
    return {
        "return_5": torch.linspace(100.0, 900.0, size),
        "return_10": wild_T,
        "gap_1": torch.full((size,), 7.3),
    }


def test_windows_hold_the_scaled_value_of_each_day(
    panel: Panel, values: dict[str, Tensor], data_config: Config
) -> None:
    market = with_market(panel, values)
    maker = BatchMaker(market, data_config())
    train_D = list(maker.split.train_D)
    assert set(maker.scaling.mean_std) == set(NAMES)
    plain, batch = BatchMaker(panel, data_config()).make([110, 210]), maker.make([110, 210])
    for name in NAMES:
        value_T = values[name].double().numpy()
        mean, spread = value_T[train_D].mean(), value_T[train_D].std()
        column = panel.columns_of([name])[0]
        for place, day in enumerate((110, 210)):
            wanted_T = np.zeros(20)
            if name != "gap_1":
                wanted_T = ((value_T[day - 19 : day + 1] - mean) / spread).clip(-5, 5)
            x_NT = batch.x_BNTF[place, :, :, column]
            present_NT = batch.present_BNT[place]
            np.testing.assert_allclose(x_NT, wanted_T * present_NT.numpy(), rtol=1e-5, atol=1e-6)
        plain.x_BNTF[..., column] = batch.x_BNTF[..., column]
    assert torch.equal(plain.x_BNTF, batch.x_BNTF)
    # Day 100's outlier is cut.
    assert maker.make([100]).x_BNTF[..., panel.columns_of(["return_10"])[0]].max() == 5.0


def test_the_future_changes_no_scaling_and_no_training_batch(
    panel: Panel, values: dict[str, Tensor], data_config: Config
) -> None:
    data = data_config()
    maker = BatchMaker(with_market(panel, values), data)
    train_end = panel.calendar.index(data.split.train_end)  # type: ignore[union-attr]
    for first, is_same in ((train_end + 1, True), (maker.split.train_D[-1], False)):
        changed = {name: value_T.clone() for name, value_T in values.items()}
        for value_T in changed.values():
            value_T[first:] = 1e4 * torch.randn(len(value_T) - first)
        other = BatchMaker(with_market(panel, changed), data)
        assert (other.scaling == maker.scaling) is is_same
        days = maker.split.train_D
        same = [torch.equal(maker.make([t]).x_BNTF, other.make([t]).x_BNTF) for t in days]
        assert all(same) is is_same
        assert not torch.equal(maker.make([180]).x_BNTF, other.make([180]).x_BNTF)


def test_a_fold_is_scaled_by_its_own_training_days(
    panel: Panel, values: dict[str, Tensor], data_config: Config
) -> None:
    market = with_market(panel, values)
    for fold in (0, 2):
        split = PurgedKFoldSplit(folds=4, fold=fold, embargo_days=2)
        maker = BatchMaker(market, data_config(split=split))
        mean = float(values["return_5"][list(maker.split.train_D)].double().mean())
        assert maker.scaling.mean_std["return_5"][0] == pytest.approx(mean)


def test_a_given_scaling_is_used_as_it_is(
    panel: Panel, values: dict[str, Tensor], data_config: Config
) -> None:
    given = MarketScaling({"return_5": (500.0, 100.0), "return_10": (0.0, 2.0), "gap_1": (7, 0.1)})
    # Far beyond the panel's days: nothing may be fitted on a split that this panel does not have.
    maker = BatchMaker(with_market(panel, values), data_config(), scaling=given)
    batch = maker.make([120])
    assert maker.scaling is given
    for name, (mean, spread) in given.mean_std.items():
        x_N = batch.x_BNTF[0, :, -1, panel.columns_of([name])[0]]
        wanted = (float(values[name][120]) - mean) / spread
        np.testing.assert_allclose(x_N, max(-5, min(5, wanted)), rtol=1e-5)


def test_unknown_values_are_left_out_and_0(
    panel: Panel, values: dict[str, Tensor], data_config: Config
) -> None:
    values["return_5"][:80] = torch.nan
    values["return_10"][:] = torch.nan
    maker = BatchMaker(with_market(panel, values), data_config())
    known_D = [day for day in maker.split.train_D if day >= 80]
    mean = float(values["return_5"][known_D].double().mean())
    assert maker.scaling.mean_std["return_5"][0] == pytest.approx(mean)
    assert maker.scaling.mean_std["return_10"] == (0.0, 0.0)
    x_BNTF = maker.make([90]).x_BNTF
    first, second, _ = (panel.columns_of([name])[0] for name in NAMES)
    assert (x_BNTF[..., second] == 0).all()
    assert (x_BNTF[0, :, :9, first] == 0).all()
    assert (x_BNTF[0, :, -1, first] != 0).all()


def test_only_the_features_in_use_are_scaled(
    panel: Panel, values: dict[str, Tensor], data_config: Config
) -> None:
    market = with_market(panel, values)
    names = ("gap_1", "volatility_20", "return_5")
    whole, chosen = (BatchMaker(market, data_config(features=f)) for f in (None, names))
    assert set(chosen.scaling.mean_std) == {"gap_1", "return_5"}
    wanted = whole.make([100]).x_BNTF[..., panel.columns_of(names)]
    assert torch.equal(chosen.make([100]).x_BNTF, wanted)
    assert BatchMaker(panel, data_config()).scaling == MarketScaling()


def test_model_and_dataset_must_agree_on_what_is_the_markets(
    panel: Panel, values: dict[str, Tensor], data_config: Config
) -> None:
    scaling = MarketScaling({"return_5": (0.0, 1.0)})
    for market in (panel, with_market(panel, {"gap_1": values["gap_1"]})):
        with pytest.raises(DatasetMismatchError, match=r"disagree.*return_5"):
            BatchMaker(market, data_config(), scaling=scaling)
