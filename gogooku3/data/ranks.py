"""Ranks within a day, many days at once.

Shapes: T market days, N stocks, D days of a block, G stocks of a group.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

BLOCK_VALUES = 1 << 18
"""Days are ranked in blocks of about so many values, which fit a processor's cache."""


def midranks(x_TN: Float, counted_TN: Bool) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Place each value among its day's counted values.

    Returns:
        middle_TN: for each finite value, the number of counted values below it plus half of those
            equal to it, itself included (so the average rank - 1/2); others are 0. It is made of
            whole numbers only, so it doesn't depend on who else is in the table.
        size_T: how many values count.
    """
    middle_TN = np.zeros(x_TN.shape)
    size_T = np.zeros(len(x_TN), dtype=np.int64)
    step = max(1, BLOCK_VALUES // max(1, x_TN.shape[1]))
    for start in range(0, len(x_TN), step):
        days = slice(start, start + step)
        size_T[days] = _rank_block(x_TN[days], counted_TN[days], middle_TN[days])
    return middle_TN, size_T


def _rank_block(x_DN: Float, counted_DN: Bool, middle_DN: Float) -> NDArray[np.int64]:
    known_DN = np.isfinite(x_DN)
    # Unknown values lie behind all others, where they count for nothing.
    order_DN = np.argsort(np.where(known_DN, x_DN, np.inf), axis=1)
    sorted_DN = np.take_along_axis(x_DN, order_DN, axis=1)
    counts_DN = np.take_along_axis(counted_DN & known_DN, order_DN, axis=1)
    up_to_DN = np.cumsum(counts_DN, axis=1, dtype=np.int32)
    below_DN = up_to_DN - counts_DN
    tied_DN = sorted_DN[:, 1:] == sorted_DN[:, :-1]
    for day in np.flatnonzero(tied_DN.any(axis=1)):
        # Equal values lie between the same two numbers.
        first = np.flatnonzero(np.append(True, ~tied_DN[day]))
        lengths = np.diff(np.append(first, x_DN.shape[1]))
        below_DN[day] = np.repeat(below_DN[day, first], lengths)
        up_to_DN[day] = np.repeat(up_to_DN[day, first + lengths - 1], lengths)
    np.put_along_axis(middle_DN, order_DN, (below_DN + up_to_DN) * 0.5, axis=1)
    middle_DN[~known_DN] = 0.0
    size_D: NDArray[np.int64] = np.count_nonzero(counted_DN & known_DN, axis=1)
    return size_D


def group_rank(x_TN: Float, group_N: NDArray[np.int32], counted_TN: Bool) -> Float:
    """Per day and group, the share of the counted stocks' known values below each value, half of
    the equal ones included; unknown for group -1 and for groups with fewer than two of them."""
    rank_TN = np.full(x_TN.shape, np.nan)
    for group in range(int(group_N.max(initial=-1)) + 1):
        inside_G = np.flatnonzero(group_N == group)
        x_TG = x_TN[:, inside_G]
        middle_TG, size_T = midranks(x_TG, counted_TN[:, inside_G])
        share_TG = middle_TG / np.maximum(size_T, 1)[:, None]
        is_known_TG = np.isfinite(x_TG) & (size_T >= 2)[:, None]
        rank_TN[:, inside_G] = np.where(is_known_TG, share_TG, np.nan)
    return rank_TN
