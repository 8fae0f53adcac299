"""Terms of a portfolio: positions, Sharpe ratio and turnover."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from gogooku3.config import LossConfig, PairwiseConfig, SharpeConfig, TurnoverConfig
from gogooku3.losses import build_loss
from gogooku3.losses.positions import positions

Make = Callable[..., tuple[Tensor, Tensor, Tensor]]


def _loss(term: Any) -> Any:
    return build_loss(LossConfig(terms=(term,)), (1, 5))


@pytest.mark.parametrize("shape", ["tanh", "softmax"])
def test_positions_are_dollar_neutral_and_know_no_scale(
    shape: Literal["tanh", "softmax"], make_days: Make
) -> None:
    score, _, valid = (part.transpose(1, 2) for part in make_days())
    held = positions(score, valid, shape, 0.7)
    assert (held[~valid] == 0).all()
    assert held.sum(-1).abs().max() < 1e-9
    torch.testing.assert_close(positions(5.0 * score + 2.0, valid, shape, 0.7), held)
    share = held.abs().sum(-1) / valid.sum(-1)
    assert (share > 0.1).all()
    assert (share <= 1.0).all()


def test_sharpe_is_mean_over_deviation_in_a_long_block() -> None:
    """With many days the one that stands for noise hardly weighs."""
    g = torch.Generator().manual_seed(0)
    score = torch.randn(400, 30, 2, generator=g, dtype=torch.float64)
    target = 0.1 * score + torch.randn(400, 30, 2, generator=g, dtype=torch.float64)
    valid = torch.ones_like(score, dtype=torch.bool)
    value, _ = _loss(SharpeConfig())(score, target, valid)
    ratios = []
    for k in range(2):
        z = (score[..., k] - score[..., k].mean(1, keepdim=True)).numpy()
        held = np.tanh(z / score[..., k].std(1, correction=0, keepdim=True).numpy())
        held -= held.mean(1, keepdims=True)
        daily = (held * target[..., k].numpy()).mean(1)
        ratios.append(daily.mean() / daily.std())
    assert value.item() == pytest.approx(-np.mean(ratios), rel=5e-3)


def test_a_day_alone_is_measured_by_its_noise() -> None:
    """Its Sharpe ratio is sqrt(n) times the correlation of positions and returns."""
    g = torch.Generator().manual_seed(1)
    score = torch.randn(1, 40, 2, generator=g, dtype=torch.float64)
    target = score + torch.randn(1, 40, 2, generator=g, dtype=torch.float64)
    valid = torch.ones_like(score, dtype=torch.bool)
    value, _ = _loss(SharpeConfig())(score, target, valid)
    held = positions(score.transpose(1, 2), valid.transpose(1, 2), "tanh", 1.0)[0]
    expected = [
        40**0.5 * np.corrcoef(held[k].numpy(), target[0, :, k].numpy())[0, 1] for k in range(2)
    ]
    assert value.item() == pytest.approx(-np.mean(expected), rel=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_sharpe_knows_no_scale_of_returns(scale: float, make_days: Make) -> None:
    score, target, valid = make_days()
    loss = _loss(SharpeConfig())
    torch.testing.assert_close(
        loss(score, target * scale, valid)[0], loss(score, target, valid)[0], rtol=1e-4, atol=1e-6
    )


def test_pairwise_prefers_the_right_order(make_days: Make) -> None:
    _, target, valid = make_days()
    loss = _loss(PairwiseConfig(pairs=8))
    values = [loss(s, target, valid)[0].item() for s in (3 * target, 0 * target, -3 * target)]
    assert values == sorted(values)
    assert values[1] == pytest.approx(np.log(2))


def test_pairwise_tends_to_the_mean_over_all_pairs() -> None:
    g = torch.Generator().manual_seed(0)
    score, target = torch.randn(2, 1, 400, 2, generator=g, dtype=torch.float64).unbind(0)
    valid = torch.rand(1, 400, 2, generator=g) > 0.2
    value, _ = _loss(PairwiseConfig(pairs=64))(score, target, valid)
    every = []
    for k in range(2):
        s, t = score[0, valid[0, :, k], k], target[0, valid[0, :, k], k]
        gap = (s[:, None] - s) * (t[:, None] - t).sign()
        off = ~torch.eye(len(s), dtype=torch.bool)
        every.append(torch.nn.functional.softplus(-gap)[off].mean())
    assert value.item() == pytest.approx(torch.stack(every).mean().item(), rel=0.01)


def test_turnover_compares_aligned_days(make_days: Make) -> None:
    score, target, valid = make_days(days=3)
    valid[:] = True
    loss = _loss(TurnoverConfig(weight=1.0))
    still = score[:1].expand(3, -1, -1)
    assert loss(still, target, valid, aligned=True)[0].item() == pytest.approx(0.0, abs=1e-12)
    turned = torch.stack((score[0], -score[0], score[0]))
    value = loss(turned, target, valid, aligned=True)[0].item()
    held = positions(score.transpose(1, 2), valid.transpose(1, 2), "tanh", 1.0)
    assert value == pytest.approx(held[0].abs().mean().item())
    moving = loss(score, target, valid, aligned=True)[0].item()
    assert 0 < moving < value * 1.2
    apart = loss(score, target, valid, aligned=False)[0]
    assert apart.item() == 0.0
    assert loss(score[:1], target[:1], valid[:1], aligned=True)[0].item() == 0.0


def test_turnover_has_an_exact_gradient_and_heeds_the_mask(make_days: Make) -> None:
    score, target, valid = make_days(days=3)
    loss = _loss(TurnoverConfig())
    score.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss(s, target, valid, aligned=True)[0], (score,))
    value = loss(score, target, valid, aligned=True)[0]
    odd = torch.where(valid, score, 1e4)
    torch.testing.assert_close(loss(odd, target, valid, aligned=True)[0], value)
    valid[1] = False  # a day that does not count has no pair
    assert loss(score, target, valid, aligned=True)[0].item() == 0.0
    constant = torch.zeros_like(score).requires_grad_()
    loss(constant, target, valid, aligned=True)[0].backward()
    assert constant.grad is not None
    assert torch.isfinite(constant.grad).all()
