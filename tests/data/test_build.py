"""What a build puts into a dataset: built-in and ready-made features and targets, and how."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from gogooku3.config.source import SourceSpec
from gogooku3.data.build import build
from gogooku3.data.features import FEATURES
from gogooku3.data.header import DatasetHeader
from gogooku3.data.panel import Panel
from gogooku3.data.report import Finding
from gogooku3.data.synth import SyntheticMarket
from gogooku3.errors import SourceDataError


@pytest.fixture(scope="module")
def ready(market: SyntheticMarket) -> pl.DataFrame:
    """A table with columns of somebody's own making, one of them unknown on some rows."""
    rng = np.random.default_rng(3)
    by_day = pl.col("date").rank("dense").cast(pl.Float64)
    return market.table.with_columns(
        pl.Series("mine", rng.normal(size=len(market.table))),
        vix=pl.when(pl.col("code") == pl.col("code").min()).then(None).otherwise(100_000 + by_day),
        level=pl.col("close").log(),
        ahead=pl.col("close").shift(-3).over("code") / pl.col("close") - 1,
    )


SPEC = SourceSpec.model_validate(
    {
        "features": [
            "mine",
            {"column": "vix", "role": "market"},
            {"column": "level", "normalise": False},
        ],
        "targets": {3: "ahead"},
    }
)


def test_ready_columns_become_features_and_targets(ready: pl.DataFrame, tmp_path: Path) -> None:
    header = build(ready, name="r", out=tmp_path / "r.arrow", spec=SPEC, top=30)
    assert [(info.name, info.role, info.family) for info in header.features] == [
        ("mine", "stock", "ready"),
        ("vix", "market", "ready"),
        ("level", "stock", "ready"),
    ]
    assert header.horizons == (3,)
    panel = Panel.open(header.path, verify=True)
    table = {(row["date"], row["code"]): row for row in ready.iter_rows(named=True)}
    for day in (60, 100, 219):
        stock_M = panel.scored_stocks(day)
        row_M = panel.row_of_TN[day, stock_M].long()
        given = [table[panel.calendar[day], panel.codes[stock]] for stock in stock_M]
        mine_M, vix_M, level_M = panel.features_RF[row_M].T
        # A rank keeps the order, and has mean 0 and variance 1.
        wanted = np.argsort([row["mine"] for row in given])
        np.testing.assert_array_equal(np.argsort(mine_M.numpy()), wanted)
        assert float(mine_M.mean()) == pytest.approx(0.0, abs=1e-5)
        # The market's value stands on every row, also where the source left it out.
        assert set(vix_M.tolist()) == {100_001.0 + day}
        assert level_M.tolist() == pytest.approx([row["level"] for row in given], rel=1e-6)
        ahead = [np.nan if row["ahead"] is None else row["ahead"] for row in given]
        np.testing.assert_allclose(panel.targets_RK[row_M, 0].numpy(), ahead, rtol=1e-6)


def test_built_in_features_come_too_when_the_spec_asks(ready: pl.DataFrame, tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"builtin_features": True})
    found = build(ready, name="b", out=tmp_path / "b.arrow", spec=spec)
    assert found.feature_names == ("mine", "vix", "level", *(spec.name for spec in FEATURES))


