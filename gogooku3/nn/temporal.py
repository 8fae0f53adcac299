"""The temporal encoder: causal LSTM, then interpretable attention of the last day.

Shapes: T days, S windows, D hidden, H heads, A = D / H.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gogooku3.nn.grn import GatedResidual, GatedResidualNetwork


def present_first(present_ST: Tensor) -> tuple[Tensor, Tensor]:
    """Order that puts each window's present days first, oldest first, and their count.

    A recurrent layer that runs over days in this order has seen exactly the present days after
    `count` steps, with no state change on absent ones: what follows is never read.
    Returns order_TS (the day to take at each step) and count_S (at least 1).
    """
    order_ST = torch.argsort(present_ST.logical_not().to(torch.uint8), dim=1, stable=True)
    return order_ST.T, present_ST.sum(1).clamp(min=1)


class LastQueryAttention(nn.Module):
    """Interpretable multi-head attention (one value projection for all heads), last query only.

    Keys and values are linear in the days, so they need not be made: the query is carried
    through the key matrix, and the days are averaged before the value matrix. A key bias would
    add the same amount to each day's logit and have no effect, so there is none.
    """

    def __init__(self, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width // heads, bias=False)
        self.output = nn.Linear(width // heads, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query_SD: Tensor, days_TSD: Tensor, mask_ST: Tensor) -> Tensor:
        """Attention of each window's query over its own unmasked days -> [S, D]."""
        windows, width = query_SD.shape
        per_head = width // self.heads
        query_SHA = self.query(query_SD).view(windows, self.heads, per_head)
        key_HAD = self.key.weight.view(self.heads, per_head, width)
        carried_SHD = torch.einsum("sha,had->shd", query_SHA, key_HAD) / math.sqrt(per_head)
        logit_SHT = torch.bmm(carried_SHD, days_TSD.permute(1, 2, 0))
        logit_SHT = logit_SHT.float().masked_fill(~mask_ST[:, None], torch.finfo(torch.float32).min)
        weight_ST = self.dropout(F.softmax(logit_SHT, dim=-1)).mean(1)
        pooled_SD = torch.bmm(
            weight_ST[:, None].to(days_TSD.dtype), days_TSD.transpose(0, 1)
        ).squeeze(1)
        attended_SD: Tensor = self.output(self.value(pooled_SD))
        return attended_SD


class TemporalEncoder(nn.Module):
    """GRN, LSTM, static enrichment and last-query attention, each behind a gated residual."""

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

    def forward(self, x_TSD: Tensor, count_S: Tensor, context_SD: Tensor) -> Tensor:
        """Embedding [S, D] of each window's last present day.

        x_TSD has the present days first (`present_first`), count_S says how many.
        """
        days = x_TSD.shape[0]
        x_TSD = self.enter(x_TSD)
        seen_TSD = self.lstm_gate(self.lstm(x_TSD)[0], x_TSD)
        rich_TSD = self.enrich(seen_TSD, context_SD)
        mask_ST = torch.arange(days, device=count_S.device) < count_S[:, None]
        last_SD = _at(rich_TSD, count_S - 1)
        attended_SD = self.attention_gate(self.attention(last_SD, rich_TSD, mask_ST), last_SD)
        embedding_SD: Tensor = self.leave(self.refine(attended_SD), _at(seen_TSD, count_S - 1))
        return embedding_SD


def _at(x_TSD: Tensor, step_S: Tensor) -> Tensor:
    """x at each window's own step."""
    index_1SD = step_S[None, :, None].expand(1, -1, x_TSD.shape[-1])
    return x_TSD.gather(0, index_1SD).squeeze(0)
