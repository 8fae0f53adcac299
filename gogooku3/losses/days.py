"""What a term of the loss sees. Shapes: B days, N stocks, K horizons, P values beside the score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from gogooku3.losses.combined import Term

LEAST_STOCKS = 8
"""A day with fewer known returns says nothing about a ranking."""


class Days:
    """Cross-sections with the stocks last; at least one stock of each is valid.

    A day that does not count is given to the terms as a full day of zeros, cut from the scores:
    no term ever meets an empty mask, and no NaN can come back as a gradient.
    """

    score_BKN: Tensor
    """Float32 or float64; 0 where not valid."""
    target_BKN: Tensor
    valid_BKN: Tensor
    counts_BK: Tensor
    """The day counts for the horizon: enough stocks known, and their targets not all the same."""
    distribution_BKNP: Tensor | None
    """What a head predicts beside the score (see `nn.distribution_heads`); 1 where not valid."""
    aligned: bool
    """The days follow each other, and a place is the same stock on all of them."""

    def __init__(
        self,
        score_BNK: Tensor,
        target_BNK: Tensor,
        valid_BNK: Tensor,
        weight_K: Tensor,
        *,
        weight_B: Tensor | None = None,
        distribution_BNKP: Tensor | None = None,
        aligned: bool = False,
    ) -> None:
        """Take `weight_K` as the horizons' weights in the mean, and multiply each day's share of it
        by `weight_B`; None = 1."""
        dtype = torch.promote_types(score_BNK.dtype, torch.float32)
        score_BKN = score_BNK.to(dtype).transpose(1, 2)
        self.nothing = score_BNK.sum().to(dtype) * 0.0
        """A differentiable zero."""
        valid_BKN = valid_BNK.transpose(1, 2).contiguous()
        target_BKN = torch.where(valid_BKN, target_BNK.to(dtype).transpose(1, 2), 0.0)
        top_BK = target_BKN.masked_fill(~valid_BKN, -torch.inf).amax(-1)
        bottom_BK = target_BKN.masked_fill(~valid_BKN, torch.inf).amin(-1)
        counts_BK = (valid_BKN.sum(-1) >= LEAST_STOCKS) & (top_BK > bottom_BK)
        used_BKN = counts_BK[..., None] & valid_BKN
        self.valid_BKN = valid_BKN | ~counts_BK[..., None]
        self.score_BKN = torch.where(used_BKN, score_BKN, 0.0)
        self.target_BKN = torch.where(counts_BK[..., None], target_BKN, 0.0)
        self.counts_BK = counts_BK
        self.distribution_BKNP = None
        if distribution_BNKP is not None:
            self.distribution_BKNP = torch.where(
                used_BKN[..., None], distribution_BNKP.to(dtype).transpose(1, 2), 1.0
            )
        self.aligned = aligned
        share_BK = counts_BK / counts_BK.sum(0).clamp(min=1) * weight_K.to(dtype)
        self._share_BK = share_BK / share_BK.sum().clamp(min=torch.finfo(dtype).tiny)
        if weight_B is not None:
            self._share_BK = self._share_BK * weight_B.to(dtype)[:, None]

    def mean(self, term: Term) -> Tensor:
        """The term's mean over days, each times its weight, then weighted mean over horizons."""
        return (torch.where(self.counts_BK, term(self), 0.0) * self._share_BK).sum()

    def of_distribution(self, kind: str) -> Tensor:
        """What the head of a kind predicts beside the score. Raises ValueError without one."""
        if self.distribution_BKNP is None:
            raise ValueError(f"the loss has a {kind} term, but the model predicts scores alone")
        return self.distribution_BKNP
