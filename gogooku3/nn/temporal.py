"""Temporal encoders: the days of a sequence into an embedding of each scored day.

Shapes: L days of a sequence, S sequences, Q scored days at its end, A ages, D hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gogooku3.nn.attention import BandedAttention, LastQueryAttention
from gogooku3.nn.grn import GatedResidual, GatedResidualNetwork


@dataclass(frozen=True)
class Encoded:
    """What an encoder makes of sequences."""

    h_QSD: Tensor
    """Embedding of each scored day."""
    weight_QSA: Tensor
    """Attention by age, 0 = the scored day, averaged over the heads; without gradient."""


class AttentionEncoder(nn.Module):
    """GRN with static enrichment, then banded attention of the scored days.

    Up to the attention each day is encoded alone, so a day that several look-backs share is
    encoded once: a sequence may end in any number of scored days, and each embedding is that of
    its look-back alone.
    """

    def __init__(self, *, width: int, heads: int, ages: int, dropout: float) -> None:
        super().__init__()
        self.enter = GatedResidualNetwork(width, width, width, dropout=dropout, context=width)
        self.attention = BandedAttention(width=width, heads=heads, ages=ages, dropout=dropout)
        self.attention_gate = GatedResidual(width, width, dropout)
        self.refine = GatedResidualNetwork(width, width, width, dropout=dropout)
        self.leave = GatedResidual(width, width, dropout)

    def forward(self, x_LSD: Tensor, present_LS: Tensor, context_SD: Tensor) -> Encoded:
        """Embeddings of the last L - A + 1 days; absent days are attended to by none."""
        rich_LSD = self.enter(x_LSD, context_SD)
        attended_QSD, weight_QSA = self.attention(rich_LSD, present_LS)
        last_QSD = rich_LSD[len(rich_LSD) - len(attended_QSD) :]
        refined_QSD = self.refine(self.attention_gate(attended_QSD, last_QSD))
        return Encoded(self.leave(refined_QSD, last_QSD), weight_QSA)


class LstmAttentionEncoder(nn.Module):
    """GRN, LSTM, static enrichment and last-query attention, each behind a gated residual.

    The LSTM's state begins with the look-back, so a sequence is one look-back and ends in one
    scored day. It runs over the present days only; ages count these.
    """

    def __init__(self, *, width: int, heads: int, lstm_layers: int, dropout: float) -> None:
        super().__init__()
        self.enter = GatedResidualNetwork(width, width, width, dropout=dropout)
        self.lstm = nn.LSTM(width, width, lstm_layers, dropout=dropout if lstm_layers > 1 else 0.0)
        self.lstm_gate = GatedResidual(width, width, dropout)
        self.enrich = GatedResidualNetwork(width, width, width, dropout=dropout, context=width)
        self.attention = LastQueryAttention(width=width, heads=heads, dropout=dropout)
        self.attention_gate = GatedResidual(width, width, dropout)
        self.refine = GatedResidualNetwork(width, width, width, dropout=dropout)
        self.leave = GatedResidual(width, width, dropout)

    def forward(self, x_LSD: Tensor, present_LS: Tensor, context_SD: Tensor) -> Encoded:
        """Embedding of each sequence's last present day."""
        order_LS, count_S = present_first(present_LS)
        x_LSD = self.enter(x_LSD.gather(0, order_LS[..., None].expand_as(x_LSD)))
        seen_LSD = self.lstm_gate(self.lstm(x_LSD)[0], x_LSD)
        rich_LSD = self.enrich(seen_LSD, context_SD)
        step_L1 = torch.arange(len(x_LSD), device=x_LSD.device)[:, None]
        last_SD = _at(rich_LSD, count_S - 1)
        attended_1SD, weight_S1L = self.attention(last_SD[None], rich_LSD, step_L1 < count_S)
        refined_SD = self.refine(self.attention_gate(attended_1SD[0], last_SD))
        h_SD = self.leave(refined_SD, _at(seen_LSD, count_S - 1))
        age_LS = (count_S - 1 - step_L1) % len(x_LSD)
        weight_SA = weight_S1L.detach().squeeze(1).gather(1, age_LS.T)
        return Encoded(h_SD[None], weight_SA[None])


def present_first(present_LS: Tensor) -> tuple[Tensor, Tensor]:
    """Order that puts each sequence's present days first, oldest first, and their count.

    A recurrent layer that runs over days in this order has seen exactly the present days after
    `count` steps, with no state change on absent ones: what follows is never read.
    Returns order_LS (the day to take at each step) and count_S (at least 1).
    """
    order_SL = torch.argsort(present_LS.T.logical_not().to(torch.uint8), dim=1, stable=True)
    return order_SL.T, present_LS.sum(0).clamp(min=1)


def _at(x_LSD: Tensor, step_S: Tensor) -> Tensor:
    """x at each sequence's own step."""
    index_1SD = step_S[None, :, None].expand(1, -1, x_LSD.shape[-1])
    return x_LSD.gather(0, index_1SD).squeeze(0)
