"""Panels of a small market, and of variants of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from gogooku3.config import DataConfig, DateSplit
from gogooku3.data.batches import BatchMaker
from gogooku3.data.build import build
from gogooku3.data.panel import Panel
from gogooku3.data.synth import SyntheticMarket, synthesise


@pytest.fixture(scope="session")
def market() -> SyntheticMarket:
    return synthesise(stocks=60, days=200, seed=4)


@pytest.fixture(scope="session")
def make_panel(tmp_path_factory: pytest.TempPathFactory) -> Callable[[pl.DataFrame], Panel]:
    """The panel of a table; the universe is the 40 most traded stocks."""
    folder: Path = tmp_path_factory.mktemp("graphs")

    def panel_of(table: pl.DataFrame) -> Panel:
        out = folder / f"{len(list(folder.iterdir()))}.arrow"
        return Panel.open(build(table, name="g", out=out, top=40).path)

    return panel_of


@pytest.fixture(scope="session")
def panel(market: SyntheticMarket, make_panel: Callable[[pl.DataFrame], Panel]) -> Panel:
    return make_panel(market.table)


@pytest.fixture
def maker(panel: Panel) -> BatchMaker:
    split = DateSplit(train_end=panel.calendar[130], valid_end=panel.calendar[170])
    return BatchMaker(panel, DataConfig(lookback=10, horizons=(1, 5), split=split))
