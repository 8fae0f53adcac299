"""Days as they were traded into one table of bars, adjusted for splits, with sectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from gogooku3.errors import SourceDataError

NO_INDUSTRY = "9999"
"""S33 of what is no company's common stock: funds, trusts and the like."""
PRICES = {"O": "open", "H": "high", "L": "low", "C": "close"}


def make_bars(days: Sequence[Path], listings: Sequence[Path], *, stocks_only: bool) -> pl.DataFrame:
    """The bars of some days, rows sorted by (date, code), columns named as a source's usual ones.

    A stock's sectors on a day are those of the last listing before it, or of its first one.

    Raises SourceDataError when a file is damaged.
    """
    try:
        bars = pl.concat([pl.read_parquet(path) for path in days])
        listed = pl.concat([pl.read_parquet(path) for path in listings]) if listings else None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceDataError(
            f"a fetched file is damaged ({error}); remove it, and it is fetched again"
        ) from error
    bars = with_sectors(adjusted(bars), listed)
    if stocks_only:
        bars = bars.filter(pl.col("sector33").ne_missing(NO_INDUSTRY))
    return bars.sort("date", "code")


def adjusted(bars: pl.DataFrame) -> pl.DataFrame:
    """Prices times the product of all later adjustment factors, volume divided by it, so that a
    split is no move: a factor applies to the days before the one that carries it."""
    later = (
        pl.col("AdjFactor")
        .fill_null(1.0)
        .shift(-1)
        .fill_null(1.0)
        .cum_prod(reverse=True)
        .over("Code", order_by="Date")
    )
    return bars.select(
        pl.col("Date").alias("date"),
        pl.col("Code").alias("code"),
        *((pl.col(name) * later).alias(known) for name, known in PRICES.items()),
        (pl.col("Vo") / later).alias("volume"),
    )


def with_sectors(bars: pl.DataFrame, listed: pl.DataFrame | None) -> pl.DataFrame:
    """The bars with `sector33`, `sector17` and `market`; null where a stock was in no listing."""
    names = {"S33": "sector33", "S17": "sector17", "Mkt": "market"}
    if listed is None:
        return bars.with_columns(pl.lit(None, pl.String).alias(name) for name in names.values())
    listed = listed.rename({"Date": "date", "Code": "code", **names}).sort("date")
    first = listed.group_by("code", maintain_order=True).first().drop("date")
    bars = bars.sort("date").join_asof(
        listed, on="date", by="code", strategy="backward", check_sortedness=False
    )
    bars = bars.join(first, on="code", how="left", suffix="_first", maintain_order="left")
    return bars.with_columns(
        pl.coalesce(name, f"{name}_first").alias(name) for name in names.values()
    ).drop(f"{name}_first" for name in names.values())
