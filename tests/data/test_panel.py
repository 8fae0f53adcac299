"""The panel: the file's own bytes, indexed by day and stock."""

from __future__ import annotations

import hashlib
import warnings

import numpy as np
import polars as pl
import pytest
import torch

from gogooku3.data.header import DatasetHeader
from gogooku3.data.panel import Panel
from gogooku3.data.synth import SyntheticMarket
from gogooku3.errors import DatasetMismatchError


def test_columns_are_what_arrow_reads(panel: Panel, header: DatasetHeader) -> None:
    frame = pl.read_ipc(header.path)
    features_RF = frame["features"].to_numpy()
    assert np.array_equal(panel.features_RF.numpy(), features_RF, equal_nan=True)
    targets_RK = torch.from_numpy(frame["targets"].to_numpy().copy())
    assert torch.equal(panel.targets_RK.nan_to_num(99.0), targets_RK.nan_to_num(99.0))
    for row in range(0, header.rows, 97):
        date, code = frame["date"][row], frame["code"][row]
        day, stock = panel.calendar.index(date), panel.codes.index(code)
        assert panel.row_of_TN[day, stock] == row
        assert panel.universe_TN[day, stock] == frame["universe"][row]
        assert panel.liquidity_R[row] == pytest.approx(frame["liquidity"][row])
    assert int((panel.row_of_TN >= 0).sum()) == header.rows
    assert (panel.row_of_TN[panel.universe_TN] >= 0).all()


def test_sectors_are_those_of_the_source(panel: Panel, market: SyntheticMarket) -> None:
    given = dict(market.table.select("code", "sector33").unique().rows())
    by_id: dict[int, set[str]] = {}
    for stock, code in enumerate(panel.codes):
        by_id.setdefault(int(panel.sector_N[stock]), set()).add(given[code])
    assert all(len(words) == 1 for words in by_id.values())
    assert len(by_id) == len({given[code] for code in panel.codes})
    assert 0 not in by_id
    assert max(by_id) < panel.sectors
    assert int(panel.sector_coarse_N.max()) < int(panel.sector_N.max())


def test_opening_copies_nothing_warns_nothing_and_writes_nothing(header: DatasetHeader) -> None:
    before = hashlib.sha256(header.path.read_bytes()).hexdigest()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = Panel.open(header.path), Panel.open(header.path)
    assert f"{header.path}" in open_maps(first.features_RF.data_ptr())
    first.features_RF[0] = 77.0
    assert not torch.equal(first.features_RF[0], second.features_RF[0])
    assert hashlib.sha256(header.path.read_bytes()).hexdigest() == before


def open_maps(address: int) -> str:
    """The line of this process's memory map that holds an address."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if start <= address < end:
                return line
    raise AssertionError(f"{address:x} is not mapped")


def test_the_panel_outlives_its_file(header: DatasetHeader) -> None:
    copy = header.path.with_name("copy.arrow")
    copy.write_bytes(header.path.read_bytes())
    panel = Panel.open(copy)
    copy.unlink()
    assert panel.features_RF.nan_to_num().abs().sum() > 0


def test_columns_are_found_by_name(panel: Panel) -> None:
    names = panel.header.feature_names
    assert panel.columns_of(None) == list(range(len(names)))
    assert panel.columns_of([names[7], names[2]]) == [7, 2]
    with pytest.raises(DatasetMismatchError, match="did you mean 'volatility_20'"):
        panel.columns_of(["volatilty_20"])
    assert panel.horizons_of((5, 20)) == [1, 3]
    with pytest.raises(DatasetMismatchError, match="no 3-day returns; it has: 1, 5, 10, 20"):
        panel.horizons_of((1, 3))


def test_rows_until_a_day_start_before_the_calendar_as_absent(panel: Panel) -> None:
    stocks = torch.tensor([3, 0])
    row_NT = panel.rows_until(4, 10, stocks)
    assert row_NT.shape == (2, 10)
    assert (row_NT[:, :5] == -1).all()
    assert torch.equal(row_NT[:, 5:], panel.row_of_TN[0:5, stocks].T)
