"""Frequency adaptive normalisation, window form (Ye, Deng, Zou, Gui, NeurIPS 2024).

Shapes: S windows (one per stock and day), T look-back days, F features, J frequency bins of
rFFT over T (T // 2 + 1), P = top_k picked bins, K horizons.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class FanParts:
    """A window taken apart: residual + main = the window on every present day."""

    residual_SFT: Tensor
    """What the encoder sees; 0 on absent days."""
    main_SFT: Tensor
    """The non-stationary part: the picked bins, transformed back."""
    amplitude_SFP: Tensor
    """Amplitudes |X| / T of the picked bins, largest first."""


def split_main(x_SFT: Tensor, present_ST: Tensor, top_k: int) -> FanParts:
    """Take the `top_k` bins of largest amplitude (DC included) out of each window and feature.

    An absent day is treated as carrying the mean of the window's present days: it adds nothing to
    any frequency but DC, where it leaves the mean as it is. So a window's decomposition depends on
    its present days alone. Computed in float32 whatever the autocast.

    Raises ValueError unless 1 <= top_k < T // 2 + 1 (at least one bin must be left).
    """
    days = x_SFT.shape[-1]
    if not 1 <= top_k < days // 2 + 1:
        raise ValueError(f"top_k {top_k} must be in 1..{days // 2} for a look-back of {days} days")
    present_S1T = present_ST[:, None, :]
    x_SFT = torch.where(present_S1T, x_SFT, 0.0)
    count_S11 = present_S1T.sum(-1, keepdim=True).clamp(min=1)
    mean_SF1 = x_SFT.sum(-1, keepdim=True) / count_S11
    filled_SFT = torch.where(present_S1T, x_SFT, mean_SF1)

    spectrum_SFJ = torch.fft.rfft(filled_SFT, norm="forward")
    amplitude_SFP, picked_SFP = spectrum_SFJ.abs().topk(top_k, dim=-1)
    kept_SFJ = torch.zeros_like(spectrum_SFJ).scatter(
        -1, picked_SFP, spectrum_SFJ.gather(-1, picked_SFP)
    )
    main_SFT = torch.fft.irfft(kept_SFJ, n=days, norm="forward")
    residual_SFT = torch.where(present_S1T, filled_SFT - main_SFT, 0.0)
    return FanParts(residual_SFT, main_SFT, amplitude_SFP)


class MainHead(nn.Module):
    """A term per horizon from the main part: FAN's reversible step for scores.

    The paper predicts the future main part and adds it to the forecast. A score is no series, so
    a perceptron sees the main part's last value, last slope and amplitudes, and its output is
    added to the scores.
    """

    def __init__(
        self, *, features: int, top_k: int, hidden: int, horizons: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features * (2 + top_k), hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, horizons),
        )

    def forward(self, parts: FanParts) -> Tensor:
        """parts of S windows -> score_SK."""
        last_SF = parts.main_SFT[..., -1]
        slope_SF = last_SF - parts.main_SFT[..., -2]
        seen = torch.cat((last_SF, slope_SF, parts.amplitude_SFP.flatten(1)), dim=-1)
        score_SK: Tensor = self.layers(seen)
        return score_SK
