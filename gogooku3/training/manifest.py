"""What a checkpoint says of itself: everything needed to use it, and where it came from."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict

from gogooku3.config import TrainConfig
from gogooku3.models.base import ModelShape

FORMAT_VERSION = 1


class Part(BaseModel):
    """A frozen part of the manifest; keys of later versions are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null")


class Signature(Part):
    """The shape a dataset must have for this model."""

    features: tuple[str, ...]
    """Names in the order of the model's input."""
    lookback: int
    horizons: tuple[int, ...]
    sectors: int
    edge_features: int

    @classmethod
    def of(cls, shape: ModelShape) -> Signature:
        """The signature of a model's shape."""
        return cls(
            features=shape.features,
            lookback=shape.lookback,
            horizons=shape.horizons,
            sectors=shape.sectors,
            edge_features=shape.edge_features,
        )

    def shape(self) -> ModelShape:
        """The model's shape."""
        return ModelShape(
            features=self.features,
            lookback=self.lookback,
            horizons=self.horizons,
            sectors=self.sectors,
            edge_features=self.edge_features,
        )


class DatasetOrigin(Part):
    """The dataset the model was trained on."""

    name: str
    fingerprint: str
    normalisation: Any = None


class Stretch(Part):
    """First and last scored day of a part of the split, and how many there are."""

    first: date
    last: date
    days: int


class Manifest(Part):
    """`manifest.json` of a checkpoint. It holds no times: the same run writes the same bytes."""

    format_version: int = FORMAT_VERSION
    epoch: int
    config: TrainConfig
    """The effective configuration: every default filled in."""
    signature: Signature
    dataset: DatasetOrigin
    market_scaling: dict[str, tuple[float, float]] = {}
    """Mean and standard deviation on the training days of each market feature."""
    split: dict[str, Stretch]
    precision: str
    metrics: dict[str, float | None]
    selection: dict[str, float] | None = None
    """Weight of each feature: mean selection weight on the validation days, share of the absolute
    weights or of the gain; None for models that don't weigh features."""
    code_version: str
    environment: dict[str, str]
