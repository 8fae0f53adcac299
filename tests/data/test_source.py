"""Input tables: every usable shape is read alike, every unusable one is explained."""

from __future__ import annotations

import math
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gogooku3.data.source import Bars, read_bars
from gogooku3.errors import SourceDataError


def table(**changes: list[Any]) -> pl.DataFrame:
    columns: dict[str, list[Any]] = {
        "date": [date(2020, 1, 6), date(2020, 1, 7), date(2020, 1, 6)],
        "code": ["7203", "7203", "1301"],
        "open": [10.0, 11.0, 20.0],
        "high": [12.0, 12.5, 22.0],
        "low": [9.0, 10.5, 19.0],
        "close": [11.0, 12.0, 21.0],
        "volume": [100.0, 200.0, 300.0],
        "sector33": ["Cars", "Cars", "Fish"],
        "sector17": ["Making", "Making", "Food"],
    }
    return pl.DataFrame({**columns, **changes}, strict=False)


def equal(left: Bars, right: Bars) -> bool:
    return (
        left.calendar == right.calendar
        and left.codes == right.codes
        and left.sectors == right.sectors
        and np.array_equal(left.sector_N, right.sector_N)
        and all(
            np.array_equal(getattr(left, name), getattr(right, name), equal_nan=True)
            for name in ("open_TN", "high_TN", "low_TN", "close_TN", "volume_TN")
        )
    )


def test_bars_lie_at_their_day_and_stock() -> None:
    bars = read_bars(table())
    assert bars.calendar == (date(2020, 1, 6), date(2020, 1, 7))
    assert bars.codes == ("1301", "7203")
    np.testing.assert_array_equal(bars.close_TN, [[21.0, 11.0], [np.nan, 12.0]])
    np.testing.assert_array_equal(bars.present_TN, [[True, True], [False, True]])
    assert [bars.sectors[place] for place in bars.sector_N] == ["Fish", "Cars"]
    assert [bars.sectors_coarse[place] for place in bars.sector_coarse_N] == ["Food", "Making"]


def test_every_shape_of_a_table_is_read_alike(tmp_path: Path) -> None:
    wanted = read_bars(table())
    as_text = table().with_columns(pl.col("date").cast(pl.String))
    as_time = table(date=[datetime(2020, 1, 6), datetime(2020, 1, 7, 15), datetime(2020, 1, 6)])
    as_category = table().with_columns(pl.col("code", "sector33").cast(pl.Categorical))
    as_number = table().with_columns(pl.col("code").cast(pl.Int64))
    numbers_as_text = table().with_columns(pl.col("close", "volume").cast(pl.String))
    for other in (as_text, as_time, as_category, as_number, numbers_as_text, table().reverse()):
        assert equal(read_bars(other), wanted)
    assert equal(read_bars(table().lazy()), wanted)
    table().write_parquet(tmp_path / "t.parquet")
    table().write_csv(tmp_path / "t.csv")
    table().write_ipc(tmp_path / "t.arrow")
    for suffix in ("parquet", "csv", "arrow"):
        assert equal(read_bars(tmp_path / f"t.{suffix}"), wanted)


def test_one_sector_column_serves_both_levels() -> None:
    bars = read_bars(table().drop("sector33", "sector17").with_columns(sector=pl.lit("All")))
    assert bars.sectors == bars.sectors_coarse == ("All",)
    none = read_bars(table().drop("sector33", "sector17"))
    assert none.sectors == ()
    assert none.sector_N.tolist() == [-1, -1]


def test_a_stock_keeps_the_first_sector_it_was_seen_in() -> None:
    moved = table(sector33=["Cars", "Trucks", ""])
    bars = read_bars(moved.reverse())
    assert bars.sector_N.tolist() == [-1, bars.sectors.index("Cars")]


