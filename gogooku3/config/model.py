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


class FanBase(ConfigModel):
    """What both forms of the normalisation have."""

    enabled: bool = True
    """false leaves the block out: the encoder reads the features as they are."""
    top_k: int = Field(default=2, ge=1)
    """Frequency bins of largest amplitude taken out of each window and feature; a window of W
    days has W // 2 + 1 bins."""
    aux_weight: float = Field(default=0.1, ge=0.0)
    """Weight of the auxiliary loss that fits the main part's own score to the target."""


class WindowFanConfig(FanBase):
    """Frequency adaptive normalisation (Ye, Deng, Zou, Gui, NeurIPS 2024), as published: one
    decomposition per look-back window."""

    kind: Literal["window"] = "window"


class StreamingFanConfig(FanBase):
    """Frequency adaptive normalisation, causal: each row less the main part of its own trailing
    window. A row is then the same to every look-back that it is in."""

    kind: Literal["streaming"] = "streaming"
    window: int | None = Field(default=None, ge=2, le=512)
    """W: days of a row's trailing window, the row included; null = half of the look-back. The
    first W - 1 days of the look-back only serve the windows of those after them."""

    def days(self, lookback: int) -> int:
        """W, for a look-back of so many days."""
        return self.window or max(2, lookback // 2)


class LowRankSelectionConfig(ConfigModel):
    """Variable selection of the temporal fusion transformer with low-rank embeddings, as one
    product for all features."""

    kind: Literal["low_rank"] = "low_rank"
    rank: int = Field(default=8, ge=1, le=256)
    """Width of each feature's own embedding before it is lifted to the hidden size."""


class GroupedSelectionConfig(ConfigModel):
    """Variable selection as published: a gated residual network for every feature. Its work and
    size grow with features x `hidden_size` squared: ten times those of `low_rank` at a width of
    32, more at larger ones."""

    kind: Literal["grouped"] = "grouped"


SelectionConfig = Annotated[
    Annotated[LowRankSelectionConfig, Tag("low_rank")]
    | Annotated[GroupedSelectionConfig, Tag("grouped")],
    Discriminator(kind_or("low_rank")),
]


class LstmAttentionConfig(ConfigModel):
    """The temporal encoder as published: LSTM, then interpretable multi-head attention of the last
    day."""

    kind: Literal["lstm_attention"] = "lstm_attention"
    heads: int = Field(default=4, ge=1, le=64)
    """Attention heads; must divide `hidden_size`."""
    lstm_layers: int = Field(default=1, ge=1, le=4)
    """Stacked LSTM layers."""


class AttentionConfig(ConfigModel):
    """The fast temporal encoder: the scored day attends to its look-back, with a learned logit per
    age. A day is encoded by itself: once for all the look-backs that it is in."""

    kind: Literal["attention"] = "attention"
    heads: int = Field(default=4, ge=1, le=64)
    """Attention heads; must divide `hidden_size`."""


FanConfig = Annotated[
    Annotated[WindowFanConfig, Tag("window")] | Annotated[StreamingFanConfig, Tag("streaming")],
    Discriminator(kind_or("window")),
]
EncoderConfig = Annotated[
    Annotated[LstmAttentionConfig, Tag("lstm_attention")]
    | Annotated[AttentionConfig, Tag("attention")],
    Discriminator(kind_or("lstm_attention")),
]


class GatConfig(ConfigModel):
    """Graph attention over the day's stocks (GATv2 with edge features)."""

    impl: Literal["fixed_k", "pyg"] = "fixed_k"
    """What computes the attention: our own over fixed lists of neighbours, or torch-geometric's
    GATv2Conv over the same edges (needs the extra `pyg`). The same mathematics and weights."""
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
    """One small perceptron per horizon, which gives the score."""

    kind: Literal["score"] = "score"
    hidden: int | None = Field(default=None, ge=1, le=4096)
    """Width of the hidden layer; null = half of `hidden_size`."""


class QuantileHeadConfig(ConfigModel):
    """Quantiles that never cross; the score is the median. Trained by the `quantile` loss term."""

    kind: Literal["quantile"] = "quantile"
    hidden: int | None = Field(default=None, ge=1, le=4096)
    """Width of the hidden layer of each quantile's perceptron; null = half of `hidden_size`."""
    levels: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = Field(
        default=(0.05, 0.25, 0.5, 0.75, 0.95), min_length=2, max_length=31
    )
    """Levels of the quantiles, increasing; 0.5 must be among them."""

    @model_validator(mode="after")
    def _around_the_median(self) -> QuantileHeadConfig:
        if list(self.levels) != sorted(set(self.levels)) or 0.5 not in self.levels:
            raise PydanticCustomError(
                "quantile_levels",
                "levels must increase without repeats and hold 0.5, not {levels}",
                {"levels": list(self.levels), "field": "levels"},
            )
        return self


class StudentTHeadConfig(ConfigModel):
    """Student's t: location, scale and degrees of freedom; the score is the location. Trained by
    the `student_t` loss term."""

    kind: Literal["student_t"] = "student_t"
    hidden: int | None = Field(default=None, ge=1, le=4096)
    """Width of the hidden layer of each value's perceptron; null = half of `hidden_size`."""


AnyHeadConfig = Annotated[
    Annotated[HeadConfig, Tag("score")]
    | Annotated[QuantileHeadConfig, Tag("quantile")]
    | Annotated[StudentTHeadConfig, Tag("student_t")],
    Discriminator(kind_or("score")),
]


class AtftGatFanConfig(ConfigModel):
    """Temporal fusion transformer + graph attention + frequency adaptive normalisation."""

    kind: Literal["atft_gat_fan"] = "atft_gat_fan"
    hidden_size: int = Field(default=64, ge=4, le=4096)
    """D: width of every embedding."""
    dropout: Rate = 0.1
    """Dropout inside every gated residual block and head."""
    fan: FanConfig = WindowFanConfig()
    selection: SelectionConfig = LowRankSelectionConfig()
    encoder: EncoderConfig = LstmAttentionConfig()
    gat: GatConfig = GatConfig()
    graph: GraphConfig = GraphConfig()
    head: AnyHeadConfig = HeadConfig()

    @property
    def shares_rows(self) -> bool:
        """Whether a row is encoded alike for every look-back that it is in, so that consecutive
        scored days can share it."""
        is_per_row = not self.fan.enabled or self.fan.kind == "streaming"
        return is_per_row and self.encoder.kind == "attention"

    @model_validator(mode="after")
    def _derive(self) -> AtftGatFanConfig:
        width = self.hidden_size
        if width % self.encoder.heads:
            raise PydanticCustomError(
                "heads_width",
                "hidden_size {width} must be a multiple of encoder.heads {heads}",
                {"width": width, "heads": self.encoder.heads, "field": "encoder/heads"},
            )
        _fill(self, "gat", _derived_gat(self.gat, self.graph, width))
        hidden = self.head.hidden or max(1, width // 2)
        _fill(self, "head", self.head.model_copy(update={"hidden": hidden}))
        return self

    @property
    def edges(self) -> GraphConfig | None:
        """How the graph that the model needs is made; None = it needs none."""
        return self.graph if self.gat.layers else None


class LstmConfig(ConfigModel):
    """A plain LSTM over the look-back days, with the same heads and losses."""

    kind: Literal["lstm"] = "lstm"
    hidden_size: int = Field(default=64, ge=1, le=4096)
    """D: width of the state."""
    layers: int = Field(default=1, ge=1, le=8)
    """Stacked LSTM layers."""
    dropout: Rate = 0.1
    """Dropout on the last state, between stacked layers and in the heads."""
    head: HeadConfig = HeadConfig()

    @model_validator(mode="after")
    def _derive(self) -> LstmConfig:
        _fill(self, "head", _derived_head(self.head, self.hidden_size))
        return self


class GatOnlyConfig(ConfigModel):
    """Graph attention alone: the scored day's features of a stock and of its neighbours."""

    kind: Literal["gat_only"] = "gat_only"
    hidden_size: int = Field(default=64, ge=4, le=4096)
    """D: width of every embedding."""
    dropout: Rate = 0.1
    """Dropout on the embedded features and in the heads."""
    gat: GatConfig = GatConfig()
    graph: GraphConfig = GraphConfig()
    head: HeadConfig = HeadConfig()

    @model_validator(mode="after")
    def _derive(self) -> GatOnlyConfig:
        if self.gat.layers == 0:
            raise PydanticCustomError(
                "gat_without_layers",
                "gat_only needs at least one GAT layer",
                {"field": "gat/layers"},
            )
        _fill(self, "gat", _derived_gat(self.gat, self.graph, self.hidden_size))
        _fill(self, "head", _derived_head(self.head, self.hidden_size))
        return self

    @property
    def edges(self) -> GraphConfig:
        """How the graph that the model needs is made."""
        return self.graph


class MlpConfig(ConfigModel):
    """A plain perceptron on the scored day's features, with the same heads and losses."""

    kind: Literal["mlp"] = "mlp"
    hidden_size: int = Field(default=64, ge=1, le=4096)
    """D: width of the hidden layers."""
    layers: int = Field(default=1, ge=1, le=16)
    """Hidden layers before the heads, each of which has one of its own."""
    dropout: Rate = 0.1
    """Dropout after every hidden layer and in the heads."""
    head: HeadConfig = HeadConfig()

    @model_validator(mode="after")
    def _derive(self) -> MlpConfig:
        _fill(self, "head", _derived_head(self.head, self.hidden_size))
        return self


class LinearConfig(ConfigModel):
    """Ridge regression on the scored day's features, in closed form, one fit per horizon."""

    kind: Literal["linear"] = "linear"
    alpha: float = Field(default=0.01, ge=0.0)
    """Ridge penalty per training row; 0 = ordinary least squares."""


class LightGbmConfig(ConfigModel):
    """Gradient-boosted trees (Ke et al., NeurIPS 2017) on the scored day's features, one fit per
    horizon; needs the optional package: `pip install 'gogooku3[lightgbm]'`."""

    kind: Literal["lightgbm"] = "lightgbm"
    trees: int = Field(default=300, ge=1, le=10_000)
    """Boosting rounds; fewer when stopped early."""
    learning_rate: float = Field(default=0.03, gt=0.0, le=1.0)
    """Share of each tree's prediction that is added."""
    leaves: int = Field(default=31, ge=2, le=4096)
    """Most leaves of a tree."""
    min_leaf_rows: int = Field(default=500, ge=1)
    """Fewest training rows in a leaf."""
    feature_share: float = Field(default=0.5, gt=0.0, le=1.0)
    """Share of the features that a tree may use, drawn anew for each."""
    row_share: float = Field(default=0.5, gt=0.0, le=1.0)
    """Share of the training rows that a tree sees, drawn anew for each."""
    l2: float = Field(default=1.0, ge=0.0)
    """L2 penalty on the leaves' values."""
    max_bins: int = Field(default=63, ge=2, le=255)
    """Histogram bins of each feature."""
    stop_after: int | None = Field(default=None, ge=1)
    """Rounds without a smaller squared error on the held-out training days before the fit stops,
    at its best round; null = all `trees`. Validation days take no part."""
    held_out: float = Field(default=0.15, gt=0.0, le=0.5)
    """Share of the training days, the latest ones, held out for `stop_after`; days whose label
    reaches into them are left out."""


class ReversalConfig(ConfigModel):
    """No training: the score is minus the stock's return over the last `days` days."""

    kind: Literal["reversal"] = "reversal"
    days: int | None = Field(default=None, ge=1, le=252)
    """Days of return to reverse; null = the horizon of each score."""


def _derived_gat(gat: GatConfig, graph: GraphConfig, width: int) -> GatConfig:
    """The graph layers with a head count and a join for each. Raises PydanticCustomError."""
    layers, heads, concat = gat.layers, gat.heads, gat.concat
    if heads is None:
        heads = tuple(gcd(8 if layer == 0 else 4, width) for layer in range(layers))
    if concat is None:
        concat = tuple(layer < layers - 1 for layer in range(layers))
    for name, given in (("heads", heads), ("concat", concat)):
        if len(given) != layers:
            raise PydanticCustomError(
                "gat_list_length",
                "gat.{name} has {given} entries for {layers} layers: give one per layer, "
                "or leave it out and it is derived",
                {"name": name, "given": len(given), "layers": layers, "field": f"gat/{name}"},
            )
    for layer, (count, joined) in enumerate(zip(heads, concat, strict=True)):
        if joined and width % count:
            raise PydanticCustomError(
                "heads_width",
                "hidden_size {width} must be a multiple of the {count} heads of GAT layer "
                "{layer}, which are concatenated",
                {"width": width, "count": count, "layer": layer, "field": "gat/heads"},
            )
    if layers and graph.width == 0:
        raise PydanticCustomError(
            "graph_without_edges",
            "{layers} GAT layers need edges: set graph.neighbours or another of "
            "graph.*_neighbours above 0, or gat.layers to 0",
            {"layers": layers, "field": "graph/neighbours"},
        )
    return gat.model_copy(update={"heads": heads, "concat": concat})


def _derived_head(head: HeadConfig, width: int) -> HeadConfig:
    """The heads with a hidden width."""
    return head.model_copy(update={"hidden": head.hidden or max(1, width // 2)})


BY_GRADIENT = (AtftGatFanConfig, LstmConfig, GatOnlyConfig, MlpConfig)
"""Configurations of the models that learn step by step: several processes can share their days."""


def edges_of(model: ModelConfig) -> GraphConfig | None:
    """How the graph that a model needs is made; None = it needs none."""
    return model.edges if isinstance(model, AtftGatFanConfig | GatOnlyConfig) else None


def _fill(part: ConfigModel, name: str, value: Any) -> None:
    """Set a derived field of a frozen part while it is being validated."""
    part.__dict__[name] = value


ModelConfig = Annotated[
    Annotated[AtftGatFanConfig, Tag("atft_gat_fan")]
    | Annotated[LstmConfig, Tag("lstm")]
    | Annotated[GatOnlyConfig, Tag("gat_only")]
    | Annotated[MlpConfig, Tag("mlp")]
    | Annotated[LightGbmConfig, Tag("lightgbm")]
    | Annotated[LinearConfig, Tag("linear")]
    | Annotated[ReversalConfig, Tag("reversal")],
    Discriminator(kind_or("atft_gat_fan")),
]
