"""Every term: finite differences, masks, constant scores, and its own formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from gogooku3.config import (
    HuberConfig,
    IcConfig,
    ListNetConfig,
    LossConfig,
    LossTerm,
    MseConfig,
    PairwiseConfig,
    SharpeConfig,
    SoftSpearmanConfig,
)
from gogooku3.losses import LOSSES, build_loss

HORIZONS = (1, 5)
TERMS: list[LossTerm] = [
    HuberConfig(delta=0.7),
    MseConfig(),
    IcConfig(),
    SoftSpearmanConfig(temperature=0.3, bins=64),
    ListNetConfig(temperature=0.5),
    PairwiseConfig(pairs=3),
    SharpeConfig(),
    SharpeConfig(positions="softmax", temperature=0.5),
]
CHANGES: list[tuple[type, dict[str, Any], dict[str, Any]]] = [
    (HuberConfig, {"delta": 0.2}, {"delta": 2.0}),
    (SoftSpearmanConfig, {"temperature": 0.05}, {"temperature": 0.5}),
    (SoftSpearmanConfig, {"bins": 16}, {"bins": 512}),
    (ListNetConfig, {"temperature": 0.5}, {"temperature": 2.0}),
    (PairwiseConfig, {"pairs": 2}, {"pairs": 5}),
    (PairwiseConfig, {"temperature": 0.5}, {"temperature": 2.0}),
    (SharpeConfig, {"positions": "tanh"}, {"positions": "softmax"}),
    (SharpeConfig, {"temperature": 0.5}, {"temperature": 2.0}),
]

Make = Callable[..., tuple[Tensor, Tensor, Tensor]]


def _loss(*terms: LossTerm) -> Any:
    return build_loss(LossConfig(terms=terms), HORIZONS)


def test_every_registered_term_is_tested_here() -> None:
    elsewhere = {"quantile", "student_t", "turnover"}  # test_distributions, test_portfolio
    assert {term.kind for term in TERMS} | elsewhere == set(LOSSES)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.kind)
def test_the_gradient_is_that_of_the_value(term: LossTerm, make_days: Make) -> None:
    score, target, valid = make_days()
    loss = _loss(term)
    score.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss(s, target, valid)[0], (score,), atol=1e-7)
    loss(score, target, valid)[0].backward()
    assert score.grad is not None
    assert score.grad.abs().max() > 1e-4


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.kind)
def test_unknown_returns_have_no_part(term: LossTerm, make_days: Make) -> None:
    score, target, valid = make_days()
    loss = _loss(term)
    value, _ = loss(score, target, valid)
    odd_score = torch.where(valid, score, 1e4).requires_grad_()
    odd_target = torch.where(valid, target, math.nan)
    odd_value, _ = loss(odd_score, odd_target, valid)
    torch.testing.assert_close(odd_value, value)
    odd_value.backward()
    assert odd_score.grad is not None
    assert (odd_score.grad[~valid] == 0).all()
    assert (odd_score.grad[valid] != 0).double().mean() > 0.9


@pytest.mark.parametrize("constant", [0.0, 3.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.kind)
def test_constant_scores_are_finite(
    term: LossTerm, dtype: str, constant: float, make_days: Make
) -> None:
    score, target, valid = make_days(dtype=dtype)
    score = torch.full_like(score, constant).requires_grad_()
    value, parts = _loss(term)(score, target, valid)
    value.backward()
    assert torch.isfinite(value)
    assert score.grad is not None
    assert torch.isfinite(score.grad).all()
    assert score.grad.abs().max() > 0
    if term.kind == "pairwise":
        assert parts["pairwise"].item() == pytest.approx(math.log(2), abs=1e-5)
    if term.kind in ("ic", "soft_spearman"):
        assert parts[term.kind].item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("factor", [1e-6, 1e-2, 1e4])
@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.kind)
def test_any_scale_of_scores_is_finite(term: LossTerm, factor: float, make_days: Make) -> None:
    score, target, valid = make_days(dtype="float32")
    score = (score * factor).requires_grad_()
    value, _ = _loss(term)(score, target, valid)
    value.backward()
    assert torch.isfinite(value)
    assert score.grad is not None
    assert torch.isfinite(score.grad).all()


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.kind)
def test_a_step_down_the_gradient_helps(term: LossTerm, make_days: Make) -> None:
    score, target, valid = make_days()
    loss = _loss(term)
    score.requires_grad_()
    value, _ = loss(score, target, valid)
    value.backward()
    assert score.grad is not None
    better, _ = loss(score - 0.1 * score.grad / score.grad.abs().max(), target, valid)
    assert better < value


@pytest.mark.parametrize(("kind", "one", "other"), CHANGES)
def test_every_setting_of_a_term_is_read(
    kind: type, one: dict[str, Any], other: dict[str, Any], make_days: Make
) -> None:
    days = make_days()
    values = [_loss(kind(**settings))(*days)[0].item() for settings in (one, other)]
    assert abs(values[0] - values[1]) > 1e-6


def test_the_values_are_those_of_the_books(make_days: Make) -> None:
    score, target, valid = make_days(days=1)
    mask = valid[0, :, 0].numpy()
    s, t = score[0, :, 0].numpy()[mask], target[0, :, 0].numpy()[mask]
    one_horizon = (score[..., :1], target[..., :1], valid[..., :1])

    def value(term: LossTerm) -> float:
        return float(build_loss(LossConfig(terms=(term,)), (1,))(*one_horizon)[0])

    assert value(MseConfig()) == pytest.approx(float(np.mean((s - t) ** 2)))
    assert value(IcConfig()) == pytest.approx(1 - stats.pearsonr(s, t).statistic, abs=1e-6)
    miss = np.abs(s - t)
    huber = np.where(miss < 0.7, 0.5 * miss**2, 0.7 * (miss - 0.35)).mean()
    assert value(HuberConfig(delta=0.7)) == pytest.approx(float(huber))
    wanted = np.exp(t / 0.5) / np.exp(t / 0.5).sum()
    given = np.exp(s) / np.exp(s).sum()
    entropy = -(wanted * np.log(given)).sum()
    assert value(ListNetConfig(temperature=0.5)) == pytest.approx(float(entropy))
