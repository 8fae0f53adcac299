"""The weighted sum: what counts, how it is averaged, and what is reported."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gogooku3.config import HuberConfig, IcConfig, LossConfig, MseConfig
from gogooku3.losses import build_loss

Make = Callable[..., tuple[Tensor, Tensor, Tensor]]
DEFAULT = LossConfig()


def test_the_total_is_the_weighted_sum_of_its_parts(make_days: Make) -> None:
    config = LossConfig(terms=(MseConfig(weight=0.3), IcConfig(weight=2.0), HuberConfig(weight=0)))
    total, parts = build_loss(config, (1, 5))(*make_days())
    assert set(parts) == {"mse", "ic"}
    expected = 0.3 * parts["mse"] + 2.0 * parts["ic"]
    torch.testing.assert_close(total, expected)
    assert not any(part.requires_grad for part in parts.values())


def test_horizons_are_averaged_by_weight(make_days: Make) -> None:
    score, target, valid = make_days()

    def value(weights: dict[str, float]) -> Tensor:
        config = LossConfig(terms=(MseConfig(),), horizon_weights=weights)
        total: Tensor = build_loss(config, (1, 5))(score, target, valid)[0]
        return total

    first, second = value({"1": 1.0, "5": 0.0}), value({"1": 0.0, "5": 1.0})
    assert abs(first - second) > 1e-3
    torch.testing.assert_close(value({"1": 3.0, "5": 1.0}), (3 * first + second) / 4)
    config = LossConfig(terms=(MseConfig(),))
    default, _ = build_loss(config, (1, 5))(score, target, valid)
    torch.testing.assert_close(default, (first + second) / 2)


def test_days_are_averaged(make_days: Make) -> None:
    score, target, valid = make_days(days=3)
    loss = build_loss(DEFAULT, (1, 5))
    together, _ = loss(score, target, valid)
    each = [loss(score[d : d + 1], target[d : d + 1], valid[d : d + 1])[0] for d in range(3)]
    torch.testing.assert_close(together, torch.stack(each).mean())


@pytest.mark.parametrize("fault", ["seven known", "none known", "constant target"])
def test_a_day_that_says_nothing_adds_nothing(fault: str, make_days: Make) -> None:
    score, target, valid = make_days(days=2)
    loss = build_loss(DEFAULT, (1, 5))
    alone, _ = loss(score[:1], target[:1], valid[:1])
    if fault == "constant target":
        target[1] = torch.where(valid[1], 0.25, 0.0)
    else:
        valid[1] = False
        valid[1, : 7 if fault == "seven known" else 0] = True
    score.requires_grad_()
    value, _ = loss(score, target, valid)
    torch.testing.assert_close(value, alone)
    value.backward()
    assert score.grad is not None
    assert (score.grad[1] == 0).all()
    assert score.grad[0].abs().max() > 0


def test_eight_known_returns_are_enough(make_days: Make) -> None:
    score, target, valid = make_days(days=1)
    valid[:] = False
    valid[:, 3:11] = True
    score.requires_grad_()
    build_loss(DEFAULT, (1, 5))(score, target, valid)[0].backward()
    assert score.grad is not None
    assert score.grad.abs().max() > 0


def test_a_horizon_without_a_day_leaves_the_others_their_weight(make_days: Make) -> None:
    score, target, valid = make_days()
    valid[..., 1] = False
    loss = build_loss(DEFAULT, (1, 5))
    alone, _ = build_loss(DEFAULT, (1,))(score[..., :1], target[..., :1], valid[..., :1])
    torch.testing.assert_close(loss(score, target, valid)[0], alone)


def test_nothing_known_is_a_differentiable_zero(make_days: Make) -> None:
    score, target, valid = make_days(dtype="float32")
    valid[:] = False
    score.requires_grad_()
    loss = build_loss(DEFAULT, (1, 5))
    for value in (loss(score, target, valid)[0], loss.auxiliary(score, target, valid)):
        value.backward()
        assert value.item() == 0.0
        assert score.grad is not None
        assert (score.grad == 0).all()


def test_padding_changes_nothing(make_days: Make) -> None:
    score, target, valid = make_days()
    loss = build_loss(DEFAULT, (1, 5))
    pad = (0, 0, 0, 5)
    padded = loss(*(torch.nn.functional.pad(part, pad) for part in (score, target, valid)))
    torch.testing.assert_close(padded[0], loss(score, target, valid)[0])


def test_the_auxiliary_loss_is_a_huber_loss_of_the_main_score(make_days: Make) -> None:
    score, target, valid = make_days()
    config = LossConfig(terms=(IcConfig(),), horizon_weights={"1": 3.0, "5": 1.0})
    huber = LossConfig(terms=(HuberConfig(),), horizon_weights={"1": 3.0, "5": 1.0})
    score.requires_grad_()
    value = build_loss(config, (1, 5)).auxiliary(score, target, valid)
    expected, _ = build_loss(huber, (1, 5))(score, target, valid)
    torch.testing.assert_close(value, expected)
    value.backward()
    assert score.grad is not None
    assert score.grad.abs().max() > 0


def test_losses_are_fp32_under_autocast(make_days: Make) -> None:
    score, target, valid = make_days(dtype="float32")
    loss = build_loss(DEFAULT, (1, 5))
    plain, _ = loss(score, target, valid)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, parts = loss(score, target, valid)
        coarse, _ = loss(score.bfloat16(), target, valid)
    assert cast.dtype == coarse.dtype == torch.float32
    assert all(part.dtype == torch.float32 for part in parts.values())
    assert torch.equal(cast, plain)
    assert coarse.item() == pytest.approx(plain.item(), abs=0.02)
