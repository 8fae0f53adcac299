"""Ranks within a day, ties averaged. Shapes: D days, N stocks."""

from __future__ import annotations

import torch
from torch import Tensor


def places(values_DN: Tensor, valid_DN: Tensor) -> tuple[Tensor, Tensor]:
    """The stretch of places `(first, last]` that each valid value shares with its ties.

    Sorted upwards, the day's valid values take the places 0..n; a value without ties has
    `last - first == 1`. Both are int64 [D, N] and mean nothing where `valid_DN` is false. Valid
    values must be finite.
    """
    held_DN = values_DN.masked_fill(~valid_DN, torch.inf).contiguous()
    sorted_DN = held_DN.sort(dim=-1).values
    first_DN = torch.searchsorted(sorted_DN, held_DN, right=False)
    last_DN = torch.searchsorted(sorted_DN, held_DN, right=True)
    return first_DN, last_DN


def average_ranks(values_DN: Tensor, valid_DN: Tensor) -> Tensor:
    """Ranks 1..n of each day's valid values, ties averaged; float64 [D, N], 0 where not valid."""
    first_DN, last_DN = places(values_DN, valid_DN)
    rank_DN = (first_DN + last_DN + 1).double() / 2
    return rank_DN.masked_fill(~valid_DN, 0.0)
