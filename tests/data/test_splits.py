"""Calendar splits: no label crosses a boundary, nothing else is thrown away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogooku3.config import DataConfig, DateSplit, PurgedKFoldSplit, WalkForwardSplit
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


def folded(split: WalkForwardSplit | PurgedKFoldSplit, lookback: int = 20, h: int = 5) -> Split:
    return split_days(CALENDAR, DataConfig(lookback=lookback, horizons=(h,), split=split))


def walk(**given: Any) -> WalkForwardSplit:
    return WalkForwardSplit(**{"folds": 3, "valid_days": 40, "embargo_days": 2, **given})


def kfold(**given: Any) -> PurgedKFoldSplit:
    return PurgedKFoldSplit(**{"folds": 4, "embargo_days": 3, **given})


def test_walk_forward_expands_or_rolls() -> None:
    for fold, begin in enumerate((180, 220, 260)):
        split = folded(walk(fold=fold))
        assert split.train_D == tuple(range(19, begin - 7))
        assert split.valid_D == tuple(range(begin, begin + 35))
        assert split.test_D == ()
        rolled = folded(walk(fold=fold, train_days=100))
        assert rolled.train_D == tuple(range(begin - 100, begin - 7))
        assert rolled.valid_D == split.valid_D


def test_walk_forward_tests_right_after_validation() -> None:
    last = folded(walk(fold=2, test_days=30))
    assert last.valid_D == tuple(range(230, 265))
    assert last.test_D == tuple(range(270, 295))
    assert folded(walk(fold=1, test_days=30)).test_D == tuple(range(230, 255))


def test_folds_keep_to_their_span() -> None:
    span = {"start": CALENDAR[50], "end": CALENDAR[249]}
    split = folded(walk(fold=2, **span))
    assert (split.train_D[0], split.valid_D[-1]) == (50, 244)
    blocks = [folded(kfold(fold=fold, **span)).valid_D for fold in range(4)]
    assert [day for block in blocks for day in block] == list(range(50, 245))


def test_kfold_trains_on_both_sides_of_its_block() -> None:
    # 276 days (19 .. 294) in four blocks of 69.
    split = folded(kfold(fold=1))
    assert split.valid_D == tuple(range(88, 157))
    # The label of day 82 ends on 87; validation's last one on 161; three days of embargo.
    assert split.train_D == (*range(19, 83), *range(165, 295))
    assert split.test_D == ()


def labels(days: Sequence[int], longest: int) -> set[int]:
    return {day + step for day in days for step in range(longest + 1)}


def check_apart(split: Split, longest: int, embargo: int) -> None:
    """No day of one part lies in a label of another; later training days keep the embargo."""
    parts = [split.train_D, split.valid_D, split.test_D]
    for one, other in combinations(parts, 2):
        assert not labels(one, longest) & labels(other, longest)
    later = [day for day in split.train_D if day > split.valid_D[0]]
    assert not later or later[0] > split.valid_D[-1] + longest + embargo


@given(
    days=st.integers(30, 300),
    lookback=st.integers(2, 40),
    longest=st.integers(1, 30),
    embargo=st.integers(0, 20),
    folds=st.integers(1, 6),
    valid_days=st.integers(1, 60),
    test_days=st.integers(0, 40),
    train_days=st.none() | st.integers(1, 200),
    first_day=st.integers(0, 80),
)
def test_walk_forward_folds_share_nothing(
    days: int,
    lookback: int,
    longest: int,
    embargo: int,
    folds: int,
    valid_days: int,
    test_days: int,
    train_days: int | None,
    first_day: int,
) -> None:
    found = []
    for fold in range(folds):
        split = WalkForwardSplit(
            folds=folds,
            fold=fold,
            valid_days=valid_days,
            test_days=test_days,
            train_days=train_days,
            embargo_days=embargo,
        )
        data = DataConfig(lookback=lookback, horizons=(longest,), split=split)
        begin = days - test_days - valid_days * (folds - fold)
        earliest = max(lookback - 1, first_day, begin - (train_days or begin))
        try:
            result = split_days(CALENDAR[:days], data, first_day=first_day)
        except SplitError:
            assert (
                begin < (train_days or 1)
                or earliest >= begin - longest - embargo
                or max(begin, lookback - 1, first_day) >= begin + valid_days - longest
            )
            continue
        check_apart(result, longest, embargo)
        assert result.train_D == tuple(range(earliest, begin - longest - embargo))
        assert result.valid_D == tuple(range(begin, begin + valid_days - longest))
        found.append(result)
    for one, other in combinations(found, 2):
        assert not labels(one.valid_D, longest) & labels(other.valid_D, longest)


@given(
    days=st.integers(10, 300),
    lookback=st.integers(2, 40),
    longest=st.integers(1, 30),
    embargo=st.integers(0, 20),
    folds=st.integers(2, 8),
    first_day=st.integers(0, 80),
)
def test_kfold_blocks_cover_the_span_and_share_nothing(
    days: int, lookback: int, longest: int, embargo: int, folds: int, first_day: int
) -> None:
    usable = range(max(lookback - 1, first_day), days - longest)
    covered: list[int] = []
    for fold in range(folds):
        split = PurgedKFoldSplit(folds=folds, fold=fold, embargo_days=embargo)
        data = DataConfig(lookback=lookback, horizons=(longest,), split=split)
        try:
            result = split_days(CALENDAR[:days], data, first_day=first_day)
        except SplitError:
            # Blocks are as long as they can be: what purge and embargo leave may be nothing.
            widest = -(-len(usable) // folds)
            assert len(usable) - widest <= 2 * longest + embargo or len(usable) < folds
            return
        check_apart(result, longest, embargo)
        assert abs(len(result.valid_D) - len(usable) / folds) < 1
        dropped = set(usable) - set(result.train_D) - set(result.valid_D)
        assert len(dropped) <= 2 * longest + embargo
        covered += result.valid_D
    assert covered == list(usable)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (walk(folds=8), "fold 0 has too few days for training.*300 trading days.*leave 0"),
        (walk(train_days=200), "too few days for train_days 200.*leave 180"),
        (walk(valid_days=5), "valid part has no days.*purge of 5"),
        (walk(start=CALENDAR[173]), "train part has no days.*purge of 5 days and an embargo of 2"),
        (walk(start=date(2030, 1, 1)), "too few days.*the span has 0"),
        (kfold(folds=300), "300 folds need as many days"),
        (kfold(embargo_days=252), "train part has no days.*embargo of 252"),
        (kfold(end=date(2010, 1, 1)), "4 folds need as many days.*of its 0 trading days"),
    ],
)
def test_a_span_too_short_for_its_folds_is_an_error_that_says_why(
    split: WalkForwardSplit | PurgedKFoldSplit, words: str
) -> None:
    with pytest.raises(SplitError, match=words):
        folded(split)


def test_folds_of_an_empty_calendar_are_an_error() -> None:
    for split in (walk(), kfold()):
        with pytest.raises(SplitError, match=r"span has 0|is empty"):
            split_days([], DataConfig(split=split))
