"""The strongest frequencies of every row's own trailing window, at the row itself.

Shapes: L days, S sequences, D scored days, F features, W days of a trailing window, J bins
(W // 2 + 1), P = top_k picked bins, Q a tile of the S * F columns.

With the phase counted from the window's last day, bin j of a window adds c_j Re X_j / W to the
value of that day: one real product with W rows of coefficients gives all that is needed. It is
taken tile by tile, so that the spectra (ten times the input) never leave the cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

_TILE = {"cpu": 1 << 14, "cuda": 1 << 24}
"""Columns that are decomposed at a time."""
_TIE = 1e-5
"""By this share of its strength a bin gives way to each lower one: equal amplitudes (an impulse has
only such) are then told apart by frequency, not by the last digit of a sum."""


@dataclass(frozen=True)
class Strongest:
    """What `strongest_at_each_row` finds."""

    residual_LSF: Tensor
    """Row less its main part, of the last L - W + 1 days; 0 on absent days."""
    last_DSF: Tensor
    """The main part at the scored rows."""
    slope_DSF: Tensor
    """Its change from the day before within the same decomposition."""
    amplitude_DSFP: Tensor
    """Amplitudes |X| / W of the picked bins, largest first."""


@torch.no_grad()
def strongest_at_each_row(
    x_LSF: Tensor, present_LS: Tensor, window: int, top_k: int, days: int
) -> Strongest:
    """Decompose the trailing `window` of each row from the `window`-th on; the last `days` rows are
    scored. An absent day carries the mean of the window's present ones. In float32."""
    length, stocks, features = x_LSF.shape
    rows = length - window + 1
    scored_DSF = x_LSF.new_empty((days, stocks, features), dtype=torch.float32)
    out = Strongest(
        x_LSF.new_empty((rows, stocks, features), dtype=torch.float32),
        scored_DSF,
        torch.empty_like(scored_DSF),
        x_LSF.new_empty((days, stocks, features, top_k), dtype=torch.float32),
    )
    with torch.autocast(x_LSF.device.type, enabled=False):
        x_LSF = x_LSF.float()
        if x_LSF.device.type != "cpu":  # to find the absent days would stop the device
            x_LSF = x_LSF.masked_fill(~present_LS[..., None], 0.0)
            _decompose(x_LSF, present_LS, out, window, top_k)
            return out
        _decompose(x_LSF, None, out, window, top_k)
        # Few stocks have absent days: they are decomposed again, with what these change.
        at_S = (~present_LS.all(0)).nonzero().flatten()
        if len(at_S):
            some = Strongest(*(part[:, at_S] for part in vars(out).values()))
            present_LS = present_LS[:, at_S]
            x_LSF = x_LSF[:, at_S].masked_fill_(~present_LS[..., None], 0.0)
            _decompose(x_LSF, present_LS, some, window, top_k)
            for whole, part in zip(vars(out).values(), vars(some).values(), strict=True):
                whole.index_copy_(1, at_S, part)
    return out


