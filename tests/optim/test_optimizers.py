"""Optimisers: what decays, that every setting is read, that the state comes back exactly."""

from __future__ import annotations

import copy
import sys
from typing import Any

import pytest
import torch
from adabelief_pytorch import AdaBelief
from pydantic import TypeAdapter
from torch import nn

from gogooku3.config import AdaBeliefConfig, AdamWConfig, LionConfig, OptimizerConfig
from gogooku3.optim import OPTIMIZERS, build_optimizer
from gogooku3.optim.optimizers import decay_groups

KINDS = sorted(OPTIMIZERS)
CONFIG: TypeAdapter[OptimizerConfig] = TypeAdapter(OptimizerConfig)
CHANGES: list[tuple[str, str, Any]] = [
    *((kind, "lr", 0.1) for kind in KINDS),
    *((kind, "weight_decay", 0.5) for kind in KINDS),
    *((kind, "betas", (0.5, 0.999)) for kind in KINDS),
    *((kind, "betas", (0.9, 0.9)) for kind in KINDS),
    *((kind, "eps", 1e-2) for kind in KINDS if kind != "lion"),
    ("adabelief", "rectify", False),
]


class Net(nn.Module):
    """A matrix, a bias, a norm, a temperature and a grouped bias."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.norm = nn.LayerNorm(3)
        self.temperature = nn.Parameter(torch.tensor(1.0))
        self.bias_FP = nn.Parameter(torch.ones(2, 3))
        self.frozen = nn.Parameter(torch.ones(2, 2), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(self.linear(x)) / self.temperature
        out: torch.Tensor = (hidden[:, None] * self.bias_FP).square().sum((1, 2))
        return out


def _run(config: OptimizerConfig, steps: int = 12) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    net = Net()
    optimizer = build_optimizer(config, net)
    for _ in range(steps):
        _step(net, optimizer)
    return net.state_dict()


def _step(net: Net, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    net(torch.randn(8, 4)).mean().backward()
    optimizer.step()


@pytest.mark.parametrize(("kind", "name", "value"), CHANGES)
def test_every_setting_is_read(kind: str, name: str, value: Any) -> None:
    plain = _run(CONFIG.validate_python({"kind": kind}))
    changed = _run(CONFIG.validate_python({"kind": kind, name: value}))
    assert not torch.equal(plain["linear.weight"], changed["linear.weight"])


@pytest.mark.parametrize("kind", KINDS)
def test_only_matrices_decay(kind: str) -> None:
    torch.manual_seed(0)
    net = Net()
    before = copy.deepcopy(net.state_dict())
    config = CONFIG.validate_python({"kind": kind, "lr": 0.1, "weight_decay": 0.5})
    optimizer = build_optimizer(config, net)
    for parameter in net.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in net.state_dict().items():
        expected = before[name] * (0.95 if name == "linear.weight" else 1.0)
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_state_goes_on_bit_for_bit(kind: str) -> None:
    config = CONFIG.validate_python({"kind": kind, "lr": 0.01})
    torch.manual_seed(0)
    net = Net()
    optimizer = build_optimizer(config, net)
    for _ in range(9):
        _step(net, optimizer)
    saved = copy.deepcopy((net.state_dict(), optimizer.state_dict(), torch.get_rng_state()))
    for _ in range(5):
        _step(net, optimizer)

    other = Net()
    resumed = build_optimizer(config, other)
    other.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    torch.set_rng_state(saved[2])
    for _ in range(5):
        _step(other, resumed)
    for ours, theirs in zip(other.parameters(), net.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_adamw_is_torchs_fused_step() -> None:
    config, nets = AdamWConfig(), [Net(), Net()]
    nets[1].load_state_dict(nets[0].state_dict())
    ours = build_optimizer(config, nets[0])
    assert isinstance(ours, torch.optim.AdamW)
    assert all(group["fused"] for group in ours.param_groups)
    groups = decay_groups(nets[1], config.weight_decay)
    theirs = torch.optim.AdamW(groups, config.lr, config.betas, config.eps, fused=True)
    for net, optimizer in zip(nets, (ours, theirs), strict=True):
        torch.manual_seed(0)
        for _ in range(5):
            _step(net, optimizer)
    for mine, other in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.equal(mine, other)


def test_adabelief_is_the_authors_and_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    optimizer = build_optimizer(AdaBeliefConfig(rectify=False), Net())
    assert isinstance(optimizer, AdaBelief)
    assert optimizer.weight_decouple
    assert not optimizer.rectify
    sys.stdout.flush()
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_adabelief_moves_fp32_weights_under_bf16() -> None:
    """The weights of a run are fp32 whatever the autocast: small steps are not rounded away."""
    torch.manual_seed(0)
    net = Net()
    optimizer = build_optimizer(AdaBeliefConfig(lr=1e-5, rectify=False), net)
    before = net.linear.weight.detach().clone()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = net(torch.randn(8, 4)).mean()
    loss.backward()
    optimizer.step()
    assert net.linear.weight.dtype == torch.float32
    assert (net.linear.weight != before).all()
    assert (net.linear.weight.bfloat16() == before.bfloat16()).float().mean() > 0.8


def test_lion_is_the_papers() -> None:
    torch.manual_seed(0)
    net = Net()
    config = LionConfig(lr=0.01, weight_decay=0.1, betas=(0.8, 0.95))
    optimizer = build_optimizer(config, net)
    weight = net.linear.weight.detach().clone()
    momentum = torch.zeros_like(weight)
    for _ in range(6):
        _step(net, optimizer)
        gradient = net.linear.weight.grad
        assert gradient is not None
        direction = torch.sign(0.8 * momentum + 0.2 * gradient)
        weight = weight - 0.01 * (direction + 0.1 * weight)
        momentum = 0.95 * momentum + 0.05 * gradient
        torch.testing.assert_close(net.linear.weight.detach(), weight)


@pytest.mark.parametrize("kind", KINDS)
def test_the_caller_sets_the_rate(kind: str) -> None:
    torch.manual_seed(0)
    net = Net()
    before = net.linear.weight.detach().clone()
    optimizer = build_optimizer(CONFIG.validate_python({"kind": kind}), net)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    _step(net, optimizer)
    assert torch.equal(net.linear.weight, before)


def test_a_model_without_parameters_is_an_error() -> None:
    with pytest.raises(ValueError, match="no trainable parameter"):
        build_optimizer(AdamWConfig(), nn.ReLU())
