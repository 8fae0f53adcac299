"""A plain perceptron on the scored day: what history, graph and normalisation have to beat.

Shapes: B days, N stocks, T look-back days, F features, D hidden, K horizons.
"""

from __future__ import annotations

from torch import nn

from gogooku3.config import MlpConfig
from gogooku3.data.batch import Batch
from gogooku3.errors import ConfigError
from gogooku3.models.base import Model, ModelOutput, ModelShape
from gogooku3.nn.dropout import Dropout
from gogooku3.nn.heads import HorizonHeads


class Mlp(Model):
    """Hidden layers on the features of day t, then a perceptron per horizon."""

    def __init__(self, config: MlpConfig, shape: ModelShape) -> None:
        super().__init__()
        if config.head.hidden is None:
            raise ConfigError("the model's configuration was not validated: derived fields lack")
        width, inputs = config.hidden_size, len(shape.features)
        layers: list[nn.Module] = []
        for _ in range(config.layers):
            layers += [nn.Linear(inputs, width), nn.GELU(), Dropout(config.dropout)]
            inputs = width
        self.layers = nn.Sequential(*layers)
        self.heads = HorizonHeads(
            width=width,
            hidden=config.head.hidden,
            horizons=len(shape.horizons),
            dropout=config.dropout,
        )

    def forward(self, batch: Batch) -> ModelOutput:
        """Scores of one batch."""
        h_BND = self.layers(batch.x_BNTF[:, :, -1])
        return ModelOutput(self.heads.masked(h_BND, batch.mask_BN))
