"""What the model sees and on which days: look-back, horizons, targets and the calendar split."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from gogooku3.config.base import ConfigModel

Horizon = Annotated[int, Field(ge=1, le=252)]


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
    embargo_days: int = Field(default=5, ge=0, le=252)
    """Trading days dropped from the end of training on top of the purge."""

    @model_validator(mode="after")
    def _ordered(self) -> DateSplit:
        ordered = [
            ("train_start", self.train_start),
            ("train_end", self.train_end),
            ("valid_end", self.valid_end),
            ("test_end", self.test_end),
        ]
        given = [(name, day) for name, day in ordered if day is not None]
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
        return self


class DataConfig(ConfigModel):
    """The windows a model is trained on."""

    lookback: int = Field(default=60, ge=2, le=512)
    """T: trading days in a window, the scored day included."""
    horizons: tuple[Horizon, ...] = Field(default=(1, 5, 10, 20), min_length=1, max_length=16)
    """K forward horizons in trading days, increasing."""
    target: Literal["rank", "zscore", "raw"] = "rank"
    """How a day's forward returns become the training target: rank scaled to unit variance,
    z-score winsorised at 5, or the return itself. Metrics always use the return itself."""
    features: tuple[str, ...] | None = None
    """Names of the dataset's features to use; null = all of them."""
    split: DateSplit

    @model_validator(mode="after")
    def _increasing(self) -> DataConfig:
        if list(self.horizons) != sorted(set(self.horizons)):
            raise PydanticCustomError(
                "horizons_order",
                "horizons must increase without repeats, not {horizons}",
                {"horizons": list(self.horizons), "field": "horizons"},
            )
        if self.features is not None:
            if not self.features:
                raise PydanticCustomError(
                    "features_empty",
                    "name at least one feature, or null for all of them",
                    {"field": "features"},
                )
            if len(set(self.features)) != len(self.features):
                raise PydanticCustomError(
                    "features_repeat", "a feature is named twice", {"field": "features"}
                )
        return self
