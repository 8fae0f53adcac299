"""The input table: daily bars in any of Polars' shapes, checked and laid out as a dense market.

Shapes: T market days, N stocks, R rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gogooku3.data.source.bars import Bars, Float
from gogooku3.errors import SourceDataError

PRICES = ("open", "high", "low", "close")
REQUIRED = ("date", "code", *PRICES, "volume")
SECTORS = ("sector33", "sector17", "sector")
EXAMPLES = 3


def read_bars(table: pl.DataFrame | pl.LazyFrame | Path) -> Bars:
    """Read and check daily bars.

    Needs columns date (Date, Datetime or ISO text), code, open, high, low, close, volume; sector33
    and sector17, or sector, are optional; others are ignored. An open, high or low of 0 or null is
    unknown; a row with neither close nor volume is a day without trade and counts as absent.

    Raises SourceDataError naming the column and the first rows of whatever cannot be used.
    """
    frame, source = _open(table)
    missing = [name for name in REQUIRED if name not in frame.collect_schema().names()]
    if missing:
        names = ", ".join(frame.collect_schema().names())
        raise SourceDataError(f"the table lacks column {', '.join(missing)}; it has: {names}")
    sectors = [name for name in SECTORS if name in frame.collect_schema().names()]
    rows = frame.select(*REQUIRED, *sectors).collect()
    rows = _typed(rows, sectors)
    rows, quality = _checked(rows)
    return _dense(rows, sectors, source, quality)


def _open(table: pl.DataFrame | pl.LazyFrame | Path) -> tuple[pl.LazyFrame, dict[str, Any]]:
    if isinstance(table, pl.LazyFrame):
        return table, {"file": None, "size": None, "sha256": None}
    if isinstance(table, pl.DataFrame):
        return table.lazy(), {"file": None, "size": None, "sha256": None}
    if not table.is_file():
        raise SourceDataError(f"there is no file {table}")
    readers: dict[str, Callable[[Path], pl.LazyFrame]] = {
        ".parquet": pl.scan_parquet,
        ".csv": pl.scan_csv,
        ".arrow": pl.scan_ipc,
    }
    reader = readers.get(table.suffix.lower())
    if reader is None:
        known = ", ".join(readers)
        raise SourceDataError(f"cannot read {table.name}: known file types are {known}")
    try:
        frame = reader(table)
        frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceDataError(f"cannot read {table.name}: {error}") from error
    with table.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return frame, {"file": table.name, "size": table.stat().st_size, "sha256": sha256}


def _typed(rows: pl.DataFrame, sectors: list[str]) -> pl.DataFrame:
    """The table with dates as Date, codes and sectors as text, numbers as float64."""
    given = rows["date"]
    if given.dtype == pl.String:
        days = given.str.strip_chars().str.to_date("%Y-%m-%d", strict=False)
    elif given.dtype == pl.Date or isinstance(given.dtype, pl.Datetime):
        days = given.cast(pl.Date)
    else:
        raise SourceDataError(f"column date must hold dates or ISO text, not {given.dtype}")
    _refuse(rows, days.is_null(), "date", "is not a date like 2020-01-31")
    typed = [days.alias("date"), rows["code"].cast(pl.String)]
    for name in (*PRICES, "volume"):
        column = rows[name]
        if not (column.dtype.is_numeric() or column.dtype in (pl.String, pl.Null)):
            raise SourceDataError(f"column {name} must hold numbers, not {column.dtype}")
        numbers = column.cast(pl.Float64, strict=False).fill_nan(None)
        if column.dtype == pl.String:
            _refuse(rows, numbers.is_null() & column.is_not_null(), name, "is not a number")
        typed.append(numbers)
    typed += [rows[name].cast(pl.String).replace("", None) for name in sectors]
    return pl.DataFrame(typed)


def _checked(rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    _refuse(rows, rows["code"].fill_null("") == "", "code", "is empty")
    without_trade = rows["close"].is_null() & (rows["volume"].fill_null(0.0) == 0.0)
    rows = rows.filter(~without_trade)
    if rows.is_empty():
        raise SourceDataError("the table has no rows with a closing price")
    _refuse(rows, rows["close"].is_null(), "close", "is unknown although there was volume")
    _refuse(rows, ~(rows["close"] > 0), "close", "must be above 0")
    for name in ("open", "high", "low", "volume"):
        _refuse(rows, rows[name] < 0, name, "must not be negative")
    for name in (*PRICES, "volume"):
        _refuse(rows, rows[name].is_infinite(), name, "is infinite")
    doubled = rows.select("date", "code").is_duplicated()
    _refuse(rows, doubled, "(date, code)", "appears more than once")
    rows = rows.with_columns(
        pl.when(pl.col(name) > 0).then(pl.col(name)).alias(name) for name in PRICES[:3]
    )
    inverted = rows["high"] < rows["low"]
    rows = rows.with_columns(
        pl.when(~inverted.fill_null(False)).then(pl.col(name)).alias(name)
        for name in ("high", "low")
    )
    return rows, {
        "rows_without_trade": int(without_trade.sum()),
        "high_below_low": int(inverted.sum() or 0),
    }


def _refuse(rows: pl.DataFrame, bad: pl.Series, column: str, what: str) -> None:
    """Raise when any row is bad, naming the column and the first such rows."""
    bad = bad.fill_null(False)
    count = int(bad.sum())
    if not count:
        return
    shown = [name for name in ("date", "code", column) if name in rows.columns]
    examples = rows.filter(bad).select(*dict.fromkeys(shown)).head(EXAMPLES).rows()
    listed = "; ".join(" ".join(str(value) for value in row) for row in examples)
    plural = "rows" if count > 1 else "row"
    raise SourceDataError(f"column {column} {what} in {count} {plural}, such as: {listed}")


def _dense(
    rows: pl.DataFrame, sectors: list[str], source: dict[str, Any], quality: dict[str, int]
) -> Bars:
    calendar = rows["date"].unique().sort()
    codes = rows["code"].unique().sort()
    day_R = calendar.search_sorted(rows["date"]).to_numpy()
    stock_R = rows["code"].cast(pl.Enum(codes)).to_physical().to_numpy().astype(np.int64)

    def matrix(name: str) -> Float:
        values_TN = np.full((len(calendar), len(codes)), np.nan)
        values_TN[day_R, stock_R] = rows[name].to_numpy()
        return values_TN

    fine = _first_of(sectors, ("sector33", "sector", "sector17"))
    coarse = _first_of(sectors, ("sector17", "sector", "sector33"))
    sector_words, sector_N = _first_seen(rows, fine, codes)
    coarse_words, coarse_N = _first_seen(rows, coarse, codes)
    return Bars(
        calendar=tuple(calendar.to_list()),
        codes=tuple(codes.to_list()),
        open_TN=matrix("open"),
        high_TN=matrix("high"),
        low_TN=matrix("low"),
        close_TN=matrix("close"),
        volume_TN=matrix("volume"),
        sectors=sector_words,
        sector_N=sector_N,
        sectors_coarse=coarse_words,
        sector_coarse_N=coarse_N,
        source=source,
        quality=quality,
    )


def _first_of(given: list[str], wanted: tuple[str, ...]) -> str | None:
    return next((name for name in wanted if name in given), None)


def _first_seen(
    rows: pl.DataFrame, column: str | None, codes: pl.Series
) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """The distinct words of a column, and the position of each stock's first one; -1 = none."""
    sector_N = np.full(len(codes), -1, dtype=np.int32)
    if column is None:
        return (), sector_N
    first = (
        rows.lazy()
        .filter(pl.col(column).is_not_null())
        .group_by("code")
        .agg(pl.col(column).sort_by("date").first())
        .sort("code")
        .collect()
    )
    words = first[column].unique().sort()
    sector_N[codes.search_sorted(first["code"]).to_numpy()] = words.search_sorted(
        first[column]
    ).to_numpy()
    return tuple(words.to_list()), sector_N
