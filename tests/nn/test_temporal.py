"""The temporal encoder: order of days, causality, and attention against its long form."""

from __future__ import annotations

import math

import pytest
import torch

from gogooku3.nn.temporal import LastQueryAttention, TemporalEncoder, present_first


def _encoder(lstm_layers: int = 1, dropout: float = 0.0) -> TemporalEncoder:
    torch.manual_seed(0)
    return TemporalEncoder(width=8, heads=2, lstm_layers=lstm_layers, dropout=dropout).eval()


def test_present_days_come_first_in_their_order() -> None:
    present_ST = torch.tensor([[False, True, False, True], [True] * 4, [False] * 4])
    order_TS, count_S = present_first(present_ST)
    assert order_TS[:2, 0].tolist() == [1, 3]
    assert order_TS[:, 1].tolist() == [0, 1, 2, 3]
    assert count_S.tolist() == [2, 4, 1]


@pytest.mark.parametrize("lstm_layers", [1, 2])
def test_a_short_history_is_encoded_as_if_nothing_followed(lstm_layers: int) -> None:
    encoder = _encoder(lstm_layers)
    x_TSD, context_SD = torch.randn(9, 3, 8), torch.randn(3, 8)
    count_S = torch.tensor([4, 9, 1])
    together_SD = encoder(x_TSD, count_S, context_SD)
    for s, count in enumerate(count_S.tolist()):
        alone = encoder(x_TSD[:count, s : s + 1], torch.tensor([count]), context_SD[s : s + 1])
        torch.testing.assert_close(together_SD[s], alone[0], atol=1e-6, rtol=1e-5)


def test_every_counted_day_matters_and_no_other() -> None:
    encoder = _encoder()
    x_TSD, context_SD = torch.randn(9, 1, 8), torch.randn(1, 8)
    count_S = torch.tensor([6])
    before = encoder(x_TSD, count_S, context_SD)
    for day in range(9):
        changed = x_TSD.clone()
        changed[day] += 3.0 * torch.randn(8)
        difference = (encoder(changed, count_S, context_SD) - before).abs().max()
        assert (difference > 1e-5) == (day < 6), day


def test_the_context_enriches() -> None:
    encoder = _encoder()
    x_TSD, count_S = torch.randn(9, 2, 8), torch.tensor([9, 9])
    one = encoder(x_TSD, count_S, torch.randn(2, 8))
    other = encoder(x_TSD, count_S, torch.randn(2, 8))
    assert (one - other).abs().max() > 1e-2


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_the_short_form_equals_the_long_form(heads: int) -> None:
    torch.manual_seed(0)
    attention = LastQueryAttention(width=8, heads=heads, dropout=0.0)
    query_SD, days_TSD = torch.randn(5, 8), torch.randn(7, 5, 8)
    mask_ST = torch.rand(5, 7) < 0.7
    mask_ST[:, 0] = True
    per_head = 8 // heads
    q = attention.query(query_SD).view(5, heads, per_head)
    k = attention.key(days_TSD).view(7, 5, heads, per_head)
    v = attention.value(days_TSD)
    logit = torch.einsum("sha,tsha->sht", q, k) / math.sqrt(per_head)
    weight = logit.masked_fill(~mask_ST[:, None], -torch.inf).softmax(-1)
    each_head = torch.einsum("sht,tsa->sha", weight, v)
    expected = attention.output(each_head.mean(1))
    torch.testing.assert_close(attention(query_SD, days_TSD, mask_ST), expected)


def test_dropout_acts_in_every_block_in_training() -> None:
    encoder = _encoder(dropout=0.5)
    x_TSD, count_S, context_SD = torch.randn(9, 2, 8), torch.tensor([9, 9]), torch.randn(2, 8)
    encoder.attention.train()
    attended = [encoder(x_TSD, count_S, context_SD) for _ in range(2)]
    assert not torch.equal(*attended)
    stacked = TemporalEncoder(width=8, heads=2, lstm_layers=2, dropout=0.5)
    assert stacked.lstm.dropout == 0.5