def test_features_are_chosen_by_name(market: SyntheticMarket, tmp_path: Path) -> None:
    whole = build(market.table, name="w", out=tmp_path / "w.arrow", top=30)
    names = ("volatility_20", "return_1")
    some = build(market.table, name="s", out=tmp_path / "s.arrow", top=30, features=names)
    assert some.feature_names == names
    for name in names:
        assert some.fingerprints[f"features.{name}"] == whole.fingerprints[f"features.{name}"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "no feature is named"),
        (("volatilty_20",), "no feature 'volatilty_20'; did you mean 'volatility_20'"),
        (("sector_return_1",), "sector_return_1 needs sectors, which the table lacks"),
        (("return_1", "return_1"), "return_1 is named twice"),
    ],
)
def test_features_that_are_not_there_are_told(
    market: SyntheticMarket, tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    plain = market.table.drop("sector33", "sector17")
    with pytest.raises(SourceDataError, match=message):
        build(plain, name="n", out=tmp_path / "n.arrow", features=names)


def test_a_ready_feature_may_not_take_a_built_in_s_name(
    market: SyntheticMarket, tmp_path: Path
) -> None:
    spec = SourceSpec.model_validate(
        {"features": [{"column": "open", "name": "return_1"}], "builtin_features": True}
    )
    with pytest.raises(SourceDataError, match="return_1 is built in"):
        build(market.table, name="n", out=tmp_path / "n.arrow", spec=spec)


def test_a_market_feature_is_the_same_for_all(ready: pl.DataFrame, tmp_path: Path) -> None:
    spec = SourceSpec.model_validate({"features": [{"column": "mine", "role": "market"}]})
    with pytest.raises(SourceDataError, match=r"mine has role market.*give it role stock"):
        build(ready, name="n", out=tmp_path / "n.arrow", spec=spec)


def test_without_a_close_only_ready_targets_are_there(ready: pl.DataFrame, tmp_path: Path) -> None:
    spec = SourceSpec.model_validate({"features": ["mine"], "targets": {3: "ahead"}})
    plain = ready.drop("close", "open", "high", "low")
    header = build(plain, name="n", out=tmp_path / "n.arrow", spec=spec)
    panel = Panel.open(header.path)
    assert header.horizons == (3,)
    assert torch.isnan(panel.return_R).all()
    with pytest.raises(SourceDataError, match=r"5-day returns need a close.*are there for: 3"):
        build(plain, name="n", out=tmp_path / "n.arrow", spec=spec, horizons=(3, 5))


def test_float16_holds_the_same_in_half_the_room(
    market: SyntheticMarket, header: DatasetHeader, tmp_path: Path
) -> None:
    half = build(market.table, name="h", out=tmp_path / "h.arrow", top=30, storage="float16")
    assert (header.storage, half.storage) == ("float32", "float16")
    room = header.rows * len(header.features) * 2
    assert header.size_bytes - half.size_bytes == pytest.approx(room, rel=0.01)
    panel = Panel.open(half.path, verify=True)
    assert panel.features_RF.dtype == torch.float16
    wanted_RF = Panel.open(header.path).features_RF
    torch.testing.assert_close(
        panel.features_RF.float(), wanted_RF, atol=1e-3, rtol=1e-3, equal_nan=True
    )
    assert half.fingerprints["targets.1"] == header.fingerprints["targets.1"]
    assert half.fingerprints["features.return_1"] != header.fingerprints["features.return_1"]


def test_what_float16_cannot_hold_is_told_by_its_name(ready: pl.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(SourceDataError, match=r"feature vix .*float16 holds numbers up to 65504"):
        build(ready, name="h", out=tmp_path / "h.arrow", spec=SPEC, storage="float16")
    assert not list(tmp_path.iterdir())


def test_residuals_and_betas_are_stored(header: DatasetHeader) -> None:
    panel = Panel.open(header.path)
    known_R = torch.isfinite(panel.residual_R)
    assert 0.5 < float(known_R.float().mean()) < 1.0
    assert float(panel.residual_R[known_R].std()) < float(panel.return_R[known_R].std())
    assert 0.3 < float(panel.beta_R[torch.isfinite(panel.beta_R)].median()) < 2.0


def test_the_source_s_report_goes_with_the_dataset(market: SyntheticMarket, tmp_path: Path) -> None:
    odd = market.table.with_columns(
        open=pl.when(pl.int_range(pl.len()) == 7).then(0.0).otherwise(pl.col("open"))
    )
    report = build(odd, name="o", out=tmp_path / "o.arrow").report
    zero = next(finding for finding in report if finding.check == "zero_price")
    assert zero == Finding("zero_price", zero.severity, 1, 1 / len(odd), zero.examples)
    assert zero.examples