def test_unknown_values_are_unknown_not_zero() -> None:
    bars = read_bars(table(open=[0.0, None, 20.0], high=[12.0, 1.0, 22.0]))
    assert np.isnan(bars.open_TN[:, 1]).all()
    # High below low on the second day: neither can be trusted.
    assert np.isnan(bars.high_TN[1, 1])
    assert np.isnan(bars.low_TN[1, 1])
    assert bars.quality["high_below_low"] == 1


def test_days_without_trade_are_absent() -> None:
    bars = read_bars(table(close=[11.0, None, 21.0], volume=[100.0, 0.0, 300.0]))
    assert bars.calendar == (date(2020, 1, 6),)
    assert bars.quality["rows_without_trade"] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"close": [11.0, -1.0, 21.0]},
            r"close must be above 0 .* 1 row.*2020-01-07 7203",
        ),
        ({"close": [11.0, 0.0, 21.0]}, "close must be above 0"),
        ({"close": [11.0, None, 21.0]}, "close is unknown although there was volume"),
        ({"close": [11.0, float("inf"), 21.0]}, r"infinite.*2020-01-07 7203 close inf"),
        ({"low": [9.0, -0.5, 19.0]}, r"must not be negative.*low -0\.5"),
        ({"volume": [100.0, -5.0, 300.0]}, r"must not be negative.*volume -5"),
        ({"volume": ["100", "many", "300"]}, r"is not a number.*volume many"),
        ({"close": [True, True, True]}, "column close must hold numbers, not Boolean"),
        ({"code": ["7203", "7203", None]}, r"code is empty .* in 1 row"),
        ({"date": ["2020-01-06", "soon", "2020-01-06"]}, r"date is not a date.*soon"),
        ({"date": [20200106, 20200107, 20200106]}, "column date must hold dates or ISO text"),
        (
            {"code": ["7203", "7203", "7203"]},
            r"\(date, code\) appears more than once .* in 2 rows.*2020-01-06 7203",
        ),
        ({"close": [None] * 3, "volume": [None] * 3}, "no rows with a closing price"),
    ],
)
def test_what_cannot_be_used_is_named_with_examples(
    changes: dict[str, list[Any]], message: str
) -> None:
    with pytest.raises(SourceDataError, match=message):
        read_bars(table(**changes))


def test_missing_columns_files_and_formats_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceDataError, match=r"lacks column close; it has: date, code"):
        read_bars(table().drop("close"))
    with pytest.raises(SourceDataError, match="no rows"):
        read_bars(table().clear())
    with pytest.raises(SourceDataError, match="no file"):
        read_bars(tmp_path / "none.parquet")
    (tmp_path / "t.xlsx").write_bytes(b"")
    with pytest.raises(SourceDataError, match=r"t\.xlsx: known file types are \.parquet"):
        read_bars(tmp_path / "t.xlsx")
    (tmp_path / "t.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(SourceDataError, match=r"cannot read t\.parquet"):
        read_bars(tmp_path / "t.parquet")


prices = st.none() | st.floats(-10, 1e6) | st.sampled_from([math.nan, math.inf])
rows = st.fixed_dictionaries(
    {
        "date": st.none() | st.dates(date(2020, 1, 1), date(2020, 1, 9)),
        "code": st.none() | st.sampled_from(["", "A", "B", "株"]),
        **dict.fromkeys(("open", "high", "low", "close", "volume"), prices),
        "sector": st.none() | st.sampled_from(["", "x", "y"]),
    }
)
SCHEMA = {
    "date": pl.Date,
    "code": pl.String,
    **dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Float64),
    "sector": pl.String,
}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(rows, max_size=6))
def test_any_table_is_read_or_refused_in_words(given_rows: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame(given_rows, schema=SCHEMA)
    try:
        bars = read_bars(frame)
    except SourceDataError:
        return
    known = bars.close_TN[bars.present_TN]
    assert (known > 0).all()
    assert np.isfinite(known).all()
    assert len(known) <= len(given_rows)
    for values_TN in (bars.open_TN, bars.high_TN, bars.low_TN):
        assert (values_TN[np.isfinite(values_TN)] > 0).all()
        assert not np.isinf(values_TN).any()
