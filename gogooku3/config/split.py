"""Which days train and which validate: the kinds of split, without a calendar."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from gogooku3.config.base import ConfigModel
from gogooku3.config.tagged import kind_or

Embargo = Annotated[int, Field(ge=0, le=252)]


class DateSplit(ConfigModel):
    """Train, validation and test by calendar date, the same boundary for every stock.

    A day belongs to a part only if its longest label ends inside that part (purge); the last
    `embargo_days` trading days before each later part are dropped from training as well.
    """

    kind: Literal["date"] = "date"
    train_start: date | None = None
    """First training day; null = the first day with a full look-back."""
    train_end: date
    """Last day whose prices training may use, labels included."""
    valid_end: date
    """Last day whose prices validation may use; validation starts the day after `train_end`."""
    test_end: date | None = None
    """Last day whose prices the test may use; null = the dataset's last day."""
    embargo_days: Embargo = 5
    """Trading days dropped from the end of training on top of the purge."""

    @model_validator(mode="after")
    def _ordered(self) -> DateSplit:
        _check_order(
            ("train_start", self.train_start),
            ("train_end", self.train_end),
            ("valid_end", self.valid_end),
            ("test_end", self.test_end),
        )
        return self


class FoldedSplit(ConfigModel):
    """One fold of several over the days from `start` to `end`."""

    folds: int = Field(ge=1, le=1000)
    """Number of folds; each is a job of its own."""
    fold: int = Field(default=0, ge=0)
    """Which fold this job trains, from 0 (the earliest)."""
    start: date | None = None
    """First day that may be in a part; null = the first day with a full look-back."""
    end: date | None = None
    """Last day whose prices may be used, labels included; null = the dataset's last day."""

    @model_validator(mode="after")
    def _fits(self) -> FoldedSplit:
        _check_order(("start", self.start), ("end", self.end))
        if self.fold >= self.folds:
            raise PydanticCustomError(
                "fold_unknown",
                "fold {fold} does not exist: {folds} folds are numbered 0 to {last}",
                {"fold": self.fold, "folds": self.folds, "last": self.folds - 1, "field": "fold"},
            )
        return self


class WalkForwardSplit(FoldedSplit):
    """Walk-forward: each fold trains on the days before its own validation days.

    The folds' validation parts are consecutive blocks of `valid_days` trading days; the last
    fold's block, and the test block after it, end with the span. A day belongs to a part only if
    its longest label ends inside that part (purge).
    """

    kind: Literal["walk_forward"] = "walk_forward"
    train_days: int | None = Field(default=None, ge=1)
    """Trading days of each fold's training part, purge and embargo included (rolling); null = from
    `start` on (expanding)."""
    valid_days: int = Field(ge=1)
    """Trading days of each fold's validation part, purge included."""
    test_days: int = Field(default=0, ge=0)
    """Trading days of each fold's test part, right after its validation; 0 = no test part."""
    embargo_days: Embargo = 5
    """Trading days dropped from the end of training on top of the purge."""


class PurgedKFoldSplit(FoldedSplit):
    """Purged k-fold (Lopez de Prado 2018, chapter 7): each fold validates on one contiguous block
    of days and trains on all others, earlier and later.

    The blocks share out the span's days. A training day's longest label has no day in common with
    the labels of validation (purge), and the `embargo_days` trading days after those are dropped as
    well: their look-back is full of validation days. There is no test part; keep one by `end`.
    """

    kind: Literal["purged_kfold"] = "purged_kfold"
    folds: int = Field(ge=2, le=1000)
    """Number of folds; each is a job of its own."""
    embargo_days: Embargo = 5
    """Trading days after the validation block's last label before training resumes."""


SplitConfig = Annotated[
    Annotated[DateSplit, Tag("date")]
    | Annotated[WalkForwardSplit, Tag("walk_forward")]
    | Annotated[PurgedKFoldSplit, Tag("purged_kfold")],
    Discriminator(kind_or("date")),
]


def _check_order(*named: tuple[str, date | None]) -> None:
    given = [(name, day) for name, day in named if day is not None]
    for (earlier, first), (later, second) in pairwise(given):
        if first >= second:
            raise PydanticCustomError(
                "split_order",
                "{later} ({second}) must lie after {earlier} ({first})",
                {
                    "later": later,
                    "second": second.isoformat(),
                    "earlier": earlier,
                    "first": first.isoformat(),
                    "field": later,
                },
            )