@dataclass(frozen=True)
class _Basis:
    """Coefficients of a window of W days, phase counted from its last day."""

    rows_WW: Tensor
    """Real parts of the J bins, then imaginary parts of those that have one; over W, each bin
    weakened by `_TIE` for each bin below it."""
    at_last_J1: Tensor
    """What a bin's real part counts for in the last day's value."""
    real_to_slope_J1: Tensor
    imaginary_to_slope_J1: Tensor
    """What they count for in the change from the day before, of bins with an imaginary part."""
    first: slice
    """The bins that have an imaginary part."""

    @classmethod
    @cache
    def of(cls, window: int, device: torch.device) -> _Basis:
        """Made once: moving it to a GPU in every step would make the host wait there."""
        with torch.inference_mode(False):
            return cls._made(window, device)

    @classmethod
    def _made(cls, window: int, device: torch.device) -> _Basis:
        # In float64: a table in float32 is wrong in the fourth digit of a large constant.
        bins = window // 2 + 1
        paired = slice(1, (window + 1) // 2)
        bin_J = torch.arange(bins, dtype=torch.float64)
        angle_JW = (
            2.0
            * math.pi
            * bin_J[:, None]
            * torch.arange(1 - window, 1, dtype=torch.float64)
            / window
        )
        weak_J1 = ((1.0 - _TIE) ** bin_J)[:, None]
        real_JW = angle_JW.cos() * weak_J1 / window
        imaginary_JW = -angle_JW.sin() * weak_J1 / window
        count_J1 = torch.ones(bins, 1, dtype=torch.float64)
        count_J1[paired] = 2.0
        count_J1 = count_J1 / weak_J1
        turn_J1 = (2.0 * math.pi * bin_J / window)[:, None]
        rows_WW = torch.cat((real_JW, imaginary_JW[paired]))
        parts = (
            rows_WW,
            count_J1,
            count_J1 * (1.0 - turn_J1.cos()),
            -(count_J1 * turn_J1.sin())[paired],
        )
        moved = [part.to(device, torch.float32) for part in parts]
        return cls(moved[0], moved[1], moved[2], moved[3], paired)


def _decompose(
    x_LSF: Tensor, present_LS: Tensor | None, out: Strongest, window: int, top_k: int
) -> None:
    length, stocks, features = x_LSF.shape
    basis = _Basis.of(window, x_LSF.device)
    bins = len(basis.at_last_J1)
    rows = length - window + 1
    unscored = rows - len(out.last_DSF)
    step = max(1, _TILE.get(x_LSF.device.type, _TILE["cuda"]) // features)
    for first in range(0, stocks, step):
        tile = slice(first, min(first + step, stocks))
        x_LQ = x_LSF[:, tile].flatten(1)
        for row in range(rows):
            spectrum_WQ = basis.rows_WW @ x_LQ[row : row + window]
            if present_LS is not None:
                _add_absent(spectrum_WQ, present_LS[row : row + window, tile], basis)
            real_JQ, imaginary_JQ = spectrum_WQ[:bins], spectrum_WQ[bins:]
            power_JQ = real_JQ.square()
            power_JQ[basis.first].addcmul_(imaginary_JQ, imaginary_JQ)
            strongest = _strongest(power_JQ, top_k)
            picked_JQ = power_JQ.ge(strongest[-1])
            kept_JQ = real_JQ * picked_JQ
            main_Q = (basis.at_last_J1.T @ kept_JQ).squeeze(0)
            residual_Q = x_LQ[row + window - 1] - main_Q
            out.residual_LSF[row, tile] = residual_Q.view(-1, features)
            if row < unscored:
                continue
            day = row - unscored
            out.last_DSF[day, tile] = main_Q.view(-1, features)
            slope_Q = (basis.real_to_slope_J1.T @ kept_JQ).squeeze(0)
            turned_JQ = imaginary_JQ.mul_(picked_JQ[basis.first])
            slope_Q += (basis.imaginary_to_slope_J1.T @ turned_JQ).squeeze(0)
            out.slope_DSF[day, tile] = slope_Q.view(-1, features)
            amplitude_QP = torch.stack(strongest, dim=-1).sqrt_()
            out.amplitude_DSFP[day, tile] = amplitude_QP.view(-1, features, top_k)
    if present_LS is not None:
        out.residual_LSF.mul_(present_LS[window - 1 :, :, None])


def _add_absent(spectrum_WQ: Tensor, present_WS: Tensor, basis: _Basis) -> None:
    """Let absent days, which count as 0 so far, carry the mean of the present ones."""
    window = len(present_WS)
    share_S = present_WS.sum(0) / window
    stocks = present_WS.shape[1]
    mean_SF = spectrum_WQ[0].view(stocks, -1) / share_S.clamp(min=1.0 / window)[:, None]
    absent_WS = basis.rows_WW @ (~present_WS).float()
    spectrum_WQ.view(window, stocks, -1).addcmul_(absent_WS[..., None], mean_SF)


def _strongest(power_JQ: Tensor, top_k: int) -> list[Tensor]:
    """The `top_k` largest of the J values of each column, largest first, by one insertion each:
    several times faster than sorting short columns."""
    found: list[Tensor] = []
    for value_Q in power_JQ:
        for place in range(len(found)):
            larger_Q = torch.maximum(found[place], value_Q)
            if place + 1 < top_k:
                value_Q = torch.minimum(found[place], value_Q)
            found[place] = larger_Q
        if len(found) < top_k:
            found.append(value_Q)
    return found
