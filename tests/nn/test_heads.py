"""Heads: one product for all horizons equals one perceptron each."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from gogooku3.nn.heads import HorizonHeads


def test_each_horizon_has_its_own_perceptron() -> None:
    torch.manual_seed(0)
    heads = HorizonHeads(width=6, hidden=3, horizons=4, dropout=0.5).eval()
    torch.nn.init.normal_(heads.bias_K)
    z = torch.randn(2, 5, 6)
    score = heads(z)
    for k in range(4):
        rows = slice(3 * k, 3 * k + 3)
        hidden = F.gelu(z @ heads.enter.weight[rows].T + heads.enter.bias[rows])
        expected = hidden @ heads.leave_KW[k] + heads.bias_K[k]
        torch.testing.assert_close(score[..., k], expected)


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    heads = HorizonHeads(width=6, hidden=8, horizons=2, dropout=0.5)
    z = torch.randn(5, 6)
    assert not torch.equal(heads(z), heads(z))
    heads.eval()
    assert torch.equal(heads(z), heads(z))
