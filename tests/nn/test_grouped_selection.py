"""Grouped variable selection: all networks at once equal one after the other, chunks included."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gogooku3.nn import feature_networks, grouped_selection
from gogooku3.nn.grouped_selection import EmbeddingWeights, GroupedVariableSelection


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
    assert isinstance(block.weigh, EmbeddingWeights)
    logit_TSF = block.weigh.network(embedded_TSFD.flatten(2), context_SD)
    expected_TSF = logit_TSF.softmax(-1)
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


@pytest.mark.parametrize("size", [10, 64, 250])
@pytest.mark.parametrize("what", ["chunk", "tile"])
def test_chunks_and_tiles_make_no_difference(
    monkeypatch: pytest.MonkeyPatch, what: str, size: int
) -> None:
    block = _block()
    x_TSF, context_SD = torch.randn(7, 6, 5), torch.randn(6, 4)
    found = []
    for limit in (1 << 25, size):
        if what == "chunk":
            monkeypatch.setattr(grouped_selection, "_CHUNK", limit)
        else:
            monkeypatch.setitem(feature_networks._TILE, "cpu", limit)
        block.zero_grad()
        selected_TSD, weight_TSF = block(x_TSF, context_SD)
        (selected_TSD.square().sum() + weight_TSF.square().sum()).backward()
        gradients = [p.grad.clone() for p in block.parameters() if p.grad is not None]
        found.append((selected_TSD, weight_TSF, *gradients))
    assert len(found[0]) == 2 + len(list(block.parameters()))
    for whole, pieces in zip(*found, strict=True):
        torch.testing.assert_close(whole, pieces, atol=1e-5, rtol=1e-4)


def test_chunks_are_not_kept_for_the_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    x_TSF, context_SD = torch.randn(7, 60, 5), torch.randn(60, 4)

    def kept_bytes(chunk: int) -> int:
        monkeypatch.setattr(grouped_selection, "_CHUNK", chunk)
        kept: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        block = _block().train()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            _made = block(x_TSF, context_SD)
        return sum(kept.values())

    of_networks = 6 * 5 * 7 * 60 * 4 * 4  # floats of six tensors [F, R, D]
    whole, in_chunks = kept_bytes(1 << 25), kept_bytes(400)
    assert whole - in_chunks > 0.8 * of_networks


@pytest.mark.parametrize("tile", [8, 64])
@pytest.mark.parametrize("is_training", [False, True])
def test_gradients_are_exact(monkeypatch: pytest.MonkeyPatch, tile: int, is_training: bool) -> None:
    """Also under dropout, whose draw is the same at each call here."""
    monkeypatch.setitem(feature_networks._TILE, "cpu", tile)
    block = _block().double().train(is_training)
    generator = torch.Generator().manual_seed(3)
    x_TSF = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    context_SD = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in block.named_parameters()]

    def selected(x: Tensor, context: Tensor, *values: Tensor) -> Tensor:
        torch.manual_seed(5)
        given = dict(zip(names, values, strict=True))
        out: Tensor = torch.func.functional_call(block, given, (x, context))[0]
        return out

    values = [p.detach().clone().requires_grad_() for p in block.parameters()]
    assert torch.autograd.gradcheck(selected, (x_TSF, context_SD, *values), fast_mode=True)


def test_dropout_drops_and_is_repeatable() -> None:
    block = _block()
    x_TSF, context_SD = torch.randn(3, 6, 5), torch.randn(6, 4)
    torch.manual_seed(1)
    block.train()
    one, other = block(x_TSF, context_SD)[0], block(x_TSF, context_SD)[0]
    assert not torch.equal(one, other)
    torch.manual_seed(1)
    torch.testing.assert_close(block(x_TSF, context_SD)[0], one, rtol=0, atol=0)


def test_autocast_computes_in_its_type_and_keeps_gradients_in_the_weights_own() -> None:
    block = _block()
    x_TSF, context_SD = torch.randn(3, 6, 5), torch.randn(6, 4)
    exact_TSD, _ = block(x_TSF, context_SD)
    with torch.autocast("cpu", torch.bfloat16):
        coarse_TSD, _ = block(x_TSF, context_SD)
    torch.testing.assert_close(coarse_TSD.float(), exact_TSD, atol=0.1, rtol=0.1)
    assert not torch.equal(coarse_TSD.float(), exact_TSD)
    coarse_TSD.float().square().sum().backward()
    assert block.mix_FDD.grad is not None
    assert block.mix_FDD.grad.dtype == torch.float32
