"""The synthetic market: what is planted is there, known, and can be learnt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gogooku3.data.build import build
from gogooku3.data.panel import Panel
from gogooku3.data.synth import PARTS, SyntheticMarket, synthesise

RankIc = Callable[[Any, Any], float]


@pytest.fixture(scope="module")
def default() -> SyntheticMarket:
    return synthesise()


@pytest.fixture(scope="module")
def default_panel(default: SyntheticMarket, tmp_path_factory: pytest.TempPathFactory) -> Panel:
    out = tmp_path_factory.mktemp("synth") / "default.arrow"
    return Panel.open(build(default.table, name="d", out=out, planted=default.planted).path)


def cross_section(panel: Panel, day: int, place: int) -> tuple[Any, Any]:
    """Features and forward return of the day's universe where known."""
    row_N = panel.row_of_TN[day, panel.scored_stocks(day)].long()
    return_N = panel.targets_RK[row_N, place].numpy()
    known_N = np.isfinite(return_N)
    return panel.features_RF[row_N].numpy().astype(float)[known_N], return_N[known_N]


def ridge_rank_ic(panel: Panel, place: int, rank_ic: RankIc) -> float:
    """Mean rank IC of a ridge regression on the last 30 % of the days, fitted on the others."""
    longest, days = max(panel.header.horizons), len(panel.calendar)
    cut = int(days * 0.7)
    size = len(panel.header.features)
    square_FF, product_F = np.eye(size), np.zeros(size)
    for day in range(panel.header.first_day, cut - longest):
        x_NF, return_N = cross_section(panel, day, place)
        target_N = np.argsort(np.argsort(return_N)) / len(return_N) - 0.5
        square_FF += x_NF.T @ x_NF
        product_F += x_NF.T @ target_N
    weight_F = np.linalg.solve(square_FF, product_F)
    daily = []
    for day in range(cut, days - longest):
        x_NF, return_N = cross_section(panel, day, place)
        daily.append(rank_ic(x_NF @ weight_F, return_N))
    return float(np.mean(daily))


def test_the_default_signal_is_strong_enough_to_learn(default: SyntheticMarket) -> None:
    assert 0.10 <= default.planted["rank_ic"]["1"] <= 0.16
    assert set(default.planted["rank_ic"]) == {"1", "5", "10", "20"}
    assert all(value > 0.05 for value in default.planted["rank_ic"].values())


def test_the_planted_rank_ic_is_that_of_the_expectation_with_the_prices(
    default: SyntheticMarket, rank_ic: RankIc
) -> None:
    closes_TN = (
        default.table.pivot(on="code", index="date", values="close", sort_columns=True)
        .sort("date")
        .drop("date")
        .to_numpy()
    )
    for place, horizon in enumerate((1, 5, 10, 20)):
        daily = []
        for day in range(500 - horizon):
            forward_N = closes_TN[day + horizon] / closes_TN[day] - 1
            expected_N = default.expected_TNK[day, :, place]
            known_N = np.isfinite(forward_N) & np.isfinite(expected_N)
            daily.append(rank_ic(expected_N[known_N], forward_N[known_N]))
        assert np.mean(daily) == pytest.approx(default.planted["rank_ic"][str(horizon)], abs=1e-4)


@pytest.mark.parametrize(("place", "horizon"), [(0, "1"), (1, "5")])
def test_ridge_on_the_features_finds_more_than_half_of_it(
    default: SyntheticMarket, default_panel: Panel, rank_ic: RankIc, place: int, horizon: str
) -> None:
    found = ridge_rank_ic(default_panel, place, rank_ic)
    assert 0.5 * default.planted["rank_ic"][horizon] < found
    assert found < default.planted["rank_ic"][horizon]


def test_nothing_planted_nothing_found(tmp_path: Path, rank_ic: RankIc) -> None:
    empty = synthesise(signal=0.0, stocks=150, days=400)
    assert empty.planted["rank_ic"] == {"1": None, "5": None, "10": None, "20": None}
    found = build(empty.table, name="e", out=tmp_path / "e.arrow", planted=empty.planted)
    # 120 days of 150 stocks: the standard error of the mean is 0.0075.
    assert abs(ridge_rank_ic(Panel.open(found.path), 0, rank_ic)) < 0.03


def test_the_same_seed_gives_the_same_market() -> None:
    first, again = (synthesise(stocks=30, days=100, seed=5) for _ in range(2))
    assert first.table.equals(again.table)
    assert first.planted == again.planted
    assert not first.table.equals(synthesise(stocks=30, days=100, seed=6).table)


def test_a_stronger_signal_is_a_higher_rank_ic() -> None:
    reached = [
        synthesise(stocks=100, days=200, signal=signal).planted["rank_ic"]["1"]
        for signal in (0.05, 0.15, 0.4)
    ]
    assert reached == sorted(reached)
    assert reached[2] > 3 * reached[0]


def test_bars_are_those_of_a_market(default: SyntheticMarket) -> None:
    table = default.table
    assert table.equals(table.sort("date", "code"))
    assert table.select("date", "code").is_unique().all()
    assert (table["low"] <= table.select(pl.min_horizontal("open", "close")).to_series()).all()
    assert (table["high"] >= table.select(pl.max_horizontal("open", "close")).to_series()).all()
    assert (table["volume"] >= 1).all()
    assert (table["date"].dt.weekday() <= 5).all()
    # Listings, delistings and days without trade are absent rows.
    per_stock = table.group_by("code").agg(pl.len(), pl.col("date").min())
    assert per_stock["len"].min() < 450
    assert per_stock["date"].n_unique() > 5
    assert 0.9 < len(table) / (200 * 500) < 0.995
    assert table["sector17"].n_unique() < table["sector33"].n_unique()


def test_shares_of_the_parts_add_up() -> None:
    assert sum(share for share, _ in PARTS.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("wrong", [{"stocks": 5}, {"days": 10}, {"signal": 1.0}])
def test_a_market_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"market needs|signal"):
        synthesise(**wrong)
