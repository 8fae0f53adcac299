"""The universe against its definition, stock by stock and day by day."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from gogooku3.data.source import read_bars
from gogooku3.data.synth import SyntheticMarket
from gogooku3.data.universe import UniverseRule, liquidity, members


@pytest.mark.parametrize("top", [None, 12])
def test_members_are_those_of_the_rule(market: SyntheticMarket, top: int | None) -> None:
    bars = read_bars(market.table)
    rule = UniverseRule(top=top, min_days=54, window=60)
    found_TN = members(bars, liquidity(bars), rule)
    value_TN = np.nan_to_num(bars.close_TN * bars.volume_TN)
    for day in range(len(bars.calendar)):
        traded_N = (value_TN[max(0, day - 59) : day + 1] > 0).sum(0)
        money_N = value_TN[max(0, day - 19) : day + 1].sum(0) / 20
        regular = [n for n in range(50) if value_TN[day, n] > 0 and traded_N[n] >= 54]
        ranked = sorted(regular, key=lambda n: -money_N[n])[: top or None]
        assert set(np.flatnonzero(found_TN[day])) == set(ranked)
    assert found_TN[:53].sum() == 0
    assert found_TN[60:].sum() > 0


def test_a_day_without_volume_is_not_a_day_of_trade(market: SyntheticMarket) -> None:
    code = market.table["code"][0]
    calendar = market.table["date"].unique().sort()
    idle = (pl.col("code") == code) & pl.col("date").is_between(calendar[100], calendar[106])
    table = market.table.with_columns(volume=pl.when(idle).then(0.0).otherwise("volume"))
    bars = read_bars(table)
    found_TN = members(bars, liquidity(bars), UniverseRule())
    stock = bars.codes.index(code)
    assert found_TN[99, stock]
    # Nor can it be dealt in on such a day, however regularly it traded before.
    assert not found_TN[100:107, stock].any()
    assert not found_TN[107, stock]


def test_a_rule_that_means_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="top"):
        UniverseRule(top=0)
    with pytest.raises(ValueError, match="min_days"):
        UniverseRule(min_days=61, window=60)
