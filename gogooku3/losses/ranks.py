"""Exact ranks of known values and soft ranks of scores.

Shapes: B days, K horizons, N stocks, G grid points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gogooku3.losses import moments

_LEAST_RANGE = 1e-2
"""Least width of the grid, in standard deviations. Standardised scores span at least 2 unless
they are all but constant, and then a narrower grid would divide rounding errors by its step."""


def average_ranks(value_BKN: Tensor, valid_BKN: Tensor) -> Tensor:
    """Ranks 1..n of the valid values, ties averaged; 0 elsewhere. No gradient."""
    filled_BKN = value_BKN.detach().masked_fill(~valid_BKN, torch.inf).contiguous()
    sorted_BKN = filled_BKN.sort(dim=-1).values
    below_BKN = torch.searchsorted(sorted_BKN, filled_BKN)
    upto_BKN = torch.searchsorted(sorted_BKN, filled_BKN, right=True)
    rank_BKN = (below_BKN + upto_BKN + 1).to(value_BKN.dtype) / 2
    return torch.where(valid_BKN, rank_BKN, 0.0)


def soft_ranks(score_BKN: Tensor, valid_BKN: Tensor, *, temperature: float, bins: int) -> Tensor:
    """Share of the valid stocks that a score beats, each comparison a sigmoid; 0 elsewhere.

    rank_i = mean_j sigmoid((z_i - z_j) / temperature) with z the score over the day's standard
    deviation. Instead of N^2 comparisons the scores' distribution is held on `bins` points from
    the smallest to the largest: each score is shared between its two nearest points, the points
    are compared with each other (a convolution), and each score reads its rank back between
    the two. Time and memory grow with N + bins log bins. No step of it sorts, so the gradient
    is that of the value computed, grid ends included.
    """
    z_BKN = moments.standardise(score_BKN, valid_BKN)
    low_BK1 = z_BKN.masked_fill(~valid_BKN, torch.inf).amin(-1, keepdim=True)
    high_BK1 = z_BKN.masked_fill(~valid_BKN, -torch.inf).amax(-1, keepdim=True)
    step_BK1 = (high_BK1 - low_BK1).clamp(min=_LEAST_RANGE) / (bins - 1)
    place_BKN = torch.where(valid_BKN, (z_BKN - low_BK1) / step_BK1, 0.0)
    # A score that is not a number has no place: its share carries the NaN into the loss.
    left_BKN = place_BKN.detach().nan_to_num(nan=0.0).floor().clamp(0, bins - 2).long()
    share_BKN = place_BKN - left_BKN

    count_BK1 = valid_BKN.sum(-1, keepdim=True)
    on_left_BKN = torch.where(valid_BKN, 1.0 - share_BKN, 0.0) / count_BK1
    on_right_BKN = torch.where(valid_BKN, share_BKN, 0.0) / count_BK1
    mass_BKG = z_BKN.new_zeros((*z_BKN.shape[:2], bins))
    mass_BKG = mass_BKG.scatter_add(-1, left_BKN, on_left_BKN)
    mass_BKG = mass_BKG.scatter_add(-1, left_BKN + 1, on_right_BKN)

    beaten_BKG = _compare_points(mass_BKG, step_BK1 / temperature)
    left_rank_BKN = beaten_BKG.gather(-1, left_BKN)
    right_rank_BKN = beaten_BKG.gather(-1, left_BKN + 1)
    rank_BKN = left_rank_BKN + share_BKN * (right_rank_BKN - left_rank_BKN)
    return torch.where(valid_BKN, rank_BKN, 0.0)


def _compare_points(mass_BKG: Tensor, step_BK1: Tensor) -> Tensor:
    """sum_j mass_j sigmoid((i - j) step) for every point i, as a convolution by FFT."""
    bins = mass_BKG.shape[-1]
    distance = torch.arange(1 - bins, bins, device=mass_BKG.device, dtype=mass_BKG.dtype)
    kernel = torch.sigmoid(distance * step_BK1)
    length = 3 * bins - 2
    spectrum = torch.fft.rfft(mass_BKG, n=length) * torch.fft.rfft(kernel, n=length)
    compared: Tensor = torch.fft.irfft(spectrum, n=length)
    return compared[..., bins - 1 : 2 * bins - 1]
