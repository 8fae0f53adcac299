"""ATFT-GAT-FAN: frequency adaptive normalisation, a temporal fusion encoder, graph attention.

Shapes: B days, N stocks, S = B * N windows, T look-back days, F features, D hidden, K horizons,
M neighbours, E edge features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gogooku3.config import AtftGatFanConfig
from gogooku3.data.batch import Batch
from gogooku3.errors import ConfigError
from gogooku3.models.base import Model, ModelOutput, ModelShape
from gogooku3.nn.fan import FanParts, MainHead, split_main
from gogooku3.nn.graph_attention import Edges, GatedBypass, GraphStack
from gogooku3.nn.grn import GatedResidualNetwork
from gogooku3.nn.heads import HorizonHeads
from gogooku3.nn.temporal import TemporalEncoder, present_first
from gogooku3.nn.variable_selection import VariableSelection


class AtftGatFan(Model):
    """The reference model.

    1. FAN takes each window and feature's strongest frequencies out; the rest goes on.
    2. Variable selection weighs the features of each day, knowing the stock's sector.
    3. LSTM and interpretable attention give the embedding at the scored day.
    4. Graph attention mixes it with the neighbours', behind a gate that can leave it out.
    5. A perceptron per horizon gives the score, and FAN's main part adds its own term.

    Raises ConfigError when the configuration does not fit the shape.
    """

    def __init__(self, config: AtftGatFanConfig, shape: ModelShape) -> None:
        super().__init__()
        gat, fan, width = config.gat, config.fan, config.hidden_size
        if gat.layers and shape.edge_features < 1:
            raise ConfigError(f"{gat.layers} GAT layers need edges with at least one feature")
        if gat.heads is None or gat.concat is None or config.head.hidden is None:
            raise ConfigError("the model's configuration was not validated: derived fields lack")
        features, horizons = len(shape.features), len(shape.horizons)
        self.top_k = fan.top_k
        self.main_head = (
            MainHead(
                features=features,
                top_k=fan.top_k,
                hidden=width,
                horizons=horizons,
                dropout=config.dropout,
            )
            if fan.enabled
            else None
        )
        self.sector = nn.Embedding(shape.sectors, width)
        self.selection_context = GatedResidualNetwork(width, width, width, dropout=config.dropout)
        self.enrichment_context = GatedResidualNetwork(width, width, width, dropout=config.dropout)
        self.selection = VariableSelection(
            features=features, rank=config.selection.rank, width=width, dropout=config.dropout
        )
        self.encoder = TemporalEncoder(
            width=width,
            heads=config.encoder.heads,
            lstm_layers=config.encoder.lstm_layers,
            dropout=config.dropout,
        )
        self.graph: GraphStack | None = None
        self.bypass: GatedBypass | None = None
        if gat.layers:
            self.graph = GraphStack(
                width=width,
                heads=gat.heads,
                concat=gat.concat,
                edge_features=shape.edge_features,
                dropout=gat.dropout,
                edge_dropout=gat.edge_dropout,
                stochastic_depth=gat.stochastic_depth,
                temperature=gat.temperature,
            )
            self.bypass = GatedBypass(width)
        self.heads = HorizonHeads(
            width=width, hidden=config.head.hidden, horizons=horizons, dropout=config.dropout
        )

    def forward(self, batch: Batch) -> ModelOutput:
        """Scores of one batch; the report `selection_F` is each feature's mean weight.

        Raises ValueError when the model has graph layers and the batch no graph.
        """
        days, stocks = batch.mask_BN.shape
        present_ST = batch.present_BNT.flatten(0, 1)
        x_SFT = batch.x_BNTF.flatten(0, 1).transpose(1, 2)
        parts = self._split(x_SFT, present_ST)
        residual_SFT = x_SFT if parts is None else parts.residual_SFT

        h_SD, selection_F = self._encode(residual_SFT, present_ST, batch.sector_BN.flatten())
        z_BND = self._mix(h_SD.unflatten(0, (days, stocks)), batch)
        # Scores in bf16 have 8 bits: thousands of stocks would tie. The last layers stay fp32.
        with torch.autocast(z_BND.device.type, enabled=False):
            score_BNK = self.heads(z_BND.float())
            main_BNK = None
            if self.main_head is not None and parts is not None:
                main_BNK = self.main_head(parts).unflatten(0, (days, stocks))
                main_BNK = torch.where(batch.mask_BN[..., None], main_BNK, 0.0)
                score_BNK = score_BNK + main_BNK
            score_BNK = torch.where(batch.mask_BN[..., None], score_BNK, 0.0)
        return ModelOutput(score_BNK, main_BNK, {"selection_F": selection_F})

    def _split(self, x_SFT: Tensor, present_ST: Tensor) -> FanParts | None:
        if self.main_head is None:
            return None
        return split_main(x_SFT, present_ST, self.top_k)

    def _encode(self, x_SFT: Tensor, present_ST: Tensor, sector_S: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding of each window and the mean selection weights over present days."""
        order_TS, count_S = present_first(present_ST)
        x_TSF = x_SFT.permute(2, 0, 1)
        x_TSF = x_TSF.gather(0, order_TS[..., None].expand_as(x_TSF))
        # Contexts are made once per sector, not once per stock.
        sectors = self.sector.weight
        selecting_SD = self.selection_context(sectors).index_select(0, sector_S)
        enriching_SD = self.enrichment_context(sectors).index_select(0, sector_S)
        selected_TSD, weight_TSF = self.selection(x_TSF, selecting_SD)
        h_SD = self.encoder(selected_TSD, count_S, enriching_SD)
        step_T = torch.arange(x_TSF.shape[0], device=x_TSF.device)
        seen_TS1 = (step_T[:, None] < present_ST.sum(1))[..., None]
        weight_F = (weight_TSF.detach().float() * seen_TS1).sum((0, 1))
        return h_SD, weight_F / seen_TS1.sum().clamp(min=1)

    def _mix(self, h_BND: Tensor, batch: Batch) -> Tensor:
        if self.graph is None or self.bypass is None:
            return h_BND
        if batch.neighbour_BNM is None or batch.edge_BNME is None:
            raise ValueError("the model has graph layers, but the batch carries no graph")
        edges = Edges.of(batch.neighbour_BNM, batch.edge_BNME)
        mixed_BND: Tensor = self.bypass(h_BND, self.graph(h_BND, edges))
        return mixed_BND
