"""Which days are scored, and what one stretch of scores says beside another."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gogooku3.training.evaluation import spread


@pytest.mark.parametrize("count", [1, 3, 7, 20, 99, 100, 500])
def test_days_are_spread_evenly_up_to_the_last(count: int) -> None:
    days = range(1000, 1100)
    chosen = spread(days, count)
    assert len(chosen) == len(set(chosen)) == min(count, 100)
    assert chosen == sorted(chosen)
    assert chosen[-1] == 1099
    assert set(chosen) <= set(days)
    gaps = {after - before for before, after in pairwise(chosen)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_no_days_are_none() -> None:
    assert spread(range(10), 0) == []
    assert spread([], 5) == []
