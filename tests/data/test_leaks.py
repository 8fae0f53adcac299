"""Nothing known at t may change when the future does: rows after t cut off, or made up anew."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import polars as pl
import pytest

import gogooku3.data.candidates as candidates_module
from gogooku3.data.features import FeatureSpec
from gogooku3.data.synth import SyntheticMarket

Built = Callable[..., pl.DataFrame]
CUTS = (59, 75, 110, 170)


def known(rows: pl.DataFrame, until: date) -> pl.DataFrame:
    """What a cache says of the days up to `until`, targets aside."""
    return rows.filter(pl.col("date") <= until).select(pl.exclude("^target_.*$"))


def shared(left: pl.DataFrame, right: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of both that both have: stocks that were never in the universe are left out of a
    cache, so a table that ends earlier has fewer of them."""
    keys = ["date", "code"]
    return (
        left.join(right, on=keys, how="semi").sort(keys),
        right.join(left, on=keys, how="semi").sort(keys),
    )


def future_made_up(table: pl.DataFrame, after: date, seed: int) -> pl.DataFrame:
    """The table with everything after a day changed: prices, volumes, sectors, who is listed."""
    rng = np.random.default_rng(seed)
    past = table.filter(pl.col("date") <= after)
    future = table.filter((pl.col("date") > after) & pl.lit(rng.random(len(table)) < 0.8))
    noise = pl.Series(np.exp(rng.normal(0.0, 0.5, len(future))))
    future = future.with_columns(
        *(pl.col(name) * noise for name in ("open", "high", "low", "close")),
        volume=pl.col("volume") * pl.Series(rng.uniform(0.1, 10.0, len(future))),
        sector33=pl.lit("industry of the future"),
    )
    strangers = future.with_columns(code=pl.lit("A") + pl.col("code"))
    return pl.concat([past, future, strangers])


@pytest.mark.parametrize("normalisation", ["rank", "rank_gauss", "zscore"])
def test_a_table_cut_after_t_gives_the_same_bits_up_to_t(
    market: SyntheticMarket, built: Built, normalisation: str
) -> None:
    calendar = market.table["date"].unique().sort()
    whole = built(market.table, normalisation=normalisation)
    for cut in CUTS:
        until = calendar[cut]
        alone = built(market.table.filter(pl.col("date") <= until), normalisation=normalisation)
        here, there = shared(known(alone, until), known(whole, until))
        assert len(here) == len(alone) > 0
        assert here.equals(there)
        assert here["universe"].sum() == known(whole, until)["universe"].sum()


@pytest.mark.parametrize("cut", CUTS)
def test_another_future_gives_the_same_bits_up_to_t(
    market: SyntheticMarket, built: Built, cut: int
) -> None:
    until = market.table["date"].unique().sort()[cut]
    whole = built(market.table)
    other = built(future_made_up(market.table, until, seed=cut))
    here, there = shared(known(whole, until), known(other, until))
    members = known(whole, until)["universe"].sum()
    assert members == here["universe"].sum() > 0
    assert here.equals(there)
    # The other way about, to be sure that the comparison sees a difference at all.
    later, changed = shared(
        whole.filter(pl.col("date") > until), other.filter(pl.col("date") > until)
    )
    assert not later.equals(changed)


def test_labels_that_end_before_the_cut_stay_and_others_are_unknown(
    market: SyntheticMarket, built: Built
) -> None:
    calendar = market.table["date"].unique().sort()
    whole = built(market.table)
    alone = built(market.table.filter(pl.col("date") <= calendar[110]))
    for horizon in (1, 5, 10, 20):
        last = calendar[110 - horizon]
        here, there = shared(alone, whole)
        name = f"target_{horizon}"
        assert here.filter(pl.col("date") <= last)[name].equals(
            there.filter(pl.col("date") <= last)[name]
        )
        assert here.filter(pl.col("date") > last)[name].is_nan().all()


def test_the_leak_test_sees_a_leak(
    market: SyntheticMarket, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    leak = FeatureSpec(
        "tomorrow",
        "close[+1] / close - 1",
        1,
        lambda q: np.roll(q.close_TN, -1, 0) / q.close_TN,
        "price",
    )
    monkeypatch.setattr(candidates_module, "FEATURES", (*candidates_module.FEATURES, leak))
    until = market.table["date"].unique().sort()[110]
    here, there = shared(
        known(built(market.table), until),
        known(built(future_made_up(market.table, until, seed=1)), until),
    )
    assert here.drop("tomorrow").equals(there.drop("tomorrow"))
    assert not here["tomorrow"].equals(there["tomorrow"])
