"""The models a spec may name and their hyper-parameters (MODEL: docs/model.md)."""

from __future__ import annotations

from math import gcd
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from gogooku3.config.base import ConfigModel
from gogooku3.config.graph import GraphConfig
from gogooku3.config.tagged import kind_or

Rate = Annotated[float, Field(ge=0.0, lt=1.0)]


class FanConfig(ConfigModel):
    """Frequency adaptive normalisation (Ye, Deng, Zou, Gui, NeurIPS 2024)."""

    enabled: bool = True
    """false leaves the block out: the encoder reads the features as they are."""
    kind: Literal["window"] = "window"
    """Where the decomposition is made: once per look-back window, as published."""
    top_k: int = Field(default=2, ge=1)
    """Frequency bins of largest amplitude taken out of each window and feature; a look-back of T
    days has T // 2 + 1 bins."""
    aux_weight: float = Field(default=0.1, ge=0.0)
    """Weight of the auxiliary loss that fits the main part's own score to the target."""


class SelectionConfig(ConfigModel):
    """Variable selection of the temporal fusion transformer, as one grouped einsum."""

    rank: int = Field(default=8, ge=1, le=256)
    """Width of each feature's own embedding before it is lifted to the hidden size."""


class EncoderConfig(ConfigModel):
    """The temporal encoder: LSTM, then interpretable multi-head attention of the last day."""

    kind: Literal["lstm_attention"] = "lstm_attention"
    heads: int = Field(default=4, ge=1, le=64)
    """Attention heads; must divide `hidden_size`."""
    lstm_layers: int = Field(default=1, ge=1, le=4)
    """Stacked LSTM layers."""


class GatConfig(ConfigModel):
    """Graph attention over the day's stocks (GATv2 with edge features)."""

    layers: int = Field(default=2, ge=0, le=16)
    """Number of layers; 0 leaves the graph out. Alone it gives a valid network."""
    heads: tuple[Annotated[int, Field(ge=1, le=64)], ...] | None = None
    """Attention heads per layer; null derives [8, 4, 4, ...], narrowed to divide the width."""
    concat: tuple[bool, ...] | None = None
    """Per layer: concatenate the heads (true) or average them; null = [true, ..., true, false]."""
    dropout: Rate = 0.1
    """Dropout on the attention weights."""
    edge_dropout: Rate = 0.0
    """Share of the edges left out in a training step."""
    stochastic_depth: Rate = 0.0
    """p: layer l of L is skipped in training with probability l / L * p."""
    temperature: float = Field(default=1.0, ge=0.5, le=2.0)
    """Start of the learnable softmax temperature, kept within [0.5, 2]."""


class HeadConfig(ConfigModel):
    """One small perceptron per horizon."""

    hidden: int | None = Field(default=None, ge=1, le=4096)
    """Width of the hidden layer; null = half of `hidden_size`."""


class AtftGatFanConfig(ConfigModel):
    """Temporal fusion transformer + graph attention + frequency adaptive normalisation."""

    kind: Literal["atft_gat_fan"] = "atft_gat_fan"
    hidden_size: int = Field(default=64, ge=4, le=4096)
    """D: width of every embedding."""
    dropout: Rate = 0.1
    """Dropout inside every gated residual block and head."""
    fan: FanConfig = FanConfig()
    selection: SelectionConfig = SelectionConfig()
    encoder: EncoderConfig = EncoderConfig()
    gat: GatConfig = GatConfig()
    graph: GraphConfig = GraphConfig()
    head: HeadConfig = HeadConfig()

    @model_validator(mode="after")
    def _derive(self) -> AtftGatFanConfig:
        width = self.hidden_size
        if width % self.encoder.heads:
            raise PydanticCustomError(
                "heads_width",
                "hidden_size {width} must be a multiple of encoder.heads {heads}",
                {"width": width, "heads": self.encoder.heads, "field": "encoder/heads"},
            )
        layers = self.gat.layers
        heads = self.gat.heads
        if heads is None:
            heads = tuple(gcd(8 if layer == 0 else 4, width) for layer in range(layers))
        concat = self.gat.concat
        if concat is None:
            concat = tuple(layer < layers - 1 for layer in range(layers))
        for name, given in (("heads", heads), ("concat", concat)):
            if len(given) != layers:
                raise PydanticCustomError(
                    "gat_list_length",
                    "gat.{name} has {given} entries for {layers} layers: give one per layer, "
                    "or leave it out and it is derived",
                    {
                        "name": name,
                        "given": len(given),
                        "layers": layers,
                        "field": f"gat/{name}",
                    },
                )
        for layer, (count, joined) in enumerate(zip(heads, concat, strict=True)):
            if joined and width % count:
                raise PydanticCustomError(
                    "heads_width",
                    "hidden_size {width} must be a multiple of the {count} heads of GAT layer "
                    "{layer}, which are concatenated",
                    {"width": width, "count": count, "layer": layer, "field": "gat/heads"},
                )
        if layers and self.graph.width == 0:
            raise PydanticCustomError(
                "graph_without_edges",
                "{layers} GAT layers need edges: set graph.neighbours or another of "
                "graph.*_neighbours above 0, or gat.layers to 0",
                {"layers": layers, "field": "graph/neighbours"},
            )
        _fill(self, "gat", self.gat.model_copy(update={"heads": heads, "concat": concat}))
        if self.head.hidden is None:
            hidden = max(1, width // 2)
            _fill(self, "head", self.head.model_copy(update={"hidden": hidden}))
        return self


class LinearConfig(ConfigModel):
    """Ridge regression on the scored day's features, in closed form, one fit per horizon."""

    kind: Literal["linear"] = "linear"
    alpha: float = Field(default=0.01, ge=0.0)
    """Ridge penalty per training row; 0 = ordinary least squares."""


class ReversalConfig(ConfigModel):
    """No training: the score is minus the stock's return over the last `days` days."""

    kind: Literal["reversal"] = "reversal"
    days: int | None = Field(default=None, ge=1, le=252)
    """Days of return to reverse; null = the horizon of each score."""


def _fill(part: ConfigModel, name: str, value: Any) -> None:
    """Set a derived field of a frozen part while it is being validated."""
    part.__dict__[name] = value


ModelConfig = Annotated[
    Annotated[AtftGatFanConfig, Tag("atft_gat_fan")]
    | Annotated[LinearConfig, Tag("linear")]
    | Annotated[ReversalConfig, Tag("reversal")],
    Discriminator(kind_or("atft_gat_fan")),
]
