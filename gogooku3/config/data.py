"""What the model sees and on which days: look-back, horizons, targets and the split."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from gogooku3.config.base import ConfigModel
from gogooku3.config.split import SplitConfig

Horizon = Annotated[int, Field(ge=1, le=252)]


class DataConfig(ConfigModel):
    """The windows a model is trained on."""

    lookback: int = Field(default=60, ge=2, le=512)
    """T: trading days in a window, the scored day included."""
    horizons: tuple[Horizon, ...] = Field(default=(1, 5, 10, 20), min_length=1, max_length=16)
    """K forward horizons in trading days, increasing."""
    target: Literal["rank", "zscore", "raw"] = "rank"
    """How a day's forward returns become the training target: rank scaled to unit variance,
    z-score winsorised at 5, or the return itself. Metrics always use the return itself."""
    neutral: Literal["none", "sector", "beta"] = "none"
    """What is taken out of a day's forward returns before they become the target: the mean of the
    stock's sector, the market's return times the stock's beta of 60 days, or nothing. Metrics
    always use the return itself."""
    shuffle_targets: bool = False
    """The canary for leaks: each day's forward returns, in every part of the split, are dealt anew
    among its stocks, metrics included. A run that still ranks better than chance has been told."""
    features: tuple[str, ...] | None = None
    """Names of the dataset's features to use; null = all of them."""
    split: SplitConfig

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
