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
from gogooku3.losses.days import Days
from gogooku3.losses.huber import Huber
from gogooku3.losses.ic import Ic
from gogooku3.losses.listnet import ListNet
from gogooku3.losses.mse import Mse
from gogooku3.losses.pairwise import Pairwise
from gogooku3.losses.quantile import Quantile
from gogooku3.losses.sharpe import Sharpe
from gogooku3.losses.soft_spearman import SoftSpearman
from gogooku3.losses.student_t import StudentT
from gogooku3.losses.turnover import Turnover


class Term(Protocol):
    """One term of the loss: the days' value [B, K], finite and with a finite gradient, also for
    constant scores."""

    def __call__(self, days: Days) -> Tensor: ...


LOSSES: Mapping[str, Callable[[Any], Term]] = MappingProxyType(
    {
        "huber": Huber,
        "mse": Mse,
        "ic": Ic,
        "soft_spearman": SoftSpearman,
        "listnet": ListNet,
        "pairwise": Pairwise,
        "sharpe": Sharpe,
        "quantile": Quantile,
        "student_t": StudentT,
        "turnover": Turnover,
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

    def __init__(
        self, config: LossConfig, horizons: Sequence[int], device: torch.device | None = None
    ) -> None:
        weights = config.horizon_weights
        if weights is None:
            weights = {str(h): 1.0 for h in horizons}
        # Made once: a tensor made of numbers in each step would make the host wait for a GPU.
        self._weight_K = torch.tensor(
            [weights[str(h)] for h in horizons], dtype=torch.float64, device=device
        )
        self.terms = {
            term.kind: (term.weight, LOSSES[term.kind](term))
            for term in config.terms
            if term.weight > 0.0
        }
        self._auxiliary = Huber(HuberConfig())

    def __call__(
        self,
        score_BNK: Tensor,
        target_BNK: Tensor,
        valid_BNK: Tensor,
        *,
        weight_B: Tensor | None = None,
        distribution_BNKP: Tensor | None = None,
        aligned: bool = False,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and each term's own value (unweighted, detached) by kind.

        Args:
            score_BNK: the scores.
            target_BNK: what they are compared with.
            valid_BNK: where that is known.
            weight_B: what each day's share of the loss is multiplied by; None = 1.
            distribution_BNKP: what a head predicts beside the score.
            aligned: the days follow each other, and a place is the same stock on all of them.
        """
        with torch.autocast(score_BNK.device.type, enabled=False):
            days = Days(
                score_BNK,
                target_BNK,
                valid_BNK,
                self._weight_K,
                weight_B=weight_B,
                distribution_BNKP=distribution_BNKP,
                aligned=aligned,
            )
            total = days.nothing
            parts: dict[str, Tensor] = {}
            for kind, (weight, term) in self.terms.items():
                value = days.mean(term)
                total = total + weight * value
                parts[kind] = value.detach()
        return total, parts

    def auxiliary(
        self,
        score_BNK: Tensor,
        target_BNK: Tensor,
        valid_BNK: Tensor,
        *,
        weight_B: Tensor | None = None,
    ) -> Tensor:
        """FAN's auxiliary loss: a Huber loss of the main part's own score, same days and weights.

        Its weight (`model.fan.aux_weight`) is the training step's business.
        """
        with torch.autocast(score_BNK.device.type, enabled=False):
            days = Days(score_BNK, target_BNK, valid_BNK, self._weight_K, weight_B=weight_B)
            return days.nothing + days.mean(self._auxiliary)


def build_loss(
    config: LossConfig, horizons: Sequence[int], device: torch.device | None = None
) -> Loss:
    """The loss that a configuration describes, for scores of these horizons in this order, which
    lie on the device; None = the CPU."""
    return Loss(config, horizons, device)
