"""Typed values of a table's columns: days, codes, numbers, words."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gogooku3.data.source.bars import Float
from gogooku3.errors import SourceDataError

EPOCH = date(1970, 1, 1).toordinal()
NO_SECTOR = ("", "-", "nan", "null", "none", "n/a")
"""Words, in small letters, that stand for no sector."""


def days(column: pl.Series) -> pl.Series:
    """A column of dates, times or ISO text as dates; null = unreadable.

    Raises SourceDataError for any other type.
    """
    if column.dtype == pl.Date:
        return _of_years(column)
    if isinstance(column.dtype, pl.Datetime):
        return _of_years(column.dt.date())
    if column.dtype in (pl.String, pl.Categorical, pl.Enum):
        text = column.cast(pl.String).str.strip_chars()
        # A time of day may follow, as in 2020-01-31T00:00:00+09:00.
        day = text.str.extract(r"^(\d{4}-\d{2}-\d{2})(?:[T ]\d{2}:.*)?$")
        return day.str.to_date("%Y-%m-%d", strict=False)
    if column.dtype == pl.Null:
        return column.cast(pl.Date)
    raise SourceDataError(
        f"column {column.name} must hold dates or ISO text like 2020-01-31, not {column.dtype}"
    )


def _of_years(day: pl.Series) -> pl.Series:
    """Dates of the years 1 to 9999, which is as far as Python's go; others are unreadable."""
    number = day.to_physical()
    first, last = (when.toordinal() - EPOCH for when in (date.min, date.max))
    inside = number.is_between(first, last)
    return pl.select(pl.when(inside).then(day).alias(day.name)).to_series()


def shown_as(cell: pl.Series) -> str:
    """A column's one value as people read it."""
    if isinstance(cell.dtype, pl.Date | pl.Datetime) and days(cell).is_null()[0]:
        number = cell.to_physical()[0]
        return "None" if number is None else f"beyond the year {date.max.year} ({number})"
    return str(cell[0])


def codes(column: pl.Series) -> pl.Series:
    """A column of codes as text; null = empty. Raises SourceDataError for what is no code."""
    if not (column.dtype.is_integer() or column.dtype in TEXTS):
        raise SourceDataError(
            f"column {column.name} must hold codes as text or whole numbers, not {column.dtype}"
        )
    return column.cast(pl.String).str.strip_chars().replace("", None)


def numbers(column: pl.Series) -> tuple[Float, NDArray[np.bool_]]:
    """A column as float64, NaN = unknown; and where it holds text that is not a number.

    Raises SourceDataError for a type that cannot hold numbers.
    """
    dtype = column.dtype
    if dtype in TEXTS and dtype != pl.Null:
        text = column.cast(pl.String).str.strip_chars().replace("", None)
        values = text.cast(pl.Float64, strict=False)
        bad = (values.is_null() & text.is_not_null()).to_numpy()
        return _filled(values), bad
    if not (dtype.is_numeric() or dtype in (pl.Null, pl.Boolean)):
        raise SourceDataError(f"column {column.name} must hold numbers, not {dtype}")
    return _filled(column.cast(pl.Float64)), np.zeros(len(column), dtype=np.bool_)


def words(column: pl.Series) -> pl.Series:
    """A column of sectors as text; null = unknown. Raises SourceDataError for other types."""
    if not (column.dtype.is_numeric() or column.dtype in TEXTS):
        raise SourceDataError(f"column {column.name} must hold words, not {column.dtype}")
    text = column.cast(pl.String).str.strip_chars()
    return pl.select(
        pl.when(~text.str.to_lowercase().is_in(NO_SECTOR)).then(text).alias(column.name)
    ).to_series()


TEXTS = (pl.String, pl.Categorical, pl.Enum, pl.Null)


def _filled(values: pl.Series) -> Float:
    return values.fill_null(np.nan).to_numpy().astype(np.float64, copy=False)
