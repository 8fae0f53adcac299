"""Train, validation and test days: by date, walk-forward or purged k-fold; purged and embargoed.

The label of day t reads the prices of t .. t + h, h = the longest horizon. No torch.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations

from gogooku3.config import DataConfig, DateSplit, PurgedKFoldSplit, WalkForwardSplit
from gogooku3.errors import SplitError

Span = tuple[int, int]
"""First day, and the day after the last, as positions in the calendar."""


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

    A day t is in a part only if its look-back is complete (t >= lookback - 1), t >= `first_day`,
    and no price that its longest label reads is read by a label of another part (purge). Training
    keeps a further distance of `embargo_days`: before the next part, for k-fold after the block.
    The test part may be empty; a training or validation part without days is an error.

    Args:
        calendar: market days, increasing.
        data: look-back, horizons and the split.
        first_day: first day that has a universe (`DatasetHeader.first_day`).

    Raises:
        SplitError: a part has no days, or the span is too short for the folds; it says why.
    """
    cut = _Cut(calendar, data, first_day)
    split = data.split
    if isinstance(split, DateSplit):
        result = cut.by_date(split)
    elif isinstance(split, WalkForwardSplit):
        result = cut.walk_forward(split)
    else:
        result = cut.purged_kfold(split)
    _check_labels_stay_apart(result, cut.longest, len(calendar))
    return result


class _Cut:
    """One calendar about to be cut."""

    def __init__(self, calendar: Sequence[date], data: DataConfig, first_day: int) -> None:
        self.calendar = calendar
        self.longest = max(data.horizons)
        self.embargo = data.split.embargo_days
        self.earliest = max(data.lookback - 1, first_day)

    def by_date(self, split: DateSplit) -> Split:
        """Boundaries at three dates."""
        train = self._span(split.train_start, split.train_end)
        valid_stop = bisect_right(self.calendar, split.valid_end)
        test_stop = self._span(None, split.test_end)[1]
        return self._in_a_row(train, (train[1], valid_stop), (valid_stop, test_stop))

    def walk_forward(self, split: WalkForwardSplit) -> Split:
        """Boundaries counted back from the span's last day."""
        begin, stop = self._span(split.start, split.end)
        later_folds = (split.folds - 1 - split.fold) * split.valid_days
        test_stop = stop - later_folds
        valid_stop = test_stop - split.test_days
        train_stop = valid_stop - split.valid_days
        train_begin = begin if split.train_days is None else train_stop - split.train_days
        if train_begin < begin or train_stop <= begin:
            validated = f"{split.folds} folds of {split.valid_days} validation days"
            tested = f" and {split.test_days} test days" if split.test_days else ""
            trained = f"train_days {split.train_days}" if split.train_days else "training"
            raise SplitError(
                f"fold {split.fold} has too few days for {trained}: the span has "
                f"{max(0, stop - begin)} trading days, and {validated}{tested} leave "
                f"{max(0, train_stop - begin)} before this fold's validation; use fewer folds, "
                "fewer days in each, or an earlier start"
            )
        return self._in_a_row(
            (train_begin, train_stop), (train_stop, valid_stop), (valid_stop, test_stop)
        )

    def purged_kfold(self, split: PurgedKFoldSplit) -> Split:
        """The span's days shared out in blocks that differ by one day at most."""
        span = self._span(split.start, split.end)
        days = self._inside(span)
        if len(days) < split.folds:
            raise SplitError(
                f"{split.folds} folds need as many days, but {self._shortage(span)}; use fewer "
                "folds or a longer span"
            )
        size, longer = divmod(len(days), split.folds)
        begin = split.fold * size + min(split.fold, longer)
        valid = days[begin : begin + size + (split.fold < longer)]
        resumed = valid[-1] + self.longest + self.embargo + 1
        train = tuple(t for t in days if t + self.longest < valid[0] or t >= resumed)
        if not train:
            raise SplitError(
                f"the train part has no days: the {len(days) - len(valid)} days outside fold "
                f"{split.fold} of {split.folds} are all dropped by a purge of {self.longest} days "
                f"on both sides of it and an embargo of {self.embargo}; use a longer span"
            )
        return Split(train_D=train, valid_D=tuple(valid), test_D=())

    def _span(self, start: date | None, end: date | None) -> Span:
        begin = 0 if start is None else bisect_left(self.calendar, start)
        return begin, len(self.calendar) if end is None else bisect_right(self.calendar, end)

    def _inside(self, span: Span, embargo: int = 0) -> range:
        """The days of a span with a complete look-back and every label inside the span."""
        begin, stop = span
        return range(max(begin, self.earliest), stop - self.longest - embargo)

    def _in_a_row(self, train: Span, valid: Span, test: Span) -> Split:
        result = Split(
            train_D=tuple(self._inside(train, self.embargo)),
            valid_D=tuple(self._inside(valid)),
            test_D=tuple(self._inside(test)),
        )
        if not result.train_D:
            shortage = self._shortage(train, f" and an embargo of {self.embargo}")
            raise SplitError(f"the train part has no days: {shortage}")
        if not result.valid_D:
            raise SplitError(f"the valid part has no days: {self._shortage(valid)}")
        return result

    def _shortage(self, span: Span, embargo: str = "") -> str:
        calendar = self.calendar
        known = f"{calendar[0]} .. {calendar[-1]}" if calendar else "empty"
        left = len(self._inside(span, self.embargo if embargo else 0)) or "none"
        return (
            f"of its {max(0, span[1] - span[0])} trading days (the dataset is {known}) {left} is "
            f"left with look-back and universe complete (from trading day {self.earliest + 1} on) "
            f"after a purge of {self.longest} days{embargo}"
        )


def _check_labels_stay_apart(split: Split, longest: int, days: int) -> None:
    """No price is read by labels of two parts: proven again from the result itself."""
    read = {part: _days_read(split.days(part), longest) for part in ("train", "valid", "test")}
    for one, other in combinations(read, 2):
        if shared := read[one] & read[other]:
            raise SplitError(
                f"labels of {one} and {other} share trading day {min(shared) + 1}: this is a "
                "defect of the split"
            )
    if max(map(max, filter(None, read.values()))) >= days:
        raise SplitError("a label ends after the dataset's last day: this is a defect of the split")


def _days_read(days: Iterable[int], longest: int) -> set[int]:
    """The days whose prices the labels of some increasing days read."""
    read: set[int] = set()
    reached = -1
    for day in days:
        read.update(range(max(day, reached + 1), day + longest + 1))
        reached = day + longest
    return read
