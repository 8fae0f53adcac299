"""Models by the `kind` that a spec names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from gogooku3.config import ModelConfig
from gogooku3.models.atft_gat_fan import AtftGatFan
from gogooku3.models.base import Model, ModelShape
from gogooku3.models.gat_only import GatOnly
from gogooku3.models.lightgbm import LightGbm
from gogooku3.models.linear import Linear
from gogooku3.models.lstm import Lstm
from gogooku3.models.mlp import Mlp
from gogooku3.models.reversal import Reversal

MODELS: Mapping[str, Callable[[Any, ModelShape], Model]] = MappingProxyType(
    {
        "atft_gat_fan": AtftGatFan,
        "gat_only": GatOnly,
        "lightgbm": LightGbm,
        "linear": Linear,
        "lstm": Lstm,
        "mlp": Mlp,
        "reversal": Reversal,
    }
)
"""Each kind's class, called with its configuration and the data's shape."""


def build_model(config: ModelConfig, shape: ModelShape) -> Model:
    """A fresh model; its first weights come from torch's global generator.

    Raises ConfigError when the configuration does not fit the shape.
    """
    return MODELS[config.kind](config, shape)
