"""Calendar splits: no label crosses a boundary, nothing else is thrown away."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogooku3.config import DataConfig, DateSplit
from gogooku3.data.splits import Split, split_days
from gogooku3.errors import SplitError

CALENDAR = [date(2020, 1, 1) + timedelta(days=day) for day in range(300)]


def config(**given: Any) -> DataConfig:
    split = {"train_end": CALENDAR[179], "valid_end": CALENDAR[239], "embargo_days": 5}
    split.update(given.pop("split", {}))
    return DataConfig(**{"lookback": 20, "horizons": (1, 5), "split": DateSplit(**split), **given})


def test_parts_are_cut_by_date_with_purge_and_embargo() -> None:
    split = split_days(CALENDAR, config())
    # Last training day 169: its label ends on 174, five embargoed days before the 179th.
    assert split.train_D == tuple(range(19, 170))
    assert split.valid_D == tuple(range(180, 235))
    assert split.test_D == tuple(range(240, 295))
    assert split.days("valid") == split.valid_D


def test_each_part_of_the_rule_moves_its_boundary() -> None:
    base = split_days(CALENDAR, config())
    longer = split_days(CALENDAR, config(lookback=30))
    assert longer.train_D[0] == 29
    assert longer.valid_D == base.valid_D
    assert split_days(CALENDAR, config(horizons=(1, 20))).train_D[-1] == 154
    assert split_days(CALENDAR, config(horizons=(1, 20))).valid_D[-1] == 219
    assert split_days(CALENDAR, config(split={"embargo_days": 0})).train_D[-1] == 174
    assert split_days(CALENDAR, config(split={"train_start": CALENDAR[50]})).train_D[0] == 50
    assert split_days(CALENDAR, config(split={"test_end": CALENDAR[269]})).test_D[-1] == 264
    assert split_days(CALENDAR, config(), first_day=53).train_D[0] == 53


def test_a_boundary_on_a_day_without_trade_counts_the_days_before_it() -> None:
    calendar = [day for day in CALENDAR if day.weekday() < 5]
    saturday = next(day for day in CALENDAR[170:] if day.weekday() == 5)
    friday = calendar.index(saturday - timedelta(days=1))
    split = split_days(calendar, config(split={"train_end": saturday, "embargo_days": 0}))
    assert split.train_D[-1] == friday - 5
    assert split.valid_D[0] == friday + 1


@given(
    lookback=st.integers(2, 40),
    longest=st.integers(1, 30),
    embargo=st.integers(0, 30),
    train=st.integers(60, 150),
    valid=st.integers(40, 100),
)
def test_no_label_crosses_a_boundary(
    lookback: int, longest: int, embargo: int, train: int, valid: int
) -> None:
    ends = {"train_end": CALENDAR[train], "valid_end": CALENDAR[train + valid]}
    data = config(lookback=lookback, horizons=(longest,), split={**ends, "embargo_days": embargo})
    try:
        split = split_days(CALENDAR, data)
    except SplitError:
        assert train + 1 - lookback - longest - embargo < 1 or valid - longest < 1
        return
    last = {"train": train - embargo, "valid": train + valid, "test": 299}
    first = {"train": 0, "valid": train + 1, "test": train + valid + 1}
    for part, end in last.items():
        days = split.days(part)
        assert all(max(first[part], lookback - 1) <= day <= end - longest for day in days)
        assert len(days) == max(0, end - longest + 1 - max(first[part], lookback - 1))
    used = [*split.train_D, *split.valid_D, *split.test_D]
    assert len(used) == len(set(used))


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"horizons": (200,)}, "train"),
        ({"horizons": (60,)}, "valid"),
        ({"lookback": 175}, "train"),
        ({"split": {"train_end": date(2030, 1, 1), "valid_end": date(2031, 1, 1)}}, "valid"),
        ({"split": {"train_end": date(2010, 1, 1), "valid_end": date(2011, 1, 1)}}, "train"),
    ],
)
def test_an_empty_part_is_an_error_that_says_which_and_why(
    given: dict[str, Any], part: str
) -> None:
    with pytest.raises(SplitError, match=f"the {part} part has no days.*purge of"):
        split_days(CALENDAR, config(**given))


def test_an_empty_calendar_is_an_error() -> None:
    with pytest.raises(SplitError, match="empty"):
        split_days([], config())


def test_the_test_part_may_be_empty() -> None:
    split = split_days(CALENDAR, config(split={"valid_end": CALENDAR[299]}))
    assert isinstance(split, Split)
    assert split.test_D == ()
