"""Correlations across the stocks of a day. Shapes: D days, N stocks."""

from __future__ import annotations

import torch
from torch import Tensor

from gogooku3.metrics.ranks import average_ranks

MIN_STOCKS = 8
"""A day with fewer stocks has no cross-section to speak of: its metrics are undefined."""


def pearson(x_DN: Tensor, y_DN: Tensor, valid_DN: Tensor) -> Tensor:
    """Pearson correlation of each day's valid stocks, float64 [D].

    NaN where a day has fewer than `MIN_STOCKS` valid stocks or either side is constant: the
    correlation of a constant is undefined, not 0.
    """
    x_DN = x_DN.double().masked_fill(~valid_DN, 0.0)
    y_DN = y_DN.double().masked_fill(~valid_DN, 0.0)
    count_D = valid_DN.sum(dim=-1)
    x_DN = _centred(x_DN, valid_DN, count_D)
    y_DN = _centred(y_DN, valid_DN, count_D)
    scale_D = (x_DN.square().sum(dim=-1) * y_DN.square().sum(dim=-1)).sqrt()
    value_D = (x_DN * y_DN).sum(dim=-1) / scale_D
    return value_D.masked_fill(count_D < MIN_STOCKS, torch.nan).clamp(-1.0, 1.0)


def rank_correlation(x_DN: Tensor, y_DN: Tensor, valid_DN: Tensor) -> Tensor:
    """Spearman's correlation, ties averaged, of each day's valid stocks; float64 [D], NaN as in
    `pearson`."""
    return pearson(average_ranks(x_DN, valid_DN), average_ranks(y_DN, valid_DN), valid_DN)


def is_constant(values_DN: Tensor, valid_DN: Tensor) -> Tensor:
    """Whether a day's valid values are all the same; bool [D]."""
    lowest_D = values_DN.masked_fill(~valid_DN, torch.inf).amin(dim=-1)
    highest_D = values_DN.masked_fill(~valid_DN, -torch.inf).amax(dim=-1)
    return lowest_D >= highest_D


def _centred(values_DN: Tensor, valid_DN: Tensor, count_D: Tensor) -> Tensor:
    """Values minus the day's mean, 0 where not valid, exactly 0 everywhere on a constant day."""
    mean_D1 = values_DN.sum(dim=-1, keepdim=True) / count_D.clamp(min=1).unsqueeze(-1)
    flat_D1 = is_constant(values_DN, valid_DN).unsqueeze(-1)
    return (values_DN - mean_D1).masked_fill(~valid_DN | flat_D1, 0.0)
