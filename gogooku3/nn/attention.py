"""Interpretable attention of scored days over the days before them.

Shapes: L days of a sequence, S sequences, Q scored days, A ages (days of a look-back), D hidden,
H heads, C = D / H.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gogooku3.nn.dropout import Dropout


class LastQueryAttention(nn.Module):
    """Interpretable multi-head attention: one value projection for all heads, scored days ask.

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
        self.dropout = Dropout(dropout)

    def forward(
        self,
        query_QSD: Tensor,
        days_LSD: Tensor,
        seen_LS: Tensor,
        logit_QHL: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Attention of each sequence's queries over its own days.

        Args:
            query_QSD: the queries.
            days_LSD: what is attended to.
            seen_LS: false where a day must not be.
            logit_QHL: added to the logits: a preference, or minus infinity outside a band.

        Returns:
            attended_QSD, and the weights weight_SQL, averaged over the heads.
        """
        queries, _, width = query_QSD.shape
        per_head = width // self.heads
        query_SQHC = self.query(query_QSD).transpose(0, 1).unflatten(-1, (self.heads, per_head))
        key_HCD = self.key.weight.view(self.heads, per_head, width) / math.sqrt(per_head)
        carried_SRD = torch.einsum("sqhc,hcd->sqhd", query_SQHC, key_HCD).flatten(1, 2)
        logit_SRL = torch.bmm(carried_SRD, days_LSD.permute(1, 2, 0)).float()
        if logit_QHL is not None:
            logit_SRL = logit_SRL + logit_QHL.flatten(0, 1)
        unseen_S1L = ~seen_LS.T[:, None]
        logit_SRL = logit_SRL.masked_fill(unseen_S1L, torch.finfo(torch.float32).min)
        logit_SQHL = logit_SRL.unflatten(1, (queries, self.heads))
        weight_SQL = self.dropout(F.softmax(logit_SQHL, dim=-1)).mean(2)
        pooled_SQD = torch.bmm(weight_SQL.to(days_LSD.dtype), days_LSD.transpose(0, 1))
        attended_QSD: Tensor = self.output(self.value(pooled_SQD)).transpose(0, 1)
        return attended_QSD, weight_SQL


class BandedAttention(nn.Module):
    """Attention of consecutive scored days, each over its own look-back of A days.

    The days carry no position of their own, so that a day is the same to every look-back it is
    in; how far back it lies is told by a learned logit per head and age (Shaw, Uszkoreit, Vaswani,
    2018, in the scalar form of T5).
    """

    def __init__(self, *, width: int, heads: int, ages: int, dropout: float) -> None:
        super().__init__()
        self.attention = LastQueryAttention(width=width, heads=heads, dropout=dropout)
        self.bias_HA = nn.Parameter(torch.zeros(heads, ages))

    def forward(self, days_LSD: Tensor, present_LS: Tensor) -> tuple[Tensor, Tensor]:
        """The last Q = L - A + 1 days ask; each attends to the A days up to itself.

        Returns attended_QSD and the weights by age weight_QSA (0 = the scored day itself),
        averaged over the heads; those are without gradient.
        """
        length, ages = days_LSD.shape[0], self.bias_HA.shape[1]
        day_Q1 = torch.arange(ages - 1, length, device=days_LSD.device)[:, None]
        age_QL = day_Q1 - torch.arange(length, device=days_LSD.device)
        outside_QL = (age_QL < 0) | (age_QL >= ages)
        logit_HQL = self.bias_HA[:, age_QL.clamp(0, ages - 1)]
        logit_QHL = logit_HQL.masked_fill(outside_QL, -torch.inf).transpose(0, 1)
        attended_QSD, weight_SQL = self.attention(
            days_LSD[ages - 1 :], days_LSD, present_LS, logit_QHL
        )
        day_QA = day_Q1 - torch.arange(ages, device=days_LSD.device)
        weight_QSA = (
            weight_SQL.detach()
            .transpose(0, 1)
            .gather(2, day_QA[:, None].expand(-1, days_LSD.shape[1], -1))
        )
        return attended_QSD, weight_QSA
