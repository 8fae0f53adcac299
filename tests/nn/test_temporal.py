"""The temporal encoders: order of days, causality, absent days, and shared days."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gogooku3.nn.temporal import AttentionEncoder, LstmAttentionEncoder, present_first

KINDS = pytest.mark.parametrize("kind", ["lstm", "two lstm layers", "attention"])


def _encoder(kind: str, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    if kind == "attention":
        encoder: nn.Module = AttentionEncoder(width=8, heads=2, ages=9, dropout=dropout)
        nn.init.normal_(encoder.attention.bias_HA)
        return encoder.eval()
    layers = 2 if kind.startswith("two") else 1
    return LstmAttentionEncoder(width=8, heads=2, lstm_layers=layers, dropout=dropout).eval()


def test_present_days_come_first_in_their_order() -> None:
    present_LS = torch.tensor([[False, True, False, True], [True] * 4, [False] * 4]).T
    order_LS, count_S = present_first(present_LS)
    assert order_LS[:2, 0].tolist() == [1, 3]
    assert order_LS[:, 1].tolist() == [0, 1, 2, 3]
    assert count_S.tolist() == [2, 4, 1]


@KINDS
def test_absent_days_are_not_looked_at(kind: str) -> None:
    encoder = _encoder(kind)
    x_LSD, context_SD = torch.randn(9, 3, 8), torch.randn(3, 8)
    present_LS = torch.ones(9, 3, dtype=torch.bool)
    present_LS[:5, 0] = False
    present_LS[[2, 6], 1] = False
    before = encoder(x_LSD, present_LS, context_SD)
    noisy_LSD = torch.where(present_LS[..., None], x_LSD, 1e3)
    after = encoder(noisy_LSD, present_LS, context_SD)
    torch.testing.assert_close(before.h_QSD, after.h_QSD)
    torch.testing.assert_close(before.weight_QSA.sum(-1), torch.ones(1, 3))
    assert (before.weight_QSA[0, 0, 4:] == 0).all()


@KINDS
def test_every_present_day_matters(kind: str) -> None:
    encoder = _encoder(kind)
    x_LSD, context_SD = torch.randn(9, 1, 8), torch.randn(1, 8)
    present_LS = torch.ones(9, 1, dtype=torch.bool)
    present_LS[3] = False
    before_QSD = encoder(x_LSD, present_LS, context_SD).h_QSD
    for day in range(9):
        changed = x_LSD.clone()
        changed[day] += 3.0 * torch.randn(8)
        difference = (encoder(changed, present_LS, context_SD).h_QSD - before_QSD).abs().max()
        assert (difference > 1e-5) == (day != 3), day


@pytest.mark.parametrize("kind", ["lstm", "two lstm layers"])
def test_an_lstm_sees_a_short_history_as_if_nothing_came_before(kind: str) -> None:
    encoder = _encoder(kind)
    x_LSD, context_SD = torch.randn(9, 3, 8), torch.randn(3, 8)
    present_LS = torch.ones(9, 3, dtype=torch.bool)
    present_LS[:5, 0] = False
    present_LS[:8, 2] = False
    together = encoder(x_LSD, present_LS, context_SD)
    for s, first in enumerate((5, 0, 8)):
        one = slice(s, s + 1)
        alone = encoder(x_LSD[first:, one], present_LS[first:, one], context_SD[one])
        torch.testing.assert_close(together.h_QSD[0, s], alone.h_QSD[0, 0], atol=1e-6, rtol=1e-5)
        ages = 9 - first
        torch.testing.assert_close(together.weight_QSA[0, s, :ages], alone.weight_QSA[0, 0])


def test_days_are_encoded_once_for_all_their_look_backs() -> None:
    encoder = _encoder("attention")
    x_LSD, context_SD = torch.randn(14, 5, 8), torch.randn(5, 8)
    present_LS = torch.rand(14, 5) < 0.8
    present_LS[8:] = True
    together = encoder(x_LSD, present_LS, context_SD)
    assert together.h_QSD.shape == (6, 5, 8)
    for q in range(6):
        window = slice(q, q + 9)
        alone = encoder(x_LSD[window], present_LS[window], context_SD)
        torch.testing.assert_close(together.h_QSD[q], alone.h_QSD[0], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(together.weight_QSA[q], alone.weight_QSA[0])


@KINDS
def test_the_context_enriches(kind: str) -> None:
    encoder = _encoder(kind)
    x_LSD, present_LS = torch.randn(9, 2, 8), torch.ones(9, 2, dtype=torch.bool)
    one = encoder(x_LSD, present_LS, torch.randn(2, 8)).h_QSD
    other = encoder(x_LSD, present_LS, torch.randn(2, 8)).h_QSD
    assert (one - other).abs().max() > 1e-2


@KINDS
def test_dropout_acts_in_every_block_in_training(kind: str) -> None:
    encoder = _encoder(kind, dropout=0.5)
    x_LSD, present_LS, context_SD = torch.randn(9, 2, 8), torch.ones(9, 2).bool(), torch.randn(2, 8)
    encoder.attention.train()
    attended = [encoder(x_LSD, present_LS, context_SD).h_QSD for _ in range(2)]
    assert not torch.equal(*attended)
    if kind == "two lstm layers":
        assert encoder.lstm.dropout == 0.5
