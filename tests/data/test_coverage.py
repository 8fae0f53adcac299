"""Coverage by day says what the table behind a dataset says."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from gogooku3.data.build import build
from gogooku3.data.coverage import coverage
from gogooku3.data.synth import synthesise


def test_counts_are_those_of_the_table(tmp_path: Path) -> None:
    table = synthesise(stocks=20, days=160, seed=4).table
    last = table["date"].max()
    gone = table["code"].unique().sort()[0]
    table = table.filter(~((pl.col("code") == gone) & (pl.col("date") == last)))
    path = tmp_path / "some.arrow"
    header = build(table, name="some", out=path, horizons=(1, 5))

    found = coverage(path)

    counts = table.group_by("date").len().sort("date")
    assert found.days == [day.isoformat() for day in counts["date"]]
    assert found.stocks == counts["len"].to_list()
    assert sum(found.members) == header.universe["members"]
    assert all(m <= s for m, s in zip(found.members, found.stocks, strict=True))
    # The last h days have no forward return over h days yet.
    assert [found.known["5"][-5:], found.known["1"][-1]] == [[0] * 5, 0]
    assert found.known["5"][-6] > 0
    assert found.known["1"][-2] == found.members[-2] - 1, "of one stock tomorrow is missing"
