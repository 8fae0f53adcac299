"""Features against an independent way of working them out, and the promises of their table."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from gogooku3.data.features import FEATURES, FeatureSpec
from gogooku3.data.quantities import Quantities
from gogooku3.data.source import read_bars
from gogooku3.data.synth import SyntheticMarket
from gogooku3.data.universe import UniverseRule, liquidity, members

BY_NAME = {spec.name: spec for spec in FEATURES}


def quantities_of(table: pl.DataFrame) -> Quantities:
    bars = read_bars(table)
    liquidity_TN = liquidity(bars)
    return Quantities(bars, liquidity_TN, members(bars, liquidity_TN, UniverseRule(top=30)))


def raw(spec: FeatureSpec, table: pl.DataFrame) -> Any:
    with np.errstate(all="ignore"):
        return spec.compute(quantities_of(table))


@pytest.fixture(scope="module")
def full(market: SyntheticMarket) -> pl.DataFrame:
    """Stocks with a row on every day: what their features are is plain arithmetic on rows."""
    table = market.table
    days = table["date"].n_unique()
    return table.filter(pl.len().over("code") == days).sort("code", "date")


def test_the_table_names_at_least_32_distinct_features() -> None:
    assert len(BY_NAME) == len(FEATURES) >= 32
    assert all(spec.formula and spec.lookback_days >= 1 for spec in FEATURES)


def mean(column: str | pl.Expr, days: int) -> pl.Expr:
    expression = pl.col(column) if isinstance(column, str) else column
    return expression.rolling_mean(days, min_samples=days)


CLOSE = pl.col("close")
DAILY = CLOSE / CLOSE.shift(1) - 1
SPAN = pl.col("high") - pl.col("low")
ORACLES: dict[str, pl.Expr] = {
    **{f"return_{d}": CLOSE / CLOSE.shift(d) - 1 for d in (1, 2, 3, 5, 10, 20, 60, 120)},
    "momentum_120_20": CLOSE.shift(20) / CLOSE.shift(120) - 1,
    **{f"volatility_{d}": DAILY.rolling_std(d, min_samples=d) for d in (5, 20, 60)},
    "volatility_ratio_5_60": DAILY.rolling_std(5) / DAILY.rolling_std(60),
    "largest_return_20": DAILY.rolling_max(20),
    **{f"close_to_mean_{d}": CLOSE / mean("close", d) - 1 for d in (5, 20, 60)},
    "range_1": SPAN / CLOSE,
    "range_20": mean(SPAN / CLOSE, 20),
    "gap_1": pl.col("open") / CLOSE.shift(1) - 1,
    "intraday_1": CLOSE / pl.col("open") - 1,
    "close_location_1": (CLOSE - pl.col("low")) / SPAN,
    "close_location_5": mean((CLOSE - pl.col("low")) / SPAN, 5),
    "close_to_high_60": CLOSE / pl.col("high").rolling_max(60) - 1,
    "close_to_low_60": CLOSE / pl.col("low").rolling_min(60) - 1,
    "turnover_20": mean(CLOSE * pl.col("volume"), 20).log(),
    "volume_ratio_1_20": (pl.col("volume") / mean("volume", 20)).log1p(),
    "volume_ratio_5_20": (mean("volume", 5) / mean("volume", 20)).log1p(),
    "volume_ratio_20_60": (mean("volume", 20) / mean("volume", 60)).log1p(),
    "volume_variation_20": pl.col("volume").rolling_std(20) / mean("volume", 20),
    "illiquidity_20": mean(DAILY.abs() / (CLOSE * pl.col("volume")), 20).log(),
}


@pytest.mark.parametrize("name", ORACLES)
def test_feature_equals_its_formula(name: str, full: pl.DataFrame) -> None:
    found_TN = raw(BY_NAME[name], full)
    wanted = full.select("date", "code", value=ORACLES[name].over("code"))
    wanted_TN = wanted.pivot(on="code", index="date", values="value").drop("date").to_numpy()
    known_TN = np.isfinite(wanted_TN.astype(float))
    assert known_TN[125:].all()
    np.testing.assert_allclose(found_TN[known_TN], wanted_TN[known_TN], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("days", [1, 5, 20])
def test_sector_features_are_means_over_the_sectors_members(
    days: int, market: SyntheticMarket
) -> None:
    q = quantities_of(market.table)
    past_TN = q.past_return(days)
    sector_TN = BY_NAME[f"sector_return_{days}"].compute(q)
    relative_TN = BY_NAME[f"sector_relative_{days}"].compute(q)
    checked = 0
    for day in range(60, len(past_TN), 20):
        for stock in range(past_TN.shape[1]):
            peers_N = q.bars.sector_N == q.bars.sector_N[stock]
            values = past_TN[day, peers_N & q.universe_TN[day] & np.isfinite(past_TN[day])]
            if len(values) < 2:
                assert np.isnan(sector_TN[day, stock])
                continue
            assert sector_TN[day, stock] == pytest.approx(values.mean())
            if np.isfinite(past_TN[day, stock]):
                wanted = past_TN[day, stock] - values.mean()
                assert relative_TN[day, stock] == pytest.approx(wanted)
                checked += 1
    assert checked > 100


@pytest.mark.parametrize("spec", FEATURES, ids=lambda spec: spec.name)
def test_feature_is_free_of_the_price_level(spec: FeatureSpec, market: SyntheticMarket) -> None:
    # Every stock is split by its own ratio: prices shrink, volumes grow.
    codes = market.table["code"].unique().sort()
    ratio = pl.col("code").replace_strict(codes, np.linspace(0.1, 10.0, len(codes)))
    table = market.table.with_columns(
        *(pl.col(name) / ratio for name in ("open", "high", "low", "close")),
        volume=pl.col("volume") * ratio,
    )
    before_TN, after_TN = raw(spec, market.table), raw(spec, table)
    np.testing.assert_allclose(after_TN, before_TN, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("spec", FEATURES, ids=lambda spec: spec.name)
def test_feature_reads_no_row_older_than_its_look_back(
    spec: FeatureSpec, market: SyntheticMarket
) -> None:
    day = 200
    calendar = market.table["date"].unique().sort()
    first = calendar[day + 1 - spec.lookback_days]
    rng = np.random.default_rng(5)
    noise = pl.Series(np.exp(rng.normal(0.0, 0.1, len(market.table))))
    is_old = pl.col("date") < first
    table = market.table.with_columns(
        pl.when(is_old).then(pl.col(name) * noise).otherwise(pl.col(name)).alias(name)
        for name in ("open", "high", "low", "close")
    )
    # Volumes keep the traded value, so that the universe, which is asked for sector means, stays.
    table = table.with_columns(
        volume=pl.when(is_old).then(pl.col("volume") / noise).otherwise("volume")
    )
    before_N, after_N = raw(spec, market.table)[day], raw(spec, table)[day]
    assert np.isfinite(before_N).any()
    np.testing.assert_allclose(after_N, before_N, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("spec", FEATURES, ids=lambda spec: spec.name)
def test_feature_of_t_depends_on_recent_rows(spec: FeatureSpec, market: SyntheticMarket) -> None:
    calendar = market.table["date"].unique().sort()
    # `momentum_120_20` leaves out the last 20 days by design: day t - 20 belongs to all of them.
    first = calendar[200 - 21]
    rng = np.random.default_rng(6)
    size = len(market.table)
    is_recent = pl.col("date") >= first
    noise = {name: pl.Series(np.exp(rng.normal(0.0, 0.02, size))) for name in ("p", "v")}
    table = market.table.with_columns(
        *(
            pl.when(is_recent).then(pl.col(name) * noise["p"]).otherwise(pl.col(name)).alias(name)
            for name in ("close", "high", "low")
        ),
        volume=pl.when(is_recent).then(pl.col("volume") * noise["v"]).otherwise("volume"),
    )
    before_N, after_N = raw(spec, market.table)[200], raw(spec, table)[200]
    known_N = np.isfinite(before_N) & np.isfinite(after_N)
    assert known_N.any()
    assert (np.abs(after_N - before_N)[known_N] > 1e-9).mean() > 0.5


def test_an_extreme_move_does_not_reach_ratios_of_prices(full: pl.DataFrame) -> None:
    calendar = full["date"].unique().sort()
    code = full["code"][0]
    # A stock whose prices are ten times too large from one day on: a missed split.
    wrong = (pl.col("code") == code) & (pl.col("date") >= calendar[150])
    prices = ("open", "high", "low", "close")
    table = full.with_columns(
        pl.when(wrong).then(pl.col(name) * 10).otherwise(pl.col(name)).alias(name)
        for name in prices
    )
    column = full["code"].unique().sort().to_list().index(code)
    for name in ("return_20", "close_to_mean_60", "close_to_high_60", "momentum_120_20"):
        before, after = raw(BY_NAME[name], full), raw(BY_NAME[name], table)
        # Only that day's own return, which is unknown and taken as 0, is missing.
        assert abs(after[160, column] - before[160, column]) < 0.15
    q = quantities_of(table)
    assert q.extreme_TN.sum() == 1
    assert np.isnan(q.return_1d_TN[150, column])
