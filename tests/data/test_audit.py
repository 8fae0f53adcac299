"""Targets that are not what prices say are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gogooku3.config.source import SourceSpec
from gogooku3.data.audit import audit_targets
from gogooku3.data.build import build
from gogooku3.data.header import DatasetHeader
from gogooku3.data.synth import SyntheticMarket


def test_the_targets_of_prices_agree_with_daily_returns(header: DatasetHeader) -> None:
    audits = audit_targets(header)
    assert [audit.horizon for audit in audits] == [1, 5, 10, 20]
    for audit in audits:
        assert (audit.mismatched, audit.invented, audit.example) == (0, 0, None)
        assert audit.compared > 0.7 * header.rows


@pytest.mark.parametrize("days", [-6, -4, 0, 5])
def test_a_target_of_other_days_is_found(
    market: SyntheticMarket, tmp_path: Path, days: int
) -> None:
    """5-day returns that begin or end on another day; 0 = those of the past 5 days."""
    close = pl.col("close")
    ahead = {
        -6: close.shift(-6) / close - 1,
        -4: close.shift(-4) / close - 1,
        0: close / close.shift(5) - 1,
        5: close.shift(-5) / close.shift(1) - 1,
    }[days]
    table = market.table.sort("code", "date").with_columns(ahead=ahead.over("code"))
    spec = SourceSpec.model_validate({"targets": {5: "ahead"}})
    header = build(table, name="leak", out=tmp_path / "leak.arrow", spec=spec)
    (audit,) = audit_targets(header.path)
    assert audit.mismatched > 0.9 * audit.compared > 0
    assert audit.example is not None


def test_a_target_beyond_the_table_is_found(market: SyntheticMarket, tmp_path: Path) -> None:
    table = market.table.with_columns(ahead=pl.lit(np.float64(0.01)))
    spec = SourceSpec.model_validate({"targets": {20: "ahead"}})
    header = build(table, name="made", out=tmp_path / "made.arrow", spec=spec)
    (audit,) = audit_targets(header)
    assert audit.invented > 10
