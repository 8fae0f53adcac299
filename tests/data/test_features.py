"""Features against an independent way of working them out, and the promises of their table."""

from __future__ import annotations

from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import linregress, rankdata

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


def raw(spec: FeatureSpec, q: Quantities) -> Any:
    with np.errstate(all="ignore"):
        return np.asarray(spec.compute(q))


@pytest.fixture(scope="module")
def plain(market: SyntheticMarket) -> Quantities:
    """The market as it is; its quantities are worked out once for all features."""
    return quantities_of(market.table)


@pytest.fixture(scope="module")
def full(market: SyntheticMarket) -> pl.DataFrame:
    """Stocks with a row on every day: what their features are is plain arithmetic on rows."""
    table = market.table
    days = table["date"].n_unique()
    return table.filter(pl.len().over("code") == days).sort("code", "date")


def test_the_table_names_112_distinct_features() -> None:
    assert len(BY_NAME) == len(FEATURES) == 112
    assert len({spec.formula for spec in FEATURES}) == 112
    assert all(spec.formula and spec.lookback_days >= 1 for spec in FEATURES)
    assert [family for family, _ in groupby(spec.family for spec in FEATURES)] == [
        "price",
        "volatility",
        "technical",
        "liquidity",
        "beta",
        "sector",
        "validity",
        "market",
        "calendar",
    ]


def mean(column: str | pl.Expr, days: int) -> pl.Expr:
    expression = pl.col(column) if isinstance(column, str) else column
    return expression.rolling_mean(days, min_samples=days)


CLOSE = pl.col("close")
DAILY = CLOSE / CLOSE.shift(1) - 1
SPAN = pl.col("high") - pl.col("low")
VALUE = CLOSE * pl.col("volume")
GAIN = pl.max_horizontal(DAILY, 0.0)
LOG_RANGE = (pl.col("high") / pl.col("low")).log()
CHANGE = VALUE.log() - VALUE.log().shift(1)
OVERNIGHT = pl.col("open") / CLOSE.shift(1) - 1
WITHIN = CLOSE / pl.col("open") - 1
LOW14, HIGH14 = pl.col("low").rolling_min(14), pl.col("high").rolling_max(14)


def moment(order: int) -> pl.Expr:
    """A standardised central moment of 60 returns, from the values themselves."""
    return DAILY.rolling_map(
        lambda r: float((((r - r.mean()) / r.std(ddof=0)) ** order).mean()), 60, min_samples=60
    )


