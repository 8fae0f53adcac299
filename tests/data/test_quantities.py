"""The market's return, betas and residuals, against numpy's own regression."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from gogooku3.data.quantities import Quantities
from gogooku3.data.rolling import rolling_slope
from gogooku3.data.source import read_bars
from gogooku3.data.synth import SyntheticMarket
from gogooku3.data.universe import UniverseRule, liquidity, members


def quantities_of(table: pl.DataFrame) -> Quantities:
    bars = read_bars(table)
    liquidity_TN = liquidity(bars)
    return Quantities(bars, liquidity_TN, members(bars, liquidity_TN, UniverseRule(top=30)))


@pytest.fixture(scope="module")
def q(market: SyntheticMarket) -> Quantities:
    return quantities_of(market.table)


def test_the_market_return_is_the_mean_of_the_counted_stocks(q: Quantities) -> None:
    assert np.isnan(q.market_return_T[0])
    for day in (1, 30, 59, 60, 150, 219):
        counted_N = q.universe_TN[day] if q.universe_TN[day].any() else q.present_TN[day]
        known_M = q.return_1d_TN[day, counted_N & np.isfinite(q.return_1d_TN[day])]
        assert q.market_return_T[day] == pytest.approx(known_M.mean(), rel=1e-12)


def test_beta_is_the_slope_of_the_last_60_days(q: Quantities) -> None:
    checked = 0
    for day in (60, 100, 219):
        days = slice(day - 59, day + 1)
        for stock in range(q.beta_TN.shape[1]):
            known_D = np.isfinite(q.return_1d_TN[days, stock])
            if known_D.sum() < 40:
                assert np.isnan(q.beta_TN[day, stock])
                continue
            line = np.polyfit(
                q.market_return_T[days][known_D], q.return_1d_TN[days, stock][known_D], 1
            )
            assert q.beta_TN[day, stock] == pytest.approx(line[0], rel=1e-8)
            checked += known_D.sum() < 60
    assert checked > 5


def test_the_residual_takes_yesterdays_beta(q: Quantities) -> None:
    wanted_TN = q.return_1d_TN[1:] - q.beta_TN[:-1] * q.market_return_T[1:, None]
    assert np.isfinite(wanted_TN[60:]).mean() > 0.8
    np.testing.assert_array_equal(q.residual_1d_TN[1:], wanted_TN)
    assert np.isnan(q.residual_1d_TN[0]).all()


@pytest.mark.parametrize("cut", [45, 75, 140])
def test_a_table_cut_after_t_gives_the_same_bits_up_to_t(
    q: Quantities, market: SyntheticMarket, cut: int
) -> None:
    until = market.table["date"].unique().sort()[cut]
    alone = quantities_of(market.table.filter(pl.col("date") <= until))
    column_M = np.searchsorted(q.bars.codes, alone.bars.codes)
    np.testing.assert_array_equal(alone.market_return_T, q.market_return_T[: cut + 1])
    for name in ("beta_TN", "residual_1d_TN"):
        whole_TM = getattr(q, name)[: cut + 1, column_M]
        np.testing.assert_array_equal(getattr(alone, name), whole_TM)


def test_a_market_that_stands_still_has_no_beta() -> None:
    y_TN = np.random.default_rng(0).normal(size=(80, 3))
    assert np.isnan(rolling_slope(y_TN, np.full(80, 0.01), 60)).all()
