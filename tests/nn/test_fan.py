"""FAN, once per window: what is taken out, what is left, and what absent days do."""

from __future__ import annotations

import math

import pytest
import torch

from gogooku3.nn.fan import MainHead, MainPart, WindowFan, split_window


def _windows(windows: int = 6, features: int = 3, days: int = 20) -> torch.Tensor:
    return torch.randn(windows, features, days, generator=torch.Generator().manual_seed(1))


def _all_present(x_SFT: torch.Tensor) -> torch.Tensor:
    return torch.ones(x_SFT.shape[0], x_SFT.shape[-1], dtype=torch.bool)


@pytest.mark.parametrize("days", [19, 20, 60])
def test_residual_and_main_add_up_to_the_window(days: int) -> None:
    x_SFT = _windows(days=days)
    residual_SFT, main_SFT, _ = split_window(x_SFT, _all_present(x_SFT), top_k=3)
    torch.testing.assert_close(residual_SFT + main_SFT, x_SFT, atol=1e-5, rtol=0)
    assert main_SFT.abs().mean() > 0.1


@pytest.mark.parametrize("top_k", [1, 2, 5])
def test_exactly_the_strongest_bins_are_removed(top_k: int) -> None:
    x_SFT = _windows() + 0.5
    residual_SFT, _, amplitude_SFP = split_window(x_SFT, _all_present(x_SFT), top_k)
    before_SFJ = torch.fft.rfft(x_SFT).abs()
    after_SFJ = torch.fft.rfft(residual_SFT).abs()
    picked = after_SFJ < 1e-4
    assert (picked.sum(-1) == top_k).all()
    weakest_picked = before_SFJ.masked_fill(~picked, torch.inf).amin(-1)
    strongest_left = before_SFJ.masked_fill(picked, 0.0).amax(-1)
    assert (weakest_picked >= strongest_left).all()
    expected = before_SFJ.topk(top_k).values / x_SFT.shape[-1]
    torch.testing.assert_close(amplitude_SFP, expected)


@pytest.mark.parametrize("cycles", [0, 1, 4, 10])
def test_a_sinusoid_on_a_bin_is_removed(cycles: int) -> None:
    day_T = torch.arange(20)
    x_SFT = (2.0 * torch.cos(2 * math.pi * cycles * day_T / 20)).expand(2, 3, 20)
    residual_SFT, _, _ = split_window(x_SFT, _all_present(x_SFT), top_k=1)
    assert residual_SFT.abs().max() < 1e-5


def test_the_last_residual_depends_on_the_last_day() -> None:
    x_SFT = _windows()
    changed_SFT = x_SFT.clone()
    changed_SFT[..., -1] += 0.5
    before = split_window(x_SFT, _all_present(x_SFT), top_k=2)[0]
    after = split_window(changed_SFT, _all_present(x_SFT), top_k=2)[0]
    assert ((after - before)[..., -1].abs() > 1e-3).all()


def test_absent_days_carry_the_mean_and_nothing_else() -> None:
    x_SFT = _windows()
    present_ST = _all_present(x_SFT)
    present_ST[0, :5] = False
    present_ST[1, 7] = False
    present_ST[2] = False
    noisy_SFT = torch.where(present_ST[:, None], x_SFT, 1e6)
    residual_SFT, main_SFT, amplitude_SFP = split_window(noisy_SFT, present_ST, top_k=2)
    zeroed = split_window(torch.where(present_ST[:, None], x_SFT, 0.0), present_ST, top_k=2)
    torch.testing.assert_close(residual_SFT, zeroed[0])
    torch.testing.assert_close(amplitude_SFP, zeroed[2])

    filled_FT = x_SFT[0].clone()
    filled_FT[:, :5] = x_SFT[0, :, 5:].mean(-1, keepdim=True)
    _, oracle_SFT, _ = split_window(filled_FT[None], torch.ones(1, 20, dtype=torch.bool), top_k=2)
    torch.testing.assert_close(main_SFT[0], oracle_SFT[0])
    assert (residual_SFT[0, :, :5] == 0).all()
    assert (residual_SFT[2] == 0).all()
    assert torch.isfinite(main_SFT).all()


@pytest.mark.parametrize("top_k", [0, 11, 12])
def test_top_k_must_leave_a_bin(top_k: int) -> None:
    with pytest.raises(ValueError, match="top_k"):
        WindowFan(window=20, top_k=top_k)


def test_one_decomposition_serves_one_scored_day() -> None:
    x_LSF, present_LS = torch.randn(20, 4, 3), torch.ones(20, 4, dtype=torch.bool)
    fan = WindowFan(window=20, top_k=2)
    parts = fan(x_LSF, present_LS, 1)
    residual_SFT, main_SFT, amplitude_SFP = split_window(x_LSF.permute(1, 2, 0), present_LS.T, 2)
    assert torch.equal(parts.residual_LSF, residual_SFT.permute(2, 0, 1))
    assert torch.equal(parts.main.last_DSF[0], main_SFT[..., -1])
    assert torch.equal(parts.main.slope_DSF[0], main_SFT[..., -1] - main_SFT[..., -2])
    assert torch.equal(parts.main.amplitude_DSFP[0], amplitude_SFP)
    for days, length in ((2, 20), (1, 21)):
        with pytest.raises(ValueError, match="one scored day"):
            fan(torch.randn(length, 4, 3), torch.ones(length, 4, dtype=torch.bool), days)


def test_autocast_does_not_blur_the_split() -> None:
    x_SFT = _windows()
    plain = split_window(x_SFT, _all_present(x_SFT), top_k=2)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = split_window(x_SFT, _all_present(x_SFT), top_k=2)[0]
    assert torch.equal(plain, cast)


@pytest.mark.parametrize("part", ["last_DSF", "slope_DSF", "amplitude_DSFP"])
def test_the_main_head_sees_last_value_slope_and_amplitudes(part: str) -> None:
    torch.manual_seed(0)
    main = MainPart(torch.randn(2, 6, 3), torch.randn(2, 6, 3), torch.rand(2, 6, 3, 2))
    head = MainHead(features=3, top_k=2, hidden=8, horizons=4, dropout=0.0)
    before_DSK = head(main).detach()
    getattr(main, part).add_(1.0)
    after_DSK = head(main)
    assert before_DSK.shape == (2, 6, 4)
    assert (after_DSK - before_DSK).abs().max() > 1e-3
