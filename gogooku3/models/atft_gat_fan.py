"""ATFT-GAT-FAN: frequency adaptive normalisation, a temporal fusion encoder, graph attention.

Shapes: B days, N stocks, L days of a sequence, S sequences, Q scored days of a sequence, A ages,
F features, D hidden, K horizons, M neighbours, E edge features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gogooku3.config import (
    AtftGatFanConfig,
    LowRankSelectionConfig,
    LstmAttentionConfig,
    QuantileHeadConfig,
    StreamingFanConfig,
    StudentTHeadConfig,
)
from gogooku3.data.batch import Batch
from gogooku3.errors import ConfigError
from gogooku3.models.base import Model, ModelOutput, ModelShape
from gogooku3.models.sequences import Sequences
from gogooku3.nn.distribution_heads import QuantileHeads, StudentTHeads
from gogooku3.nn.fan import Fan, MainHead, StreamingFan, WindowFan
from gogooku3.nn.graph_attention import Edges, GatedBypass, GraphStack
from gogooku3.nn.grn import GatedResidualNetwork
from gogooku3.nn.grouped_selection import GroupedVariableSelection
from gogooku3.nn.heads import HorizonHeads
from gogooku3.nn.temporal import AttentionEncoder, LstmAttentionEncoder
from gogooku3.nn.variable_selection import VariableSelection


class AtftGatFan(Model):
    """The reference model.

    1. FAN takes each feature's strongest frequencies out; the rest goes on.
    2. Variable selection weighs the features of each day, knowing the stock's sector.
    3. The temporal encoder gives the embedding at the scored day.
    4. Graph attention mixes it with the neighbours', behind a gate that can leave it out.
    5. A perceptron per horizon gives the score, and FAN's main part adds its own term.

    Where the configuration makes 1 to 3 a function of the row up to the attention
    (`shares_rows`), the rows of a block of consecutive days are encoded once for all their windows.

    Raises ConfigError when the configuration does not fit the shape.
    """

    uncompiled = ("fan",)

    def __init__(self, config: AtftGatFanConfig, shape: ModelShape) -> None:
        super().__init__()
        gat, width = config.gat, config.hidden_size
        if gat.layers and shape.edge_features < 1:
            raise ConfigError(f"{gat.layers} GAT layers need edges with at least one feature")
        if gat.heads is None or gat.concat is None:
            raise ConfigError("the model's configuration was not validated: derived fields lack")
        features, horizons = len(shape.features), len(shape.horizons)
        self.shares_rows = config.shares_rows
        self.fan = _fan(config, shape.lookback)
        self.main_head = (
            None
            if self.fan is None
            else MainHead(
                features=features,
                top_k=self.fan.top_k,
                hidden=width,
                horizons=horizons,
                dropout=config.dropout,
            )
        )
        self.sector = nn.Embedding(shape.sectors, width)
        self.selection_context = GatedResidualNetwork(width, width, width, dropout=config.dropout)
        self.enrichment_context = GatedResidualNetwork(width, width, width, dropout=config.dropout)
        self.selection = _selection(config, features)
        self.encoder = _encoder(config, shape.lookback)
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
                impl=gat.impl,
            )
            self.bypass = GatedBypass(width)
        self.heads = _heads(config, horizons)

    def forward(self, batch: Batch) -> ModelOutput:
        """Scores of one batch. In eval mode it reports `selection_F`, each feature's mean weight,
        and `attention_A`, the mean attention by age.

        Raises ValueError when the model has graph layers and the batch no graph.
        """
        sequences = Sequences.of(batch, self.shares_rows)
        x_LSF, present_LS = sequences.x_LSF, sequences.present_LS
        parts = None if self.fan is None else self.fan(x_LSF, present_LS, sequences.days)
        if parts is not None:
            x_LSF = parts.residual_LSF
            present_LS = present_LS[len(present_LS) - len(x_LSF) :]

        # Contexts are made once per sector, not once per stock.
        sectors, sector_S = self.sector.weight, sequences.sector_S
        selecting_SD = self.selection_context(sectors).index_select(0, sector_S)
        enriching_SD = self.enrichment_context(sectors).index_select(0, sector_S)
        selected_LSD, weight_LSF = self.selection(x_LSF, selecting_SD)
        encoded = self.encoder(selected_LSD, present_LS, enriching_SD)

        z_BND = self._mix(sequences.by_day(encoded.h_QSD), batch)
        # Scores in bf16 have 8 bits: thousands of stocks would tie. The last layers stay fp32.
        with torch.autocast(z_BND.device.type, enabled=False):
            distribution_BNKP = main_BNK = None
            if isinstance(self.heads, HorizonHeads):
                score_BNK = self.heads(z_BND.float())
            else:
                score_BNK, distribution_BNKP = self.heads(z_BND.float())
            if self.main_head is not None and parts is not None:
                main_BNK = sequences.by_day(self.main_head(parts.main))
                main_BNK = torch.where(batch.mask_BN[..., None], main_BNK, 0.0)
                score_BNK = score_BNK + main_BNK
            score_BNK = torch.where(batch.mask_BN[..., None], score_BNK, 0.0)
        if self.training:
            return ModelOutput(score_BNK, distribution_BNKP, main_BNK)
        reports = {
            "selection_F": _mean(weight_LSF, present_LS),
            "attention_A": _mean(sequences.by_day(encoded.weight_QSA), batch.mask_BN),
        }
        return ModelOutput(score_BNK, distribution_BNKP, main_BNK, reports)

    def _mix(self, h_BND: Tensor, batch: Batch) -> Tensor:
        if self.graph is None or self.bypass is None:
            return h_BND
        if batch.neighbour_BNM is None or batch.edge_BNME is None:
            raise ValueError("the model has graph layers, but the batch carries no graph")
        edges = Edges.of(batch.neighbour_BNM, batch.edge_BNME)
        mixed_BND: Tensor = self.bypass(h_BND, self.graph(h_BND, edges))
        return mixed_BND


def _fan(config: AtftGatFanConfig, lookback: int) -> Fan | None:
    fan = config.fan
    if not fan.enabled:
        return None
    try:
        if isinstance(fan, StreamingFanConfig):
            return StreamingFan(window=fan.days(lookback), top_k=fan.top_k)
        return WindowFan(window=lookback, top_k=fan.top_k)
    except ValueError as error:
        raise ConfigError(f"fan: {error}") from error


def _selection(config: AtftGatFanConfig, features: int) -> nn.Module:
    selection, width, dropout = config.selection, config.hidden_size, config.dropout
    if isinstance(selection, LowRankSelectionConfig):
        return VariableSelection(
            features=features, rank=selection.rank, width=width, dropout=dropout
        )
    return GroupedVariableSelection(features=features, width=width, dropout=dropout)


def _encoder(config: AtftGatFanConfig, lookback: int) -> nn.Module:
    encoder, fan = config.encoder, config.fan
    width, dropout = config.hidden_size, config.dropout
    if isinstance(encoder, LstmAttentionConfig):
        return LstmAttentionEncoder(
            width=width, heads=encoder.heads, lstm_layers=encoder.lstm_layers, dropout=dropout
        )
    ages = lookback
    if fan.enabled and isinstance(fan, StreamingFanConfig):
        ages = lookback - fan.days(lookback) + 1
    return AttentionEncoder(width=width, heads=encoder.heads, ages=ages, dropout=dropout)


def _heads(config: AtftGatFanConfig, horizons: int) -> nn.Module:
    head = config.head
    if head.hidden is None:
        raise ConfigError("the model's configuration was not validated: derived fields lack")
    sizes = {"width": config.hidden_size, "hidden": head.hidden, "horizons": horizons}
    if isinstance(head, QuantileHeadConfig):
        return QuantileHeads(levels=head.levels, dropout=config.dropout, **sizes)
    if isinstance(head, StudentTHeadConfig):
        return StudentTHeads(dropout=config.dropout, **sizes)
    return HorizonHeads(dropout=config.dropout, **sizes)


def _mean(weight: Tensor, counts: Tensor) -> Tensor:
    """Mean of weight [.., V] over the places [..] that count -> [V]."""
    total_V = (weight.detach().float() * counts[..., None]).flatten(0, -2).sum(0)
    return total_V / counts.sum().clamp(min=1)
