"""Frequency adaptive normalisation (Ye, Deng, Zou, Gui, NeurIPS 2024), per window or per row.

Shapes: L days of a sequence, S sequences, D scored days at its end, T days of a window, F features,
W days of a decomposition, J its frequency bins (W // 2 + 1), P = top_k picked bins, K horizons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from gogooku3.nn.dropout import Dropout
from gogooku3.nn.trailing_spectrum import strongest_at_each_row


@dataclass(frozen=True)
class MainPart:
    """What is told of the main part at each scored day."""

    last_DSF: Tensor
    """Its value there."""
    slope_DSF: Tensor
    """Its change since the day before."""
    amplitude_DSFP: Tensor
    """Amplitudes |X| / W of the picked bins, largest first."""


@dataclass(frozen=True)
class FanParts:
    """Sequences taken apart: the residual for the encoder, the main part for its own score."""

    residual_LSF: Tensor
    """The days that have a decomposition, the last ones of the sequence; 0 on absent days."""
    main: MainPart


class Fan(Protocol):
    """A form of the normalisation: how days are decomposed. It has no parameters."""

    top_k: int

    def __call__(self, x_LSF: Tensor, present_LS: Tensor, days: int) -> FanParts:
        """Take sequences apart whose last `days` days are scored."""
        ...


class WindowFan:
    """The published form: one decomposition of the whole look-back, so one scored day a sequence.

    An absent day is treated as carrying the mean of the window's present days: it adds nothing to
    any frequency but DC, where it leaves the mean as it is. So a window's decomposition depends on
    its present days alone. Computed in float32 whatever the autocast.
    """

    def __init__(self, *, window: int, top_k: int) -> None:
        """Raises ValueError unless 1 <= top_k < W // 2 + 1 (at least one bin must be left)."""
        _check(window, top_k)
        self.window, self.top_k = window, top_k

    def __call__(self, x_LSF: Tensor, present_LS: Tensor, days: int) -> FanParts:
        """Raises ValueError for more than one scored day, or a sequence that is no window."""
        if days != 1 or x_LSF.shape[0] != self.window:
            raise ValueError(
                f"one decomposition of {self.window} days serves one scored day: "
                f"given {x_LSF.shape[0]} days and {days} scored ones"
            )
        residual_SFT, main_SFT, amplitude_SFP = split_window(
            x_LSF.permute(1, 2, 0), present_LS.T, self.top_k
        )
        last_SF = main_SFT[..., -1]
        main = MainPart(
            last_SF[None], (last_SF - main_SFT[..., -2])[None], amplitude_SFP[None].contiguous()
        )
        return FanParts(residual_SFT.permute(2, 0, 1), main)


class StreamingFan:
    """The causal form: each row less the main part of its own trailing `window` days, at itself.

    A row's residual depends on that row and the days before it, never on where the look-back
    begins: rows that several windows share have one residual. The first `window` - 1 days of a
    sequence only serve those after them. Absent days are treated as in `WindowFan`.
    """

    def __init__(self, *, window: int, top_k: int) -> None:
        """Raises ValueError unless 1 <= top_k < W // 2 + 1 (at least one bin must be left)."""
        _check(window, top_k)
        self.window, self.top_k = window, top_k

    def __call__(self, x_LSF: Tensor, present_LS: Tensor, days: int) -> FanParts:
        """The residual of the last L - W + 1 days. Inputs carry no gradient through here.

        Raises ValueError when the sequence is too short for its scored days.
        """
        if x_LSF.shape[0] < self.window + days - 1:
            raise ValueError(
                f"{x_LSF.shape[0]} days are too few for {days} scored ones and a window of "
                f"{self.window}"
            )
        found = strongest_at_each_row(x_LSF, present_LS, self.window, self.top_k, days)
        main = MainPart(found.last_DSF, found.slope_DSF, found.amplitude_DSFP)
        return FanParts(found.residual_LSF, main)


def split_window(x_SFT: Tensor, present_ST: Tensor, top_k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Take the `top_k` bins of largest amplitude (DC included) out of each window and feature.

    Returns residual_SFT (0 on absent days), main_SFT and the picked bins' amplitudes
    amplitude_SFP: residual + main = the window on every present day.
    """
    days = x_SFT.shape[-1]
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
    return residual_SFT, main_SFT, amplitude_SFP


def _check(window: int, top_k: int) -> None:
    if not 1 <= top_k < window // 2 + 1:
        raise ValueError(f"top_k {top_k} must be in 1..{window // 2} for a window of {window} days")


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
            Dropout(dropout),
            nn.Linear(hidden, horizons),
        )

    def forward(self, main: MainPart) -> Tensor:
        """The main part of D days and S sequences -> score_DSK."""
        told = (main.last_DSF, main.slope_DSF, main.amplitude_DSFP.flatten(-2))
        score_DSK: Tensor = self.layers(torch.cat(told, dim=-1))
        return score_DSK
