"""FAN: what is taken out, what is left, and what absent days do."""

from __future__ import annotations

import math

import pytest
import torch

from gogooku3.nn.fan import MainHead, split_main


def _windows(windows: int = 6, features: int = 3, days: int = 20) -> torch.Tensor:
    return torch.randn(windows, features, days, generator=torch.Generator().manual_seed(1))


def _all_present(x_SFT: torch.Tensor) -> torch.Tensor:
    return torch.ones(x_SFT.shape[0], x_SFT.shape[-1], dtype=torch.bool)


@pytest.mark.parametrize("days", [19, 20, 60])
def test_residual_and_main_add_up_to_the_window(days: int) -> None:
    x_SFT = _windows(days=days)
    parts = split_main(x_SFT, _all_present(x_SFT), top_k=3)
    torch.testing.assert_close(parts.residual_SFT + parts.main_SFT, x_SFT, atol=1e-5, rtol=0)
    assert parts.main_SFT.abs().mean() > 0.1


@pytest.mark.parametrize("top_k", [1, 2, 5])
def test_exactly_the_strongest_bins_are_removed(top_k: int) -> None:
    x_SFT = _windows() + 0.5
    parts = split_main(x_SFT, _all_present(x_SFT), top_k)
    before_SFJ = torch.fft.rfft(x_SFT).abs()
    after_SFJ = torch.fft.rfft(parts.residual_SFT).abs()
    picked = after_SFJ < 1e-4
    assert (picked.sum(-1) == top_k).all()
    weakest_picked = before_SFJ.masked_fill(~picked, torch.inf).amin(-1)
    strongest_left = before_SFJ.masked_fill(picked, 0.0).amax(-1)
    assert (weakest_picked >= strongest_left).all()
    expected = before_SFJ.topk(top_k).values / x_SFT.shape[-1]
    torch.testing.assert_close(parts.amplitude_SFP, expected)


@pytest.mark.parametrize("cycles", [0, 1, 4, 10])
def test_a_sinusoid_on_a_bin_is_removed(cycles: int) -> None:
    day_T = torch.arange(20)
    x_SFT = (2.0 * torch.cos(2 * math.pi * cycles * day_T / 20)).expand(2, 3, 20)
    parts = split_main(x_SFT, _all_present(x_SFT), top_k=1)
    assert parts.residual_SFT.abs().max() < 1e-5


def test_the_last_residual_depends_on_the_last_day() -> None:
    x_SFT = _windows()
    changed_SFT = x_SFT.clone()
    changed_SFT[..., -1] += 0.5
    before = split_main(x_SFT, _all_present(x_SFT), top_k=2).residual_SFT
    after = split_main(changed_SFT, _all_present(x_SFT), top_k=2).residual_SFT
    assert ((after - before)[..., -1].abs() > 1e-3).all()


def test_absent_days_carry_the_mean_and_nothing_else() -> None:
    x_SFT = _windows()
    present_ST = _all_present(x_SFT)
    present_ST[0, :5] = False
    present_ST[1, 7] = False
    present_ST[2] = False
    noisy_SFT = torch.where(present_ST[:, None], x_SFT, 1e6)
    parts = split_main(noisy_SFT, present_ST, top_k=2)
    zeroed = split_main(torch.where(present_ST[:, None], x_SFT, 0.0), present_ST, top_k=2)
    torch.testing.assert_close(parts.residual_SFT, zeroed.residual_SFT)
    torch.testing.assert_close(parts.amplitude_SFP, zeroed.amplitude_SFP)

    filled_FT = x_SFT[0].clone()
    filled_FT[:, :5] = x_SFT[0, :, 5:].mean(-1, keepdim=True)
    oracle = split_main(filled_FT[None], torch.ones(1, 20, dtype=torch.bool), top_k=2)
    torch.testing.assert_close(parts.main_SFT[0], oracle.main_SFT[0])
    assert (parts.residual_SFT[0, :, :5] == 0).all()
    assert (parts.residual_SFT[2] == 0).all()
    assert torch.isfinite(parts.main_SFT).all()


@pytest.mark.parametrize("top_k", [0, 11, 12])
def test_top_k_must_leave_a_bin(top_k: int) -> None:
    x_SFT = _windows(days=20)
    with pytest.raises(ValueError, match="top_k"):
        split_main(x_SFT, _all_present(x_SFT), top_k)


def test_autocast_does_not_blur_the_split() -> None:
    x_SFT = _windows()
    plain = split_main(x_SFT, _all_present(x_SFT), top_k=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = split_main(x_SFT, _all_present(x_SFT), top_k=2)
    assert torch.equal(plain.residual_SFT, cast.residual_SFT)


@pytest.mark.parametrize("part", ["last", "slope", "amplitude"])
def test_the_main_head_sees_last_value_slope_and_amplitudes(part: str) -> None:
    torch.manual_seed(0)
    x_SFT = _windows()
    parts = split_main(x_SFT, _all_present(x_SFT), top_k=2)
    head = MainHead(features=3, top_k=2, hidden=8, horizons=4, dropout=0.0)
    before_SK = head(parts).detach()
    if part == "last":
        parts.main_SFT[..., -2:] += 1.0
    elif part == "slope":
        parts.main_SFT[..., -2] += 1.0
    else:
        parts.amplitude_SFP.add_(1.0)
    after_SK = head(parts)
    assert before_SK.shape == (6, 4)
    assert (after_SK - before_SK).abs().max() > 1e-3
