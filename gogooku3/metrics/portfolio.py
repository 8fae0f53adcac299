"""The dollar-neutral decile portfolio of a score. Shapes: D days, N stocks.

Every day the best tenth is bought and the worst tenth sold short, equally weighted, one unit of
money a side, at the close at which the score is known (`lag_days` = 0), and held for h days.
The stocks are chosen among all scored ones: whether a stock will still trade h days later is not
known at t, so a leg earns the mean of its members whose return became known.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gogooku3.metrics.correlation import MIN_STOCKS, is_constant
from gogooku3.metrics.ranks import places

SHARE = 10
"""A leg holds one stock in this many."""


@dataclass(frozen=True)
class Portfolio:
    """A day's book and what it earned, each float64 [D]; NaN where undefined."""

    gross_D: Tensor
    """Long minus short return over the h days."""
    net_D: Tensor
    """The same minus the cost of the trades that made the book."""
    turnover_D: Tensor
    """Share of the book replaced since the book of h days before: 0 = kept, 1 = all of it. NaN in
    the first h days, which have no book before them (their net return pays for opening it)."""
    hit_rate_D: Tensor
    """Share of the long leg with a positive return."""
    base_rate_D: Tensor
    """Share of all stocks with a positive return."""


def decile_portfolio(
    score_DN: Tensor,
    scored_DN: Tensor,
    return_DN: Tensor,
    valid_DN: Tensor,
    *,
    horizon: int,
    cost_bps: float,
) -> Portfolio:
    """The portfolio of consecutive trading days; the stock axis must be the same on every day.

    Args:
        score_DN: higher = bought.
        scored_DN: bool, where there is a score.
        return_DN: forward return over `horizon` days, raw.
        valid_DN: bool, where that return is known; a subset of `scored_DN`.
        cost_bps: cost of trading, one way, in basis points of the traded value.
    """
    long_DN, short_DN = legs(score_DN, scored_DN)
    return_DN = return_DN.double().masked_fill(~valid_DN, 0.0)
    long_return_D = _mean(return_DN, long_DN * valid_DN)
    gross_D = long_return_D - _mean(return_DN, short_DN * valid_DN)

    book_DN = (long_DN - short_DN).nan_to_num(0.0)
    before_DN = torch.zeros_like(book_DN)
    before_DN[horizon:] = book_DN[:-horizon]
    traded_D = (book_DN - before_DN).abs().sum(dim=-1)
    held_D = book_DN.abs().sum(dim=-1) + before_DN.abs().sum(dim=-1)
    turnover_D = traded_D / held_D
    turnover_D[:horizon] = torch.nan

    up_DN = ((return_DN > 0) & valid_DN).double()
    return Portfolio(
        gross_D=gross_D,
        net_D=gross_D - traded_D * (cost_bps * 1e-4),
        turnover_D=turnover_D,
        hit_rate_D=_mean(up_DN, long_DN * valid_DN),
        base_rate_D=_mean(up_DN, valid_DN.double()),
    )


def legs(score_DN: Tensor, scored_DN: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of the long and the short leg, float64 [D, N], each summing to 1 a day.

    Ties across a leg's edge share what is left of it, so that the order of the stocks never
    matters. NaN on a day with fewer than `MIN_STOCKS` scores or with a constant score.
    """
    first_DN, last_DN = (at.double() for at in places(score_DN, scored_DN))
    count_D1 = scored_DN.sum(dim=-1, keepdim=True)
    size_D1 = (count_D1 // SHARE).clamp(min=1).double()
    tied_DN = (last_DN - first_DN).clamp(min=1.0)
    low_DN = (torch.minimum(last_DN, size_D1) - first_DN).clamp(min=0.0) / tied_DN
    edge_D1 = count_D1.double() - size_D1
    high_DN = (last_DN - torch.maximum(first_DN, edge_D1)).clamp(min=0.0) / tied_DN
    undefined_D = (count_D1.squeeze(-1) < MIN_STOCKS) | is_constant(score_DN, scored_DN)
    weights = []
    for member_DN in (high_DN, low_DN):
        weight_DN = (member_DN / size_D1).masked_fill(~scored_DN, 0.0)
        weights.append(weight_DN.masked_fill(undefined_D.unsqueeze(-1), torch.nan))
    return weights[0], weights[1]


def _mean(values_DN: Tensor, weight_DN: Tensor) -> Tensor:
    """Weighted mean of each day; NaN on a day without weight."""
    return (values_DN * weight_DN).sum(dim=-1) / weight_DN.sum(dim=-1)
