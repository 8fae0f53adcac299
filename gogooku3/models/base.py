"""What every model is: a module that turns a batch into scores, and how it learns.

Shapes: B days, N stocks, T look-back days, F features, K horizons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor, nn

from gogooku3.data.batch import Batch

Learns = Literal["gradient", "fit", "nothing"]
"""How a model learns: step by step, by one call of `fit`, or not at all."""


@dataclass(frozen=True)
class ModelShape:
    """What the data fix of a model: part of a checkpoint's signature."""

    features: tuple[str, ...]
    """Feature names in the order of the last axis of x_BNTF."""
    lookback: int
    horizons: tuple[int, ...]
    sectors: int
    """Number of sector ids, 0 (= unknown) included."""
    edge_features: int
    """E; 0 for a model without a graph."""


@dataclass(frozen=True)
class ModelOutput:
    """Scores, and what training and reports need beside them."""

    score_BNK: Tensor
    """Higher = a higher expected return. 0 in padded places."""
    distribution_BNKP: Tensor | None = None
    """What a head predicts beside the score (`nn.distribution_heads`)."""
    main_score_BNK: Tensor | None = None
    """The part of the score that comes from FAN's main signal, for its auxiliary loss."""
    reports: dict[str, Tensor] = field(default_factory=dict)
    """Detached summaries by name, e.g. `selection_F`: mean weight of each feature."""


class Model(nn.Module):
    """A model of any kind. Subclasses set `learns` and implement `forward`."""

    learns: ClassVar[Learns] = "gradient"

    def forward(self, batch: Batch) -> ModelOutput:
        """Scores of one batch."""
        raise NotImplementedError

    def fit(self, batches: Iterable[Batch], check: Callable[[], None] = lambda: None) -> None:
        """Learn from one pass over the training days.

        Args:
            batches: whole days, earliest first; each is used before the next is asked for.
            check: called now and then after the pass; what it raises ends the fit.

        Raises TypeError for a model that learns in another way.
        """
        raise TypeError(f"{type(self).__name__} learns by {self.learns}, not by fit()")
