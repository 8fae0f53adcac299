"""Heads of distributions: quantiles in order, scales positive, every value alive."""

from __future__ import annotations

import torch

from gogooku3.nn.distribution_heads import QuantileHeads, StudentTHeads


def test_quantiles_never_cross_and_the_score_is_the_median() -> None:
    torch.manual_seed(0)
    levels = (0.05, 0.25, 0.5, 0.75, 0.9)
    heads = QuantileHeads(levels=levels, width=6, hidden=4, horizons=3, dropout=0.0)
    score, beside = heads(20.0 * torch.randn(50, 6))
    assert score.shape == (50, 3)
    assert beside.shape == (50, 3, 5)
    assert (beside[..., 2] == 0).all()
    assert (beside.diff(dim=-1) >= 0).all()
    assert beside.std(0).min(dim=-1).values.max() >= 0
    (score.sum() + beside.square().sum()).backward()
    for name, parameter in heads.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_scale_and_freedom_stay_in_bounds() -> None:
    torch.manual_seed(0)
    heads = StudentTHeads(width=6, hidden=4, horizons=3, dropout=0.0)
    score, beside = heads(100.0 * torch.randn(50, 6))
    assert score.shape == (50, 3)
    assert beside.shape == (50, 3, 2)
    assert (beside[..., 0] > 0).all()
    assert (beside[..., 1] >= 2).all()
    assert beside.std(0).min() > 0
