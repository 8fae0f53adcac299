"""Ridge: the textbook's solution over all batches, per horizon, known returns only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from gogooku3.config import LinearConfig
from gogooku3.data.batch import Batch
from gogooku3.models import ModelShape
from gogooku3.models.linear import Linear
from gogooku3.training.evaluation import predict

Make = Callable[..., Batch]


def _rows(batches: list[Batch], k: int) -> tuple[np.ndarray, np.ndarray]:
    x = [b.x_BNTF[:, :, -1][b.valid_BNK[..., k]].double().numpy() for b in batches]
    y = [b.target_BNK[..., k][b.valid_BNK[..., k]].double().numpy() for b in batches]
    return np.concatenate(x), np.concatenate(y)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 10.0])
def test_it_is_the_textbooks_solution(alpha: float, shape: ModelShape, make_batch: Make) -> None:
    batches = [make_batch(seed=seed) for seed in range(3)]
    model = Linear(LinearConfig(alpha=alpha), shape)
    model.fit(iter(batches))
    for k in range(2):
        x, y = _rows(batches, k)
        centred = x - x.mean(0)
        penalty = alpha * len(x) * np.eye(x.shape[1])
        weight = np.linalg.solve(centred.T @ centred + penalty, centred.T @ (y - y.mean()))
        intercept = y.mean() - x.mean(0) @ weight
        np.testing.assert_allclose(model.weight_GK[1:, k].numpy(), weight, rtol=1e-4, atol=1e-5)
        assert model.weight_GK[0, k].item() == pytest.approx(intercept, abs=1e-5)
        score = model(batches[0]).score_BNK[batches[0].mask_BN][:, k].numpy()
        seen = batches[0].x_BNTF[:, :, -1][batches[0].mask_BN].double().numpy()
        np.testing.assert_allclose(score, seen @ weight + intercept, rtol=1e-4, atol=1e-4)


def test_scores_do_not_tie_in_a_training_of_half_precision(
    shape: ModelShape, make_batch: Make
) -> None:
    batch = make_batch(seed=0)
    model = Linear(LinearConfig(), shape)
    model.fit(iter([batch]))
    found = predict(model, batch, "bf16").score_BNK
    assert torch.equal(found, model(batch).score_BNK)


def test_unknown_returns_have_no_part(shape: ModelShape, make_batch: Make) -> None:
    batch = make_batch()
    odd = replace(batch, target_BNK=batch.target_BNK.masked_fill(~batch.valid_BNK, 1e6))
    weights = []
    for given in (batch, odd):
        model = Linear(LinearConfig(), shape)
        model.fit([given])
        weights.append(model.weight_GK)
    assert torch.equal(*weights)


def test_repeated_features_without_a_penalty_are_no_problem(
    shape: ModelShape, make_batch: Make
) -> None:
    batch = make_batch()
    x_BNTF = batch.x_BNTF.clone()
    x_BNTF[..., 1] = x_BNTF[..., 0]
    model = Linear(LinearConfig(alpha=0.0), shape)
    model.fit([replace(batch, x_BNTF=x_BNTF)])
    torch.testing.assert_close(model.weight_GK[1], model.weight_GK[2], atol=1e-5, rtol=1e-4)
    assert model.weight_GK.abs().max() < 1e3


def test_a_horizon_without_a_known_return_scores_zero(shape: ModelShape, make_batch: Make) -> None:
    batch = make_batch()
    valid_BNK = batch.valid_BNK.clone()
    valid_BNK[..., 1] = False
    model = Linear(LinearConfig(alpha=0.0), shape)
    model.fit([replace(batch, valid_BNK=valid_BNK)])
    assert (model.weight_GK[:, 1] == 0).all()
    assert (model.weight_GK[:, 0] != 0).all()
