"""Optimisers and learning-rate schedules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from gogooku3.config.base import ConfigModel
from gogooku3.config.tagged import kind_or

Beta = Annotated[float, Field(ge=0.0, lt=1.0)]


class OptimizerBase(ConfigModel):
    """What every optimiser has."""

    lr: float = Field(default=1e-3, gt=0.0, le=10.0)
    """Highest learning rate; the schedule multiplies it."""
    weight_decay: float = Field(default=0.01, ge=0.0, le=10.0)
    """Decoupled weight decay, on weight matrices only (not on biases, norms or temperatures)."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decay of the running mean of the gradient, and of its square or its deviation."""
    clip_norm: float | None = Field(default=1.0, gt=0.0)
    """Gradients are scaled down to this norm; null = not clipped."""
    ema_decay: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Keep a running mean of the weights, of which each step replaces the share 1 - `ema_decay`,
    and evaluate and save that mean; null = the last weights themselves."""


class AdamWConfig(OptimizerBase):
    """AdamW (Loshchilov and Hutter, 2019), torch's fused step."""

    kind: Literal["adamw"] = "adamw"
    eps: float = Field(default=1e-8, gt=0.0)
    """Added to the denominator."""


class AdaBeliefConfig(OptimizerBase):
    """AdaBelief (Zhuang et al., NeurIPS 2020), the authors' package."""

    kind: Literal["adabelief"] = "adabelief"
    eps: float = Field(default=1e-16, gt=0.0)
    """Added to the variance and to the denominator."""
    rectify: bool = True
    """Rectify the early steps' variance, as RAdam does."""


class LionConfig(OptimizerBase):
    """Lion (Chen et al., NeurIPS 2023): steps of one size, whose signs are the momentum's. It wants
    a third to a tenth of AdamW's `lr`, and as many times its `weight_decay`."""

    kind: Literal["lion"] = "lion"
    lr: float = Field(default=1e-4, gt=0.0, le=10.0)
    """Highest learning rate; the schedule multiplies it."""
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    """Share of the momentum in a step's direction, and its own decay."""


OptimizerConfig = Annotated[
    Annotated[AdamWConfig, Tag("adamw")]
    | Annotated[AdaBeliefConfig, Tag("adabelief")]
    | Annotated[LionConfig, Tag("lion")],
    Discriminator(kind_or("adamw")),
]


class ConstantConfig(ConfigModel):
    """The same learning rate throughout."""

    kind: Literal["constant"] = "constant"


class WarmupCosineConfig(ConfigModel):
    """Linear warm-up, then one cosine down to `eta_min` at the last epoch."""

    kind: Literal["warmup_cosine"] = "warmup_cosine"
    warmup_epochs: float = Field(default=0.5, ge=0.0)
    """Epochs of the linear rise; may be a fraction."""
    eta_min: float = Field(default=0.0, ge=0.0)
    """Lowest learning rate."""


class CosineRestartsConfig(ConfigModel):
    """Cosine annealing with warm restarts (Loshchilov and Hutter, 2017), stepped per batch."""

    kind: Literal["cosine_restarts"] = "cosine_restarts"
    t_0: int = Field(default=3, ge=1)
    """Epochs of the first cycle."""
    t_mult: int = Field(default=2, ge=1)
    """Each cycle lasts this many times the one before."""
    eta_min: float = Field(default=5e-5, ge=0.0)
    """Lowest learning rate."""


class PlateauConfig(ConfigModel):
    """Lower the rate when `early_stopping.metric` has stopped getting better."""

    kind: Literal["plateau"] = "plateau"
    factor: float = Field(default=0.5, gt=0.0, lt=1.0)
    """What the rate is multiplied by."""
    patience: int = Field(default=2, ge=0)
    """Epochs without improvement by `early_stopping.min_delta` that are let pass first."""
    eta_min: float = Field(default=0.0, ge=0.0)
    """Lowest learning rate."""


SchedulerConfig = Annotated[
    Annotated[ConstantConfig, Tag("constant")]
    | Annotated[PlateauConfig, Tag("plateau")]
    | Annotated[WarmupCosineConfig, Tag("warmup_cosine")]
    | Annotated[CosineRestartsConfig, Tag("cosine_restarts")],
    Discriminator(kind_or("warmup_cosine")),
]
