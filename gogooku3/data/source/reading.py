"""Reading a source: checked, and laid out as a dense market.

Shapes: T market days, N stocks, R rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gogooku3.config.source import SourceSpec
from gogooku3.data.report import Finding
from gogooku3.data.source.assignment import NUMBERS, PRICES, Assignment, assign
from gogooku3.data.source.bars import Bars, Float, ReadyColumn
from gogooku3.data.source.checks import EXAMPLES, Findings, sentence
from gogooku3.data.source.market_checks import check_market
from gogooku3.data.source.table import Table, Tabular, open_table
from gogooku3.data.source.values import codes, days, numbers, shown_as, words
from gogooku3.errors import SourceDataError

Bool = NDArray[np.bool_]


def read_bars(table: Tabular, spec: SourceSpec | None = None) -> Bars:
    """Read and check daily bars.

    Args:
        table: a frame, a Parquet, CSV or Arrow file, a folder of such files, or several files.
        spec: which column is what; None = the usual names (date, code, open, high, low, close,
            volume, sector33, sector17, sector; only date, code and close must be there).

    An open, high or low of 0 or null is unknown; a row with neither close nor volume is a day
    without trade and counts as absent.

    Raises SourceDataError naming everything that stops the table from being used, with examples.
    """
    bars, report = examine(table, spec)
    errors = [finding for finding in report if finding.severity == "error"]
    if errors or bars is None:
        raise SourceDataError("\n".join(map(sentence, errors)))
    return bars


def examine(
    table: Tabular, spec: SourceSpec | None = None
) -> tuple[Bars | None, tuple[Finding, ...]]:
    """What the checks find in a source, and its bars when there is no error.

    Raises SourceDataError when the checks cannot even begin: no such file, no such column.
    """
    opened = open_table(table)
    wanted = assign(spec or SourceSpec(), opened)
    findings = Findings()
    used = [*wanted.columns.values(), *(ready.column for ready in wanted.features)]
    used += wanted.targets.values()
    empty = opened.empty_columns(list(dict.fromkeys(used)))
    findings.add("null_column", len(empty), len(used), empty)
    rows = _Rows(opened, wanted, findings)
    report = findings.report()
    if any(finding.severity == "error" for finding in report):
        return None, report
    bars = rows.bars()
    check_market(bars, findings)
    report = findings.report()
    return replace(bars, report=report), report


class _Rows:
    """The rows of a table under check, and where each lies in the market."""

    def __init__(self, table: Table, wanted: Assignment, findings: Findings) -> None:
        self._table, self._wanted, self._findings = table, wanted, findings
        self._day = days(table.column(wanted.columns["date"]))
        self._code = codes(table.column(wanted.columns["code"]))
        self._count = len(self._day)
        self._refuse("unreadable_date", self._day.is_null().to_numpy(), "date")
        self._refuse("empty_code", self._code.is_null().to_numpy(), "")
        self._values = {name: self._numbers(name) for name in NUMBERS if name in wanted.columns}
        self._quality = {"rows_without_trade": 0, "high_below_low": 0}
        self._kept = self._check_values()
        if not self._kept.any():
            findings.add("no_rows", 1, self._count)
        self._place()

    def _numbers(self, name: str) -> Float:
        column = self._table.column(self._wanted.columns[name])
        if column.dtype == pl.Boolean:
            raise SourceDataError(f"column {column.name} must hold numbers, not {column.dtype}")
        values, bad = numbers(column)
        self._refuse("not_a_number", bad, name)
        return values

    def _check_values(self) -> Bool:
        """Report what is wrong with prices and volume; true = the row is a day with trade."""
        values = self._values
        kept = np.ones(self._count, dtype=np.bool_)
        for name, value in values.items():
            self._refuse("infinite", np.isinf(value), name)
            if name != "close":
                self._refuse("negative", value < 0, name)
        if "close" in values:
            close = values["close"]
            idle = np.isnan(close)
            if "volume" in values:
                traded = ~np.isnan(values["volume"]) & (values["volume"] != 0)
                self._refuse("unknown_close", idle & traded, "")
            self._refuse("not_positive_close", close <= 0, "close")
            self._refuse("no_trade", idle, "")
            self._quality["rows_without_trade"] = int(idle.sum())
            kept = ~idle
        for name in PRICES[:3]:
            if name in values:
                zero = values[name] == 0
                self._refuse("zero_price", zero, name)
                values[name] = np.where(zero, np.nan, values[name])
        if "high" in values and "low" in values:
            inverted = values["high"] < values["low"]
            self._refuse("high_below_low", inverted, "high")
            self._quality["high_below_low"] = int(inverted.sum())
            for name in ("high", "low"):
                values[name] = np.where(inverted, np.nan, values[name])
        return kept

    def _place(self) -> None:
        """Find each row's day and stock; rows that cannot be placed are out."""
        known = (self._day.is_not_null() & self._code.is_not_null()).to_numpy() & self._kept
        self._row = np.flatnonzero(known)
        day, code = self._day.filter(known), self._code.filter(known)
        self._calendar, self._codes = day.unique().sort(), code.unique().sort()
        day_R = self._calendar.search_sorted(day).to_numpy().astype(np.int64)
        stock_R = code.cast(pl.Enum(self._codes)).to_physical().to_numpy().astype(np.int64)
        self._cell = day_R * len(self._codes) + stock_R
        times = np.bincount(self._cell, minlength=len(self._calendar) * len(self._codes))
        doubled = np.zeros(self._count, dtype=np.bool_)
        doubled[self._row] = times[self._cell] > 1
        self._refuse("duplicate", doubled, "")
        by_stock = stock_R * len(self._calendar) + day_R
        falls = [np.diff(place) < 0 for place in (self._cell, by_stock)]
        fewest = min(falls, key=lambda fall: int(fall.sum()))
        self._refuse("unsorted", self._at_rows(np.r_[False, fewest] if len(known) else fewest), "")

    def _at_rows(self, bad_placed: Bool) -> Bool:
        bad = np.zeros(self._count, dtype=np.bool_)
        bad[self._row[bad_placed[: len(self._row)]]] = True
        return bad

    def _refuse(self, check: str, bad: Bool, column: str) -> None:
        """Report the rows that are bad."""
        places = np.flatnonzero(bad)
        shown = []
        for place in places[:EXAMPLES].tolist():
            given = []
            if column:
                raw = shown_as(self._table.column(self._wanted.columns[column]).slice(place, 1))
                given = [self._wanted.columns[column], raw]
            shown.append(" ".join([str(self._day[place]), str(self._code[place]), *given]))
        self._findings.add(check, len(places), self._count, shown)

    def bars(self) -> Bars:
        """The market. Only after no error was found."""
        unknown_TN = np.full((len(self._calendar), len(self._codes)), np.nan)

        def number(name: str) -> Float:
            return self._dense(self._values[name]) if name in self._values else unknown_TN

        fine = self._sectors(("sector33", "sector", "sector17"))
        coarse = self._sectors(("sector17", "sector", "sector33"))
        rows_TN = None
        if "close" not in self._values:
            rows_TN = ~np.isnan(self._dense(np.zeros(self._count)))
        return Bars(
            calendar=tuple(self._calendar.to_list()),
            codes=tuple(self._codes.to_list()),
            open_TN=number("open"),
            high_TN=number("high"),
            low_TN=number("low"),
            close_TN=number("close"),
            volume_TN=number("volume"),
            sectors=fine[0],
            sector_N=fine[1],
            sectors_coarse=coarse[0],
            sector_coarse_N=coarse[1],
            source=self._table.about,
            quality=self._quality,
            rows_TN=rows_TN,
            ready_features=tuple(
                ReadyColumn(
                    ready.name,
                    ready.role,
                    ready.formula,
                    ready.lookback_days,
                    ready.normalise,
                    partial(self._ready, ready.column),
                )
                for ready in self._wanted.features
            ),
            ready_targets={
                horizon: ReadyColumn(
                    column,
                    "stock",
                    f"column {column} of the source",
                    1,
                    False,
                    partial(self._ready, column),
                )
                for horizon, column in self._wanted.targets.items()
            },
        )

    def _ready(self, column: str) -> Float:
        """A ready-made column as values_TN; infinite = unknown.

        Raises SourceDataError for a value that is not a number.
        """
        values, bad = numbers(self._table.column(column))
        if bad.any():
            given = self._table.column(column).filter(pl.Series(bad)).head(EXAMPLES).to_list()
            raise SourceDataError(
                f"column {column} holds text that is not a number: {', '.join(map(repr, given))}"
            )
        return self._dense(np.where(np.isinf(values), np.nan, values))

    def _dense(self, values: Float) -> Float:
        values_TN = np.full(len(self._calendar) * len(self._codes), np.nan)
        values_TN[self._cell] = values[self._row]
        return values_TN.reshape(len(self._calendar), len(self._codes))

    def _sectors(self, preferred: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
        """The sectors there are, and the position of each stock's first one; -1 = unknown."""
        sector_N = np.full(len(self._codes), -1, dtype=np.int32)
        name = next((name for name in preferred if name in self._wanted.columns), None)
        if name is None:
            return (), sector_N
        word = words(self._table.column(self._wanted.columns[name])).gather(self._row)
        first = (
            pl.DataFrame({"cell": self._cell, "word": word})
            .drop_nulls()
            .with_columns(stock=pl.col("cell") % len(self._codes))
            .group_by("stock")
            .agg(pl.col("word").sort_by("cell").first(), pl.col("word").n_unique().alias("seen"))
        )
        kinds = first["word"].unique().sort()
        sector_N[first["stock"].to_numpy()] = kinds.search_sorted(first["word"]).to_numpy()
        if preferred[0] == "sector33":  # the finer level, once
            self._findings.add("sector_change", int((first["seen"] > 1).sum()), len(self._codes))
            unknown = np.flatnonzero(sector_N < 0)
            shown = [self._codes[stock] for stock in unknown[:EXAMPLES].tolist()]
            self._findings.add("unknown_sector", len(unknown), len(self._codes), shown)
        return tuple(kinds.to_list()), sector_N
