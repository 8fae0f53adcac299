"""Attention of scored days: the short form against the long one, and bands against windows."""

from __future__ import annotations

import math

import pytest
import torch

from gogooku3.nn.attention import BandedAttention, LastQueryAttention


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_the_short_form_equals_the_long_form(heads: int) -> None:
    torch.manual_seed(0)
    attention = LastQueryAttention(width=8, heads=heads, dropout=0.0)
    query_QSD, days_LSD = torch.randn(3, 5, 8), torch.randn(7, 5, 8)
    seen_LS = torch.rand(7, 5) < 0.7
    seen_LS[0] = True
    logit_QHL = torch.randn(3, heads, 7)
    per_head = 8 // heads
    q = attention.query(query_QSD).view(3, 5, heads, per_head)
    k = attention.key(days_LSD).view(7, 5, heads, per_head)
    v = attention.value(days_LSD)
    logit = torch.einsum("qsha,lsha->sqhl", q, k) / math.sqrt(per_head) + logit_QHL
    weight = logit.masked_fill(~seen_LS.T[:, None, None], -torch.inf).softmax(-1)
    each_head = torch.einsum("sqhl,lsa->qsha", weight, v)
    expected_QSD = attention.output(each_head.mean(2))
    attended_QSD, weight_SQL = attention(query_QSD, days_LSD, seen_LS, logit_QHL)
    torch.testing.assert_close(attended_QSD, expected_QSD)
    torch.testing.assert_close(weight_SQL, weight.mean(2))


def test_each_scored_day_attends_to_its_own_look_back_alone() -> None:
    torch.manual_seed(0)
    banded = BandedAttention(width=8, heads=2, ages=4, dropout=0.0)
    torch.nn.init.normal_(banded.bias_HA)
    days_LSD, present_LS = torch.randn(9, 5, 8), torch.rand(9, 5) < 0.7
    present_LS[3:] |= torch.rand(6, 5) < 0.9
    present_LS[3] = True
    attended_QSD, weight_QSA = banded(days_LSD, present_LS)
    assert attended_QSD.shape == (6, 5, 8)
    for q in range(6):
        window = slice(q, q + 4)
        alone_1SD, weight_1SA = banded(days_LSD[window], present_LS[window])
        torch.testing.assert_close(attended_QSD[q], alone_1SD[0])
        torch.testing.assert_close(weight_QSA[q], weight_1SA[0])
        assert (weight_QSA[q][~present_LS[window].flip(0).T] == 0).all()
    torch.testing.assert_close(weight_QSA.sum(-1), torch.ones(6, 5))


def test_the_age_of_a_day_matters() -> None:
    torch.manual_seed(0)
    banded = BandedAttention(width=8, heads=2, ages=4, dropout=0.0)
    banded.bias_HA.data[:, 2] = 50.0
    _, weight_QSA = banded(torch.randn(9, 5, 8), torch.ones(9, 5).bool())
    torch.testing.assert_close(weight_QSA[..., 2], torch.ones(6, 5))
