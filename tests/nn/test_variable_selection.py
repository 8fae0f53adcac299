"""Variable selection: one product for all features equals a loop over them."""

from __future__ import annotations

import torch

from gogooku3.nn.variable_selection import VariableSelection


def _block() -> VariableSelection:
    torch.manual_seed(0)
    return VariableSelection(features=5, rank=3, width=8, dropout=0.2).eval()


def test_the_grouped_product_equals_a_loop_over_features() -> None:
    block = _block()
    x_TSF, context_SD = torch.randn(4, 6, 5), torch.randn(6, 8)
    selected_TSD, weight_TSF = block(x_TSF, context_SD)
    expected_TSD = torch.zeros(4, 6, 8)
    for f in range(5):
        hinge = torch.relu(x_TSF[..., f, None] * block.scale_PF[:, f] + block.bias_PF[:, f])
        expected_TSD += weight_TSF[..., f, None] * (hinge @ block.lift_PFD[:, f])
    torch.testing.assert_close(selected_TSD, expected_TSD)
    torch.testing.assert_close(weight_TSF.sum(-1), torch.ones(4, 6))
    assert (weight_TSF > 0).all()


def test_the_sector_context_changes_the_weights() -> None:
    block = _block()
    x_TSF = torch.randn(4, 6, 5)
    _, one = block(x_TSF, torch.randn(6, 8))
    _, other = block(x_TSF, torch.randn(6, 8))
    assert (one - other).abs().max() > 1e-2


def test_each_feature_reaches_the_embedding() -> None:
    block = _block()
    x_TSF, context_SD = torch.randn(4, 6, 5), torch.randn(6, 8)
    before, _ = block(x_TSF, context_SD)
    for f in range(5):
        changed_TSF = x_TSF.clone()
        changed_TSF[..., f] += 1.0
        assert (block(changed_TSF, context_SD)[0] - before).abs().max() > 1e-3


def test_gradients_are_exact() -> None:
    block = _block().double()
    generator = torch.Generator().manual_seed(3)
    x_TSF = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    context_SD = torch.randn(3, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, c: block(x, c)[0], (x_TSF, context_SD))

    def by_parameters(*values: torch.Tensor) -> torch.Tensor:
        names = ("scale_PF", "bias_PF", "lift_PFD")
        given = dict(zip(names, values, strict=True))
        out, _ = torch.func.functional_call(block, given, (x_TSF.detach(), context_SD.detach()))
        return out

    values = [
        p.detach().clone().requires_grad_() for p in (block.scale_PF, block.bias_PF, block.lift_PFD)
    ]
    assert torch.autograd.gradcheck(by_parameters, values)
