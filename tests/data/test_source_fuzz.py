"""Whatever a table holds, reading it ends in a market that says what the table says, or in an error
that says why not."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gogooku3.config.source import SourceSpec
from gogooku3.data.source import Bars, examine, read_bars
from gogooku3.errors import SourceDataError

FIRST = date(2020, 1, 6)
WEIRD = st.sampled_from(
    [None, float("nan"), float("inf"), -float("inf"), -1.0, 0.0, 1e308, 1e-308, 5e-324]
)
NUMBERS = st.floats(0.01, 1e6) | WEIRD
TEXTS = st.sampled_from(
    ["", " ", "12", "12.5", "1e9", "abc", "NaN", "-", "１２", "2020-01-06", "é" * 90]
)
DAYS = st.integers(0, 9).map(lambda back: FIRST + timedelta(days=back))
DATES = (
    DAYS | st.dates() | st.none() | DAYS.map(lambda day: datetime(day.year, day.month, day.day, 15))
)


def lists(values: st.SearchStrategy[Any], size: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, min_size=size, max_size=size)


@st.composite
def wild_tables(draw: st.DrawFn) -> pl.DataFrame:
    """A table in which anything may be wrong."""
    size = draw(st.integers(0, 12))
    dates = draw(st.sampled_from([DAYS, DAYS, DATES, TEXTS, st.integers(), st.booleans()]))
    codes = draw(st.sampled_from([st.sampled_from("ABC"), st.integers(1, 3), TEXTS, NUMBERS]))
    columns: dict[str, Any] = {
        "date": draw(lists(dates, size)),
        "code": draw(lists(codes, size)),
    }
    for name in ("open", "high", "low", "close", "volume", "sector33", "extra"):
        kind = draw(st.sampled_from([NUMBERS, st.floats(1.0, 2.0), TEXTS, st.booleans(), None]))
        if kind is not None:
            columns[name] = draw(lists(kind, size))
    return frame(columns)


@st.composite
def odd_tables(draw: st.DrawFn) -> pl.DataFrame:
    """A good table in any order, some values of one column made odd."""
    pairs = draw(st.lists(st.tuples(DAYS, st.sampled_from("ABCD")), min_size=1, unique=True))
    size = len(pairs)
    columns: dict[str, Any] = {
        "date": [day for day, _ in pairs],
        "code": [code for _, code in pairs],
        **{name: draw(lists(st.floats(1.0, 9.0), size)) for name in ("close", "high", "low")},
        "volume": draw(lists(st.floats(0.0, 9.0), size)),
        "sector33": draw(lists(st.sampled_from(["x", "y", "-", None]), size)),
        "extra": draw(lists(NUMBERS, size)),
    }
    name = draw(st.sampled_from(["date", "code", "close", "high", "volume", "sector33", "none"]))
    if name in columns:
        odd = TEXTS if name in ("date", "code", "sector33") else WEIRD | TEXTS
        place = draw(st.integers(0, size - 1))
        columns[name] = [*map(str, columns[name])] if draw(st.booleans()) else columns[name]
        columns[name][place] = draw(odd)
    return frame(columns)


def frame(columns: dict[str, Any]) -> pl.DataFrame:
    """The columns with the types their values fit."""
    series = []
    for name, values in columns.items():
        try:
            series.append(pl.Series(name, values, strict=False))
        except (TypeError, ValueError, pl.exceptions.PolarsError):
            series.append(pl.Series(name, list(map(str, values))))
    return pl.DataFrame(series)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=wild_tables() | odd_tables(), is_ready=st.booleans())
def test_a_table_is_read_as_it_is_or_refused(table: pl.DataFrame, is_ready: bool) -> None:
    spec = SourceSpec.model_validate({"features": ["extra"]} if is_ready else {})
    try:
        bars, report = examine(table, spec)
    except SourceDataError:
        return
    assert (bars is None) == any(finding.severity == "error" for finding in report)
    if bars is None:
        with pytest.raises(SourceDataError):
            read_bars(table, spec)
        return
    assert_says_what_the_table_says(bars, table)
    for ready in bars.ready_features:
        with suppress(SourceDataError):  # text that is not a number is only found when read
            assert ready.read().shape == bars.close_TN.shape


def assert_says_what_the_table_says(bars: Bars, table: pl.DataFrame) -> None:
    """Each row with a close has its place, and there is nothing else."""
    close = table["close"].cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    known = close.is_not_null() & close.is_not_nan()
    wanted = {}
    for day, code, value in zip(
        table["date"].filter(known), table["code"].filter(known), close.filter(known), strict=True
    ):
        when = day.date() if isinstance(day, datetime) else day
        when = when if isinstance(when, date) else date.fromisoformat(str(when).strip()[:10])
        wanted[when, str(code).strip()] = value
    found = {
        (bars.calendar[day], bars.codes[stock]): bars.close_TN[day, stock]
        for day, stock in np.argwhere(bars.present_TN)
    }
    assert found == pytest.approx(wanted)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), kind=st.sampled_from(["parquet", "csv", "arrow"]))
def test_a_damaged_file_is_read_or_refused(
    data: st.DataObject, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damaged") / f"bars.{kind}"
    write(path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with suppress(SourceDataError):
        read_bars(path)


def write(path: Path) -> None:
    """A small good table in the format of the path's suffix."""
    size = 40
    table = pl.DataFrame(
        {
            "date": [FIRST + timedelta(days=place // 4) for place in range(size)],
            "code": ["ABCD"[place % 4] for place in range(size)],
            "close": np.linspace(10.0, 12.0, size),
            "volume": np.full(size, 100.0),
        }
    )
    {"parquet": table.write_parquet, "csv": table.write_csv, "arrow": table.write_ipc}[
        path.suffix[1:]
    ](path)
