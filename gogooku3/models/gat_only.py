"""Graph attention on the scored day alone: what the neighbours add without any history.

Shapes: B days, N stocks, T look-back days, F features, D hidden, K horizons.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from gogooku3.config import GatOnlyConfig
from gogooku3.data.batch import Batch
from gogooku3.errors import ConfigError
from gogooku3.models.base import Model, ModelOutput, ModelShape
from gogooku3.nn.dropout import Dropout
from gogooku3.nn.graph_attention import Edges, GatedBypass, GraphStack
from gogooku3.nn.heads import HorizonHeads


class GatOnly(Model):
    """Embedded features of day t, graph attention over the day's edges, a head per horizon."""

    def __init__(self, config: GatOnlyConfig, shape: ModelShape) -> None:
        super().__init__()
        gat, width = config.gat, config.hidden_size
        if gat.heads is None or gat.concat is None or config.head.hidden is None:
            raise ConfigError("the model's configuration was not validated: derived fields lack")
        if shape.edge_features < 1:
            raise ConfigError(f"{gat.layers} GAT layers need edges with at least one feature")
        self.enter = nn.Linear(len(shape.features), width)
        self.dropout = Dropout(config.dropout)
        self.graph = GraphStack(
            width=width,
            heads=gat.heads,
            concat=gat.concat,
            edge_features=shape.edge_features,
            dropout=gat.dropout,
            edge_dropout=gat.edge_dropout,
            stochastic_depth=gat.stochastic_depth,
            temperature=gat.temperature,
            impl=gat.impl,
        )
        self.bypass = GatedBypass(width)
        self.heads = HorizonHeads(
            width=width,
            hidden=config.head.hidden,
            horizons=len(shape.horizons),
            dropout=config.dropout,
        )

    def forward(self, batch: Batch) -> ModelOutput:
        """Scores of one batch. Raises ValueError when it carries no graph."""
        if batch.neighbour_BNM is None or batch.edge_BNME is None:
            raise ValueError("the model has graph layers, but the batch carries no graph")
        edges = Edges.of(batch.neighbour_BNM, batch.edge_BNME)
        h_BND = self.dropout(F.gelu(self.enter(batch.x_BNTF[:, :, -1])))
        z_BND = self.bypass(h_BND, self.graph(h_BND, edges))
        return ModelOutput(self.heads.masked(z_BND, batch.mask_BN))