def correlation(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    return pl.rolling_corr(left, right, window_size=60, min_samples=60)


ORACLES: dict[str, pl.Expr] = {
    "return_40": CLOSE / CLOSE.shift(40) - 1,
    "momentum_60_5": CLOSE.shift(5) / CLOSE.shift(60) - 1,
    "acceleration_20": CLOSE / CLOSE.shift(10) - CLOSE.shift(10) / CLOSE.shift(20),
    **{
        f"efficiency_{d}": (CLOSE / CLOSE.shift(d) - 1) / (mean(DAILY.abs(), d) * d)
        for d in (20, 60)
    },
    **{f"overnight_{d}": mean(OVERNIGHT, d) for d in (5, 20)},
    **{f"intraday_{d}": mean(WITHIN, d) for d in (5, 20)},
    **{f"volatility_{d}": DAILY.rolling_std(d, min_samples=d) for d in (10, 120)},
    "volatility_ratio_20_120": DAILY.rolling_std(20) / DAILY.rolling_std(120),
    **{
        f"downside_share_{d}": mean(pl.min_horizontal(DAILY, 0.0) ** 2, d) / mean(DAILY**2, d)
        for d in (20, 60)
    },
    "smallest_return_20": DAILY.rolling_min(20),
    "skewness_60": moment(3),
    "kurtosis_60": moment(4),
    "volatility_variation_60": DAILY.abs().rolling_std(60) / mean(DAILY.abs(), 60),
    "parkinson_20": (mean(LOG_RANGE**2, 20) / (4 * np.log(2))).sqrt(),
    "garman_klass_20": mean(
        LOG_RANGE**2 / 2 - (2 * np.log(2) - 1) * (CLOSE / pl.col("open")).log() ** 2, 20
    ).sqrt(),
    "close_to_mean_120": CLOSE / mean("close", 120) - 1,
    **{
        f"mean_ratio_{a}_{b}": mean("close", a) / mean("close", b) - 1
        for a, b in ((5, 20), (20, 60), (60, 120))
    },
    **{f"close_to_high_{d}": CLOSE / pl.col("high").rolling_max(d) - 1 for d in (20, 120)},
    **{f"close_to_low_{d}": CLOSE / pl.col("low").rolling_min(d) - 1 for d in (20, 120)},
    **{f"rsi_{d}": mean(GAIN, d) / mean(DAILY.abs(), d) for d in (5, 14)},
    "stochastic_14": (CLOSE - LOW14) / (HIGH14 - LOW14),
    "bollinger_20": (CLOSE - mean("close", 20)) / CLOSE.rolling_std(20),
    "up_share_20": mean((DAILY > 0).cast(pl.Float64), 20),
    "money_flow_14": mean(pl.when(DAILY > 0).then(VALUE).when(DAILY <= 0).then(0.0), 14)
    / mean(VALUE, 14),
    "autocorrelation_60": correlation(DAILY, DAILY.shift(1)),
    "volume_ratio_5_60": (mean("volume", 5) / mean("volume", 60)).log1p(),
    "turnover_variation_60": VALUE.rolling_std(60) / mean(VALUE, 60),
    "turnover_shock_60": (VALUE.log() - mean(VALUE.log(), 60)) / VALUE.log().rolling_std(60),
    "return_turnover_correlation_60": correlation(DAILY, CHANGE),
    "signed_turnover_20": mean(DAILY.sign() * VALUE, 20) / mean(VALUE, 20),
    "illiquidity_60": mean(DAILY.abs() / VALUE, 60).log(),
    "traded_share_60": mean((pl.col("volume") > 0).cast(pl.Float64), 60),
    "history_120": mean(pl.lit(1.0) + 0 * CLOSE, 120),
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
    found_TN = raw(BY_NAME[name], quantities_of(full))
    wanted = full.select("date", "code", value=ORACLES[name].over("code"))
    wanted_TN = wanted.pivot(on="code", index="date", values="value").drop("date").to_numpy()
    known_TN = np.isfinite(wanted_TN.astype(float))
    assert known_TN[125:].all(), name
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


@pytest.fixture(scope="module")
def split(market: SyntheticMarket) -> Quantities:
    """Every stock is split by its own ratio: prices shrink, volumes grow."""
    codes = market.table["code"].unique().sort()
    ratio = pl.col("code").replace_strict(codes, np.linspace(0.1, 10.0, len(codes)))
    return quantities_of(
        market.table.with_columns(
            *(pl.col(name) / ratio for name in ("open", "high", "low", "close")),
            volume=pl.col("volume") * ratio,
        )
    )


@pytest.mark.parametrize("spec", FEATURES, ids=lambda spec: spec.name)
def test_feature_is_free_of_the_price_level(
    spec: FeatureSpec, plain: Quantities, split: Quantities
) -> None:
    np.testing.assert_allclose(raw(spec, split), raw(spec, plain), rtol=1e-6, atol=1e-9)


@pytest.fixture(scope="module")
def aged(market: SyntheticMarket) -> Any:
    """Makes up everything more than so many days before day 200."""
    calendar = market.table["date"].unique().sort()

    @cache
    def made_up(days: int) -> Quantities:
        noise = pl.Series(np.exp(np.random.default_rng(5).normal(0.0, 0.1, len(market.table))))
        is_old = pl.col("date") < calendar[200 + 1 - days]
        table = market.table.with_columns(
            pl.when(is_old).then(pl.col(name) * noise).otherwise(pl.col(name)).alias(name)
            for name in ("open", "high", "low", "close")
        )
        # Volumes keep the traded value, so that the universe, which is asked for means, stays.
        volume = pl.when(is_old).then(pl.col("volume") / noise).otherwise("volume")
        return quantities_of(table.with_columns(volume=volume))

    return made_up


@pytest.mark.parametrize("spec", FEATURES, ids=lambda spec: spec.name)
def test_feature_reads_no_row_older_than_its_look_back(
    spec: FeatureSpec, plain: Quantities, aged: Any
) -> None:
    before_N, after_N = raw(spec, plain)[200], raw(spec, aged(spec.lookback_days))[200]
    assert np.isfinite(before_N).any()
    np.testing.assert_allclose(after_N, before_N, rtol=1e-6, atol=1e-9)


@pytest.fixture(scope="module")
def recent(market: SyntheticMarket) -> Quantities:
    """The last days before day 200 are others, errors in the data among them."""
    calendar = market.table["date"].unique().sort()
    # `momentum_120_20` leaves out the last 20 days by design: day t - 20 belongs to all of them.
    is_recent = pl.col("date") >= calendar[200 - 21]
    rng, size = np.random.default_rng(6), len(market.table)
    noise = {name: pl.Series(np.exp(rng.normal(0.0, 0.02, size))) for name in ("p", "v")}
    dirt = pl.Series(np.where(rng.random(size) < 0.1, 3.0, 1.0))
    idle = pl.Series(rng.random(size) < 0.1)
    table = market.table.with_columns(
        *(
            pl.when(is_recent)
            .then(pl.col(name) * dirt * (1.0 if name == "open" else noise["p"]))
            .otherwise(pl.col(name))
            .alias(name)
            for name in ("close", "high", "low", "open")
        ),
        volume=pl.when(is_recent)
        .then(pl.when(idle).then(0.0).otherwise(pl.col("volume") * noise["v"]))
        .otherwise("volume"),
    )
    return quantities_of(table)


@pytest.mark.parametrize(
    "spec",
    [spec for spec in FEATURES if spec.family != "calendar" and spec.name != "history_120"],
    ids=lambda spec: spec.name,
)
def test_feature_of_t_depends_on_recent_rows(
    spec: FeatureSpec, plain: Quantities, recent: Quantities
) -> None:
    before_N, after_N = raw(spec, plain)[200], raw(spec, recent)[200]
    known_N = np.isfinite(before_N) & np.isfinite(after_N)
    assert known_N.any()
    # Of a rank, few may be other than they were.
    wanted = 0.1 if "rank" in spec.name else 0.5
    assert (np.abs(after_N - before_N)[known_N] > 1e-9).mean() > wanted


def test_every_feature_varies_and_none_is_another_s_copy(recent: Quantities) -> None:
    known_TN = recent.universe_TN.copy()
    known_TN[:121] = False
    rank_FV = []
    for spec in FEATURES:
        value_V = raw(spec, recent)[known_TN]
        seen = np.unique(value_V[np.isfinite(value_V)])
        assert len(seen) >= 2, f"{spec.name} is always {seen}"
        rank_FV.append(rankdata(np.nan_to_num(value_V, nan=np.nanmedian(value_V))))
    likeness_FF = np.abs(np.corrcoef(rank_FV)) - np.eye(len(FEATURES))
    place = np.unravel_index(likeness_FF.argmax(), likeness_FF.shape)
    names = [FEATURES[at].name for at in place]
    assert likeness_FF.max() < 0.995, f"{names} are the same: {likeness_FF.max()}"


def test_market_features_come_last_so_that_a_batch_writes_them_in_one_stretch() -> None:
    roles = [spec.role for spec in FEATURES]
    assert roles == sorted(roles, key="market".__eq__)


def test_market_features_are_the_day_s(plain: Quantities) -> None:
    q, day = plain, 150
    market = {spec.name: raw(spec, q) for spec in FEATURES if spec.role == "market"}
    assert len(market) == 15
    for name, value_TN in market.items():
        assert (value_TN[day] == value_TN[day, 0]).all(), name
    found = {name: value_TN[day, 0] for name, value_TN in market.items()}
    daily_TM = np.where(q.universe_TN, q.return_1d_TN, np.nan)[day - 19 : day + 1]
    mean_T = np.nanmean(daily_TM, axis=1)
    up_T = [np.mean(row[np.isfinite(row)] > 0) for row in daily_TM]
    assert found["market_return_1"] == pytest.approx(mean_T[-1])
    assert found["market_return_5"] == pytest.approx(mean_T[-5:].sum())
    assert found["market_volatility_20"] == pytest.approx(mean_T.std(ddof=1))
    assert found["market_breadth_1"] == pytest.approx(up_T[-1])
    assert found["market_breadth_20"] == pytest.approx(np.mean(up_T))
    assert found["market_dispersion_1"] == pytest.approx(np.nanstd(daily_TM[-1]))
    assert found["market_dispersion_20"] == pytest.approx(np.nanstd(daily_TM, axis=1).mean())
    today = q.bars.calendar[day]
    assert (found["weekday"], found["day_of_month"]) == (today.weekday(), today.day)
    assert found["days_closed"] == (today - q.bars.calendar[day - 1]).days - 1


def test_ranks_within_the_sector_count_its_members(plain: Quantities) -> None:
    q, day = plain, 150
    rank_N, past_N = raw(BY_NAME["sector_rank_return_5"], q)[day], q.past_return(5)[day]
    for stock in np.flatnonzero(np.isfinite(rank_N)):
        peers_N = (q.bars.sector_N == q.bars.sector_N[stock]) & q.universe_TN[day]
        value_M = past_N[peers_N & np.isfinite(past_N)]
        wanted = (value_M < past_N[stock]).sum() + 0.5 * (value_M == past_N[stock]).sum()
        assert rank_N[stock] == pytest.approx(wanted / len(value_M))
    assert np.isfinite(rank_N).sum() > 20


def test_residual_returns_and_betas_agree_with_a_regression(plain: Quantities) -> None:
    q, day = plain, 180
    beta_N, slope_N = (raw(BY_NAME[name], q)[day] for name in ("beta_120", "market_correlation_60"))
    for stock in range(0, len(beta_N), 7):
        for days, found, kind in ((120, beta_N, "slope"), (60, slope_N, "correlation")):
            y_D = q.return_1d_TN[day - days + 1 : day + 1, stock]
            x_D = q.market_return_T[day - days + 1 : day + 1]
            known_D = np.isfinite(y_D) & np.isfinite(x_D)
            if np.isfinite(found[stock]):
                line = linregress(x_D[known_D], y_D[known_D])
                wanted = line.slope if kind == "slope" else line.rvalue
                assert found[stock] == pytest.approx(wanted, rel=1e-7)
    sum_N = np.nansum(q.residual_1d_TN[day - 19 : day + 1], axis=0)
    whole_N = np.isfinite(q.residual_1d_TN[day - 19 : day + 1]).all(axis=0)
    found_N = raw(BY_NAME["residual_return_20"], q)[day]
    np.testing.assert_allclose(found_N[whole_N], sum_N[whole_N], rtol=1e-7)


def test_the_spread_of_two_days_is_corwin_s_and_schultz_s(full: pl.DataFrame) -> None:
    """Worked out stock by stock from the paper's formulas, with the mean of 20 days."""
    q = quantities_of(full)
    high_D, low_D = q.high_TN[100:121, 0], q.low_TN[100:121, 0]
    spreads = []
    for t in range(1, 21):
        beta = sum(np.log(high_D[s] / low_D[s]) ** 2 for s in (t - 1, t))
        gamma = np.log(max(high_D[t - 1 : t + 1]) / min(low_D[t - 1 : t + 1])) ** 2
        k = 3 - 2 * np.sqrt(2)
        alpha = (np.sqrt(2 * beta) - np.sqrt(beta)) / k - np.sqrt(gamma / k)
        spreads.append(2 * (np.exp(alpha) - 1) / (1 + np.exp(alpha)))
    assert raw(BY_NAME["spread_20"], q)[120, 0] == pytest.approx(np.mean(spreads))


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
    q = quantities_of(table)
    for name in ("return_20", "close_to_mean_60", "close_to_high_60", "momentum_120_20"):
        before, after = raw(BY_NAME[name], quantities_of(full)), raw(BY_NAME[name], q)
        # Only that day's own return, which is unknown and taken as 0, is missing.
        assert abs(after[160, column] - before[160, column]) < 0.15
    assert q.extreme_TN.sum() == 1
    assert np.isnan(q.return_1d_TN[150, column])
