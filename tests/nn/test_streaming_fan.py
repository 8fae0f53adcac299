"""FAN, row by row: each row against the published form on its own trailing window."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gogooku3.nn import trailing_spectrum
from gogooku3.nn.fan import FanParts, StreamingFan, split_window


def _sequences(days: int = 30, stocks: int = 7, features: int = 5) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(3)
    x_LSF = torch.randn(days, stocks, features, generator=g).cumsum(0) + 0.5
    present_LS = torch.rand(days, stocks, generator=g) > 0.2
    present_LS[:, :3] = True
    present_LS[:12, 3] = False
    return x_LSF * present_LS[..., None], present_LS


def _everything(parts: FanParts) -> tuple[Tensor, ...]:
    return (
        parts.residual_LSF,
        parts.main.last_DSF,
        parts.main.slope_DSF,
        parts.main.amplitude_DSFP,
    )


@pytest.mark.parametrize(("window", "top_k"), [(10, 1), (10, 2), (9, 2), (20, 4), (2, 1), (3, 1)])
def test_a_row_is_decomposed_as_the_last_day_of_its_own_window(window: int, top_k: int) -> None:
    x_LSF, present_LS = _sequences()
    days = 5
    parts = StreamingFan(window=window, top_k=top_k)(x_LSF, present_LS, days)
    rows = len(x_LSF) - window + 1
    assert len(parts.residual_LSF) == rows
    for row in range(rows):
        at = slice(row, row + window)
        residual_SFT, main_SFT, amplitude_SFP = split_window(
            x_LSF[at].permute(1, 2, 0), present_LS[at].T, top_k
        )
        close = {"atol": 2e-4, "rtol": 1e-4}
        torch.testing.assert_close(parts.residual_LSF[row], residual_SFT[..., -1], **close)
        day = row - (rows - days)
        if day >= 0:
            main = parts.main
            torch.testing.assert_close(main.last_DSF[day], main_SFT[..., -1], **close)
            slope_SF = main_SFT[..., -1] - main_SFT[..., -2]
            torch.testing.assert_close(main.slope_DSF[day], slope_SF, **close)
            torch.testing.assert_close(main.amplitude_DSFP[day], amplitude_SFP, **close)


def test_it_is_causal_and_belongs_to_the_row() -> None:
    """Later days change nothing, and neither does where a sequence begins."""
    x_LSF, present_LS = _sequences()
    fan = StreamingFan(window=8, top_k=2)
    whole_LSF = fan(x_LSF, present_LS, 1).residual_LSF
    later_LSF = x_LSF.clone()
    later_LSF[20:] += 1.0
    assert torch.equal(fan(later_LSF, present_LS, 1).residual_LSF[:13], whole_LSF[:13])
    assert not torch.equal(fan(later_LSF, present_LS, 1).residual_LSF[13], whole_LSF[13])
    shorter_LSF = fan(x_LSF[9:], present_LS[9:], 1).residual_LSF
    torch.testing.assert_close(shorter_LSF, whole_LSF[9:], atol=1e-6, rtol=0)


def test_residual_and_main_add_up_to_the_scored_row() -> None:
    x_LSF, present_LS = _sequences()
    parts = StreamingFan(window=10, top_k=2)(x_LSF, present_LS, 4)
    total_DSF = (parts.residual_LSF[-4:] + parts.main.last_DSF)[present_LS[-4:]]
    torch.testing.assert_close(total_DSF, x_LSF[-4:][present_LS[-4:]], atol=1e-5, rtol=0)


@pytest.mark.parametrize("cycles", [0, 1, 4, 5])
def test_a_sinusoid_on_a_bin_is_removed_from_every_row(cycles: int) -> None:
    day_L = torch.arange(25)
    x_LSF = 2.0 * torch.cos(2 * math.pi * cycles * day_L / 10)[:, None, None].expand(25, 2, 3)
    residual_LSF = StreamingFan(window=10, top_k=1)(x_LSF, torch.ones(25, 2).bool(), 1).residual_LSF
    assert residual_LSF.abs().max() < 1e-5


def test_absent_rows_are_zero_and_tell_nothing() -> None:
    x_LSF, present_LS = _sequences()
    fan = StreamingFan(window=10, top_k=2)
    parts = fan(x_LSF, present_LS, 3)
    noisy = fan(x_LSF.masked_fill(~present_LS[..., None], 1e6), present_LS, 3)
    for one, other in zip(_everything(parts), _everything(noisy), strict=True):
        torch.testing.assert_close(one[:, :4], other[:, :4])
        assert torch.isfinite(other).all()
    assert (noisy.residual_LSF[~present_LS[9:]] == 0).all()


def test_equal_amplitudes_are_told_apart_by_frequency() -> None:
    """An impulse has every frequency alike: rounding must not choose among them."""
    x_LSF = torch.zeros(12, 1, 1)
    x_LSF[5] = 1.0
    fan = StreamingFan(window=6, top_k=2)
    for scale in (1.0, 0.3, 1e4, 0.7):
        residual_LSF = fan(scale * x_LSF, torch.ones(12, 1).bool(), 1).residual_LSF
        for ago in range(6):
            # DC and the first harmonic, each with |X| = 1, as they stand `ago` days later.
            main = (1.0 + 2.0 * math.cos(2 * math.pi * ago / 6)) / 6
            expected = scale * ((1.0 if ago == 0 else 0.0) - main)
            assert residual_LSF[ago, 0, 0].item() == pytest.approx(expected, abs=1e-5 * scale)


def test_tiles_of_columns_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    x_LSF, present_LS = _sequences()
    fan = StreamingFan(window=10, top_k=2)
    whole = _everything(fan(x_LSF, present_LS, 3))
    monkeypatch.setitem(trailing_spectrum._TILE, "cpu", 10)
    for one, other in zip(whole, _everything(fan(x_LSF, present_LS, 3)), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_autocast_does_not_blur_it() -> None:
    x_LSF, present_LS = _sequences()
    fan = StreamingFan(window=10, top_k=2)
    plain = fan(x_LSF, present_LS, 1).residual_LSF
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(fan(x_LSF, present_LS, 1).residual_LSF, plain)


def test_windows_that_do_not_fit_are_errors() -> None:
    with pytest.raises(ValueError, match="top_k"):
        StreamingFan(window=6, top_k=4)
    fan = StreamingFan(window=10, top_k=2)
    with pytest.raises(ValueError, match="too few"):
        fan(torch.zeros(12, 1, 1), torch.ones(12, 1).bool(), 4)
