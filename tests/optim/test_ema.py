"""The running mean of the weights: its value, its swap and its state."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gogooku3.optim import Ema


def _moved(model: nn.Module, steps: int, ema: Ema) -> list[torch.Tensor]:
    """Random steps; the first weight after each."""
    seen = []
    for _ in range(steps):
        for parameter in model.parameters():
            parameter.data.add_(torch.randn_like(parameter))
        ema.update()
        seen.append(next(model.parameters()).detach().clone())
    return seen


def test_the_mean_is_the_recursive_one_with_a_warm_up() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    expected = model.weight.detach().clone()
    ema = Ema(model, decay=0.7)
    for n, weight in enumerate(_moved(model, 40, ema)):
        decay = min(0.7, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weight
    with ema.applied():
        torch.testing.assert_close(model.weight.detach(), expected)


def test_the_weights_come_back_bit_for_bit() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    ema = Ema(model, decay=0.9)
    _moved(model, 5, ema)
    before = copy.deepcopy(model.state_dict())
    parameters = list(model.parameters())

    def fail_within() -> None:
        with ema.applied():
            assert not torch.equal(model.weight, before["weight"])
            raise RuntimeError("within")

    with pytest.raises(RuntimeError, match="within"):
        fail_within()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))


def test_a_restored_mean_goes_on_bit_for_bit() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    ema = Ema(model, decay=0.9)
    _moved(model, 5, ema)
    saved = copy.deepcopy((model.state_dict(), ema.state(), torch.get_rng_state()))
    _moved(model, 5, ema)
    other = nn.Linear(3, 2)
    other.load_state_dict(saved[0])
    resumed = Ema(other, decay=0.9)
    resumed.restore(**saved[1])
    torch.set_rng_state(saved[2])
    _moved(other, 5, resumed)
    with ema.applied(), resumed.applied():
        assert torch.equal(model.weight, other.weight)
        assert torch.equal(model.bias, other.bias)
