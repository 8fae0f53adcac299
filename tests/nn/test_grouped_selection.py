"""Grouped variable selection: all networks at once equal one after the other, chunks included."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gogooku3.nn import grouped_selection
from gogooku3.nn.grouped_selection import GroupedVariableSelection


def _block() -> GroupedVariableSelection:
    torch.manual_seed(0)
    block = GroupedVariableSelection(features=5, width=4, dropout=0.2).eval()
    for name, parameter in block.named_parameters():
        if name.startswith("bias"):
            torch.nn.init.normal_(parameter)
    return block


def test_it_equals_a_loop_over_the_features() -> None:
    block = _block()
    x_TSF, context_SD = torch.randn(3, 6, 5), torch.randn(6, 4)
    selected_TSD, weight_TSF = block(x_TSF, context_SD)
    embedded_TSFD = x_TSF[..., None] * block.scale_FD + block.bias_FD
    expected_TSF = block.weigh(embedded_TSFD.flatten(2), context_SD).softmax(-1)
    torch.testing.assert_close(weight_TSF, expected_TSF)
    expected_TSD = torch.zeros(3, 6, 4)
    for f in range(5):
        skip = embedded_TSFD[:, :, f]
        hidden = F.elu(skip @ block.enter_FDD[f] + block.bias_enter_F1D[f])
        hidden = hidden @ block.mix_FDD[f] + block.bias_mix_F1D[f]
        gated = F.glu(hidden @ block.gate_FDG[f] + block.bias_gate_F1G[f], dim=-1)
        normed = F.layer_norm(
            gated + skip, (4,), block.bias_scale_F1D[f, 0], block.bias_shift_F1D[f, 0]
        )
        expected_TSD += weight_TSF[..., f, None] * normed
    torch.testing.assert_close(selected_TSD, expected_TSD)


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    block = _block()
    x_TSF, context_SD = torch.randn(7, 6, 5), torch.randn(6, 4)
    found = []
    for size in (1 << 25, 250):
        monkeypatch.setattr(grouped_selection, "_CHUNK", size)
        block.zero_grad()
        selected_TSD, weight_TSF = block(x_TSF, context_SD)
        (selected_TSD.square().sum() + weight_TSF.square().sum()).backward()
        gradients = [p.grad.clone() for p in block.parameters() if p.grad is not None]
        found.append((selected_TSD, weight_TSF, *gradients))
    assert len(found[0]) == 2 + len(list(block.parameters()))
    for whole, pieces in zip(*found, strict=True):
        torch.testing.assert_close(whole, pieces, atol=1e-5, rtol=1e-4)
