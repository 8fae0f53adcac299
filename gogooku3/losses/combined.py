"""The training objective: a weighted sum of terms, each a mean over days and horizons.

Shapes: B days, N stocks, K horizons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor

from gogooku3.config import HuberConfig, LossConfig
from gogooku3.losses.huber import Huber
from gogooku3.losses.ic import Ic
from gogooku3.losses.listnet import ListNet
from gogooku3.losses.mse import Mse
from gogooku3.losses.soft_spearman import SoftSpearman

LEAST_STOCKS = 8
"""A day with fewer known returns says nothing about a ranking."""


class Term(Protocol):
    """One term of the loss.

    Called with score, target and mask, each [B, K, N] in float32 or float64, at least one stock
    valid; returns [B, K], finite and with a finite gradient, also for constant scores.
    """

    def __call__(self, score_BKN: Tensor, target_BKN: Tensor, valid_BKN: Tensor) -> Tensor: ...


LOSSES: Mapping[str, Callable[[Any], Term]] = MappingProxyType(
    {
        "huber": Huber,
        "mse": Mse,
        "ic": Ic,
        "soft_spearman": SoftSpearman,
        "listnet": ListNet,
    }
)
"""Each term's class by the `kind` that a spec names."""


class Loss:
    """Sum over terms of weight x (mean over days, then weighted mean over horizons).

    A day counts for a horizon if at least 8 stocks' returns are known and their targets are not
    all the same; a horizon counts if one of its days does. What does not count adds neither
    value nor gradient; where nothing counts the loss is a differentiable 0. Computed in float32
    at least, whatever the autocast.
    """

    def __init__(self, config: LossConfig, horizons: Sequence[int]) -> None:
        weights = config.horizon_weights
        if weights is None:
            weights = {str(h): 1.0 for h in horizons}
        self.horizon_weights = [weights[str(h)] for h in horizons]
        self.terms = {
            term.kind: (term.weight, LOSSES[term.kind](term))
            for term in config.terms
            if term.weight > 0.0
        }
        self._auxiliary = Huber(HuberConfig())

    def __call__(
        self, score_BNK: Tensor, target_BNK: Tensor, valid_BNK: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and each term's own value (unweighted, detached) by kind."""
        with torch.autocast(score_BNK.device.type, enabled=False):
            days = _Days(score_BNK, target_BNK, valid_BNK, self.horizon_weights)
            total = days.nothing
            parts: dict[str, Tensor] = {}
            for kind, (weight, term) in self.terms.items():
                value = days.mean(term)
                total = total + weight * value
                parts[kind] = value.detach()
        return total, parts

    def auxiliary(self, score_BNK: Tensor, target_BNK: Tensor, valid_BNK: Tensor) -> Tensor:
        """FAN's auxiliary loss: a Huber loss of the main part's own score, same days and weights.

        Its weight (`model.fan.aux_weight`) is the training step's business.
        """
        with torch.autocast(score_BNK.device.type, enabled=False):
            days = _Days(score_BNK, target_BNK, valid_BNK, self.horizon_weights)
            return days.nothing + days.mean(self._auxiliary)


class _Days:
    """The days and horizons that count, laid out with the stocks last."""

    def __init__(
        self,
        score_BNK: Tensor,
        target_BNK: Tensor,
        valid_BNK: Tensor,
        horizon_weights: Sequence[float],
    ) -> None:
        dtype = torch.promote_types(score_BNK.dtype, torch.float32)
        score_BKN = score_BNK.to(dtype).transpose(1, 2)
        self.nothing = score_BNK.sum().to(dtype) * 0.0
        valid_BKN = valid_BNK.transpose(1, 2).contiguous()
        target_BKN = torch.where(valid_BKN, target_BNK.to(dtype).transpose(1, 2), 0.0)
        top_BK = target_BKN.masked_fill(~valid_BKN, -torch.inf).amax(-1)
        bottom_BK = target_BKN.masked_fill(~valid_BKN, torch.inf).amin(-1)
        counts_BK = (valid_BKN.sum(-1) >= LEAST_STOCKS) & (top_BK > bottom_BK)
        # A day that does not count is given to the terms as a full day of zeros, cut from the
        # scores: no term ever meets an empty mask, and no NaN can come back as a gradient.
        self.valid_BKN = valid_BKN | ~counts_BK[..., None]
        self.score_BKN = torch.where(counts_BK[..., None] & valid_BKN, score_BKN, 0.0)
        self.target_BKN = torch.where(counts_BK[..., None], target_BKN, 0.0)
        self.counts_BK = counts_BK
        weight_K = torch.tensor(horizon_weights, dtype=dtype, device=score_BNK.device)
        share_BK = counts_BK / counts_BK.sum(0).clamp(min=1) * weight_K
        self.share_BK = share_BK / share_BK.sum().clamp(min=torch.finfo(dtype).tiny)

    def mean(self, term: Term) -> Tensor:
        """The term's mean over days, then weighted mean over horizons."""
        value_BK = term(self.score_BKN, self.target_BKN, self.valid_BKN)
        return (torch.where(self.counts_BK, value_BK, 0.0) * self.share_BK).sum()


def build_loss(config: LossConfig, horizons: Sequence[int]) -> Loss:
    """The loss that a configuration describes, for scores of these horizons in this order."""
    return Loss(config, horizons)
