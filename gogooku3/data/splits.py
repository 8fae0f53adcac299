"""Train, validation and test days by calendar date, purged and embargoed. No torch."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from gogooku3.config import DataConfig
from gogooku3.errors import SplitError


@dataclass(frozen=True)
class Split:
    """Days of each part, as increasing positions in the dataset's calendar."""

    train_D: tuple[int, ...]
    valid_D: tuple[int, ...]
    test_D: tuple[int, ...]

    def days(self, part: str) -> tuple[int, ...]:
        """The days of `train`, `valid` or `test`."""
        return {"train": self.train_D, "valid": self.valid_D, "test": self.test_D}[part]


def split_days(calendar: Sequence[date], data: DataConfig, *, first_day: int = 0) -> Split:
    """Cut a calendar into parts that share no label.

    Day t is in a part iff its look-back is complete (t >= lookback - 1), t >= `first_day`, and its
    longest label ends inside the part: t + max(horizons) <= the part's last day (purge). Training
    ends `embargo_days` trading days earlier still. The test part may be empty; a training or
    validation part without days raises SplitError, which says why.

    Args:
        calendar: market days, increasing.
        data: look-back, horizons and the split's dates.
        first_day: first day that has a universe (`DatasetHeader.first_day`).
    """
    split, longest = data.split, max(data.horizons)
    start = 0 if split.train_start is None else bisect_left(calendar, split.train_start)
    train_stop = bisect_right(calendar, split.train_end)
    valid_stop = bisect_right(calendar, split.valid_end)
    test_stop = len(calendar)
    if split.test_end is not None:
        test_stop = bisect_right(calendar, split.test_end)
    earliest = max(data.lookback - 1, first_day)

    def part(begin: int, stop: int, embargo: int = 0) -> tuple[int, ...]:
        return tuple(range(max(begin, earliest), stop - longest - embargo))

    result = Split(
        train_D=part(start, train_stop, split.embargo_days),
        valid_D=part(train_stop, valid_stop),
        test_D=part(valid_stop, test_stop),
    )
    for name, days, begin, stop in (
        ("train", result.train_D, start, train_stop),
        ("valid", result.valid_D, train_stop, valid_stop),
    ):
        if not days:
            raise SplitError(_why_empty(name, calendar, data, begin, stop, earliest))
    _check_labels_stay_inside(result, longest, train_stop, valid_stop, test_stop)
    return result


def _why_empty(
    name: str, calendar: Sequence[date], data: DataConfig, begin: int, stop: int, earliest: int
) -> str:
    span = f"{calendar[0]} .. {calendar[-1]}" if calendar else "empty"
    embargo = f" and an embargo of {data.split.embargo_days}" if name == "train" else ""
    return (
        f"the {name} part has no days: of its {max(0, stop - begin)} trading days (the dataset is "
        f"{span}) none is left with look-back and universe complete (from trading day "
        f"{earliest + 1} on) after a purge of {max(data.horizons)} days{embargo}"
    )


def _check_labels_stay_inside(
    split: Split, longest: int, train_stop: int, valid_stop: int, test_stop: int
) -> None:
    """No label may read a price of a later part: proven again from the result itself."""
    for days, stop in (
        (split.train_D, train_stop),
        (split.valid_D, valid_stop),
        (split.test_D, test_stop),
    ):
        if days and days[-1] + longest >= stop:
            raise SplitError("a label crosses the end of its part: this is a defect of the split")
