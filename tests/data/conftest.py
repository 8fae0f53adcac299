"""A small market that has everything: listings, gaps, a changing universe, sectors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from gogooku3.config import DataConfig, DateSplit
from gogooku3.data.build import build
from gogooku3.data.header import DatasetHeader
from gogooku3.data.panel import Panel
from gogooku3.data.synth import SyntheticMarket, synthesise

TOP = 30


@pytest.fixture(scope="session")
def market() -> SyntheticMarket:
    return synthesise(stocks=50, days=220, seed=3)


@pytest.fixture(scope="session")
def header(market: SyntheticMarket, tmp_path_factory: pytest.TempPathFactory) -> DatasetHeader:
    """The market's dataset; the universe is the 30 most traded of 50 stocks."""
    out = tmp_path_factory.mktemp("caches") / "small.arrow"
    return build(market.table, name="small", out=out, top=TOP, planted=market.planted)


@pytest.fixture(scope="session")
def panel(header: DatasetHeader) -> Panel:
    return Panel.open(header.path)


@pytest.fixture(scope="session")
def loose_panel(market: SyntheticMarket, tmp_path_factory: pytest.TempPathFactory) -> Panel:
    """Every stock that trades regularly is in the universe: its size changes from day to day."""
    out = tmp_path_factory.mktemp("caches") / "loose.arrow"
    return Panel.open(build(market.table, name="loose", out=out).path)


@pytest.fixture
def built(tmp_path: Path) -> Callable[..., pl.DataFrame]:
    """Builds a table and returns the cache's rows, features spread into columns."""

    def rows_of(table: pl.DataFrame, **options: Any) -> pl.DataFrame:
        found = build(table, name="t", out=tmp_path / "t.arrow", **{"top": TOP, **options})
        with pa.ipc.open_file(pa.OSFile(str(found.path))) as reader:
            frame = pl.from_arrow(reader.read_all())
        assert isinstance(frame, pl.DataFrame)
        names = list(found.feature_names)
        targets = [f"target_{h}" for h in found.horizons]
        return frame.with_columns(
            pl.col("date"),
            pl.col("code", "sector", "sector_coarse").cast(pl.String),
            *_spread(frame["features"], names),
            *_spread(frame["targets"], targets),
        ).drop("features", "targets")

    return rows_of


def _spread(lists: pl.Series, names: list[str]) -> list[pl.Series]:
    matrix = lists.to_numpy()
    return [pl.Series(name, matrix[:, place]) for place, name in enumerate(names)]


@pytest.fixture
def bars() -> Callable[..., pl.DataFrame]:
    """Makes a plain table: closes per code on consecutive days from 2020-01-01."""

    def table(closes: dict[str, list[float | None]], volume: float = 1000.0) -> pl.DataFrame:
        rows = []
        for code, series in closes.items():
            for place, close in enumerate(series):
                if close is not None:
                    day = date.fromordinal(date(2020, 1, 1).toordinal() + place)
                    rows.append((day, code, close, close, close, close, volume))
        columns = ["date", "code", "open", "high", "low", "close", "volume"]
        return pl.DataFrame(rows, schema=columns, orient="row")

    return table


@pytest.fixture
def data_config(header: DatasetHeader) -> Callable[..., DataConfig]:
    """A data configuration that fits the small market."""

    def config(**given: Any) -> DataConfig:
        split = DateSplit(
            train_end=header.calendar[140], valid_end=header.calendar[190], embargo_days=2
        )
        return DataConfig(**{"lookback": 20, "split": split, **given})

    return config


@pytest.fixture
def rank_ic() -> Callable[[Any, Any], float]:
    """Spearman correlation without ties."""

    def spearman(a_N: Any, b_N: Any) -> float:
        ranks = [np.argsort(np.argsort(x_N)).astype(float) for x_N in (a_N, b_N)]
        return float(np.corrcoef(ranks[0], ranks[1])[0, 1])

    return spearman
