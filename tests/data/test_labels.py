"""Targets are ratios of prices by market day, and unknown rather than wrong."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import polars as pl

from gogooku3.data.panel import Panel
from gogooku3.data.synth import SyntheticMarket

Built = Callable[..., pl.DataFrame]
Bars = Callable[..., pl.DataFrame]


def test_every_target_is_the_ratio_of_two_closes(market: SyntheticMarket, panel: Panel) -> None:
    closes = {
        (day, code): close for day, code, close in market.table["date", "code", "close"].rows()
    }
    known = 0
    for day, today in enumerate(panel.calendar):
        for stock, code in enumerate(panel.codes):
            row = int(panel.row_of_TN[day, stock])
            assert (row >= 0) == ((today, code) in closes)
            if row < 0:
                continue
            for place, horizon in enumerate(panel.header.horizons):
                found = float(panel.targets_RK[row, place])
                later = day + horizon
                end = closes.get((panel.calendar[later], code)) if later < 220 else None
                if end is None:
                    assert math.isnan(found)
                else:
                    assert np.isclose(found, end / closes[today, code] - 1, rtol=1e-5, atol=1e-7)
                    known += 1
    assert known > 20_000


def test_a_missing_day_makes_the_label_unknown_not_later(bars: Bars, built: Built) -> None:
    closes: dict[str, list[float | None]] = {
        "A": [100.0 + day for day in range(10)],
        "B": [50.0, 51.0, None, 53.0, 54.0, 55.0, 56.0, 57.0, 58.0, 59.0],
    }
    rows = built(bars(closes), min_days=1, window=1, horizons=(1, 2))
    gap = rows.filter(pl.col("code") == "B").sort("date")
    assert gap["target_1"][0] == np.float32(51 / 50 - 1)
    assert math.isnan(gap["target_1"][1])
    assert gap["target_2"][1] == np.float32(53 / 51 - 1)
    # The trailing return after the gap is since the last close.
    assert gap["return_1d"][2] == np.float32(53 / 51 - 1)


def test_labels_across_an_extreme_move_are_unknown(bars: Bars, built: Built) -> None:
    closes: dict[str, list[float | None]] = {
        "A": [100.0] * 12,
        "B": [100.0] * 6 + [170.0] * 6,
    }
    rows = built(bars(closes), min_days=1, window=1, horizons=(1, 3))
    jump = rows.filter(pl.col("code") == "B").sort("date")
    assert jump["target_1"].is_nan().to_list() == [place in (5, 11) for place in range(12)]
    unknown = {3, 4, 5, 9, 10, 11}
    assert jump["target_3"].is_nan().to_list() == [place in unknown for place in range(12)]
    assert math.isnan(jump["return_1d"][6])
