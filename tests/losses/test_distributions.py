"""Terms of distributions: pinball loss and Student-t likelihood against scipy and differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from gogooku3.config import LossConfig, QuantileConfig, StudentTConfig
from gogooku3.losses import build_loss

Make = Callable[..., tuple[Tensor, Tensor, Tensor]]
LEVELS = (0.1, 0.5, 0.9)


def _terms() -> list[Any]:
    return [QuantileConfig(levels=LEVELS), StudentTConfig()]


def _beside(term: Any, score: Tensor) -> Tensor:
    g = torch.Generator().manual_seed(5)
    if term.kind == "quantile":
        step = torch.rand(*score.shape, 2, generator=g, dtype=score.dtype) + 0.2
        return torch.stack((-step[..., 0], torch.zeros_like(score), step[..., 1]), dim=-1)
    shape = (*score.shape, 2)
    return torch.rand(shape, generator=g, dtype=score.dtype) + torch.tensor([0.3, 2.5])


def _loss(term: Any) -> Any:
    return build_loss(LossConfig(terms=(term,)), (1, 5))


@pytest.mark.parametrize("term", _terms(), ids=lambda term: term.kind)
def test_the_gradient_is_that_of_the_value(term: Any, make_days: Make) -> None:
    score, target, valid = make_days()
    loss = _loss(term)
    beside = _beside(term, score)
    score.requires_grad_()
    beside.requires_grad_()

    def value(s: Tensor, b: Tensor) -> Tensor:
        total: Tensor = loss(s, target, valid, distribution_BNKP=b)[0]
        return total

    assert torch.autograd.gradcheck(value, (score, beside), atol=1e-7)
    value(score, beside).backward()
    for part in (score.grad, beside.grad):
        assert part is not None
        assert (part[~valid] == 0).all()
        assert (part[valid].abs().reshape(int(valid.sum()), -1).sum(-1) > 0).all()


@pytest.mark.parametrize("term", _terms(), ids=lambda term: term.kind)
def test_unknown_returns_and_empty_days_have_no_part(term: Any, make_days: Make) -> None:
    score, target, valid = make_days(dtype="float32")
    beside = _beside(term, score)
    loss = _loss(term)
    value, _ = loss(score, target, valid, distribution_BNKP=beside)
    odd = [torch.where(valid, score, 1e4), torch.where(valid, target, float("nan"))]
    broken = torch.where(valid[..., None], beside, float("nan"))
    torch.testing.assert_close(loss(*odd, valid, distribution_BNKP=broken)[0], value)
    valid[:] = False
    score.requires_grad_()
    nothing, _ = loss(score, target, valid, distribution_BNKP=torch.zeros_like(beside))
    nothing.backward()
    assert nothing.item() == 0.0
    assert score.grad is not None
    assert (score.grad == 0).all()


def test_the_values_are_those_of_the_books(make_days: Make) -> None:
    score, target, valid = make_days(days=1)
    score, target, valid = score[..., :1], target[..., :1], valid[..., :1]
    s, t = score[valid].numpy(), target[valid].numpy()
    tails = _beside(StudentTConfig(), score)
    loss = build_loss(LossConfig(terms=(StudentTConfig(),)), (1,))
    scale, freedom = tails[valid].unbind(-1)
    expected = -stats.t.logpdf(t, freedom.numpy(), loc=s, scale=scale.numpy()).mean()
    value = loss(score, target, valid, distribution_BNKP=tails)[0].item()
    assert value == pytest.approx(expected)
    term = QuantileConfig(levels=LEVELS)
    offsets = _beside(term, score)
    miss = (t - s)[:, None] - offsets[valid].numpy()
    level = np.asarray(LEVELS)
    pinball = 2 * np.maximum(level * miss, (level - 1) * miss).mean()
    loss = build_loss(LossConfig(terms=(term,)), (1,))
    value = loss(score, target, valid, distribution_BNKP=offsets)[0].item()
    assert value == pytest.approx(pinball)


@pytest.mark.parametrize("term", _terms(), ids=lambda term: term.kind)
def test_a_model_of_scores_alone_is_an_error(term: Any, make_days: Make) -> None:
    with pytest.raises(ValueError, match="scores alone"):
        _loss(term)(*make_days())
