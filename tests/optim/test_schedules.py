"""Schedules: pure functions of the step, equal to the published curves."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, ReduceLROnPlateau

from gogooku3.config import (
    ConstantConfig,
    CosineRestartsConfig,
    PlateauConfig,
    SchedulerConfig,
    WarmupCosineConfig,
)
from gogooku3.optim import SCHEDULES, build_scheduler

CONFIG: TypeAdapter[SchedulerConfig] = TypeAdapter(SchedulerConfig)
CHANGES: list[tuple[str, str, Any]] = [
    ("warmup_cosine", "warmup_epochs", 2.0),
    ("warmup_cosine", "eta_min", 1e-3),
    ("cosine_restarts", "t_0", 2),
    ("cosine_restarts", "t_mult", 1),
    ("cosine_restarts", "eta_min", 1e-3),
]


def _rates(config: SchedulerConfig, lr: float = 0.01, steps: int = 10, epochs: int = 9) -> list:
    schedule = build_scheduler(config, lr=lr, steps_per_epoch=steps, max_epochs=epochs)
    return [schedule.lr_at(step) for step in range(steps * epochs)]


@pytest.mark.parametrize(("kind", "name", "value"), CHANGES)
def test_every_setting_is_read(kind: str, name: str, value: Any) -> None:
    plain = _rates(CONFIG.validate_python({"kind": kind}))
    assert plain != _rates(CONFIG.validate_python({"kind": kind, name: value}))


@pytest.mark.parametrize("kind", sorted(SCHEDULES))
def test_the_highest_rate_is_the_optimisers(kind: str) -> None:
    for lr in (0.01, 0.3):
        rates = _rates(CONFIG.validate_python({"kind": kind}), lr=lr)
        assert max(rates) == pytest.approx(lr)
        assert min(rates) > 0


@pytest.mark.parametrize("kind", sorted(SCHEDULES))
def test_the_rate_depends_on_the_step_alone(kind: str) -> None:
    config = CONFIG.validate_python({"kind": kind})
    schedule = build_scheduler(config, lr=0.01, steps_per_epoch=7, max_epochs=5)
    forward = [schedule.lr_at(step) for step in range(35)]
    assert [schedule.lr_at(step) for step in reversed(range(35))] == forward[::-1]


def test_constant_stays() -> None:
    assert set(_rates(ConstantConfig())) == {0.01}


def test_warm_up_rises_then_one_cosine_falls() -> None:
    rates = _rates(WarmupCosineConfig(warmup_epochs=1.5, eta_min=1e-4))
    assert rates[:15] == pytest.approx([0.01 * (step + 1) / 15 for step in range(15)])
    for step in range(15, 90):
        cosine = 0.5 * (1 + math.cos(math.pi * (step - 15) / 75))
        assert rates[step] == pytest.approx(1e-4 + (0.01 - 1e-4) * cosine)
    assert rates[-1] < 2e-4


def test_a_warm_up_longer_than_the_run_only_rises() -> None:
    rates = _rates(WarmupCosineConfig(warmup_epochs=20.0), epochs=3)
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.01 * 30 / 200)


def test_no_warm_up_starts_at_the_top() -> None:
    assert _rates(WarmupCosineConfig(warmup_epochs=0.0))[0] == pytest.approx(0.01)


@pytest.mark.parametrize(("t_0", "t_mult"), [(3, 2), (2, 1), (1, 3)])
def test_restarts_are_torchs_stepped_per_batch(t_0: int, t_mult: int) -> None:
    config = CosineRestartsConfig(t_0=t_0, t_mult=t_mult, eta_min=5e-5)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.01)
    oracle = CosineAnnealingWarmRestarts(optimizer, T_0=t_0, T_mult=t_mult, eta_min=5e-5)
    optimizer.step()
    expected = []
    for step in range(90):
        oracle.step(step / 10)
        expected.append(optimizer.param_groups[0]["lr"])
    assert _rates(config) == pytest.approx(expected)


def test_a_plateau_lowers_the_rate_as_torchs_does() -> None:
    torch.manual_seed(0)
    config = PlateauConfig(factor=0.5, patience=2, eta_min=1e-3)
    schedule = build_scheduler(config, lr=0.01, steps_per_epoch=10, max_epochs=60)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    oracle = ReduceLROnPlateau(optimizer, factor=0.5, patience=2, min_lr=1e-3, threshold=0.0)
    best, rates = math.inf, []
    for epoch, value in enumerate(torch.randn(60).tolist()):
        rates.append(schedule.lr_at(10 * epoch))
        assert rates[-1] == pytest.approx(optimizer.param_groups[0]["lr"])
        schedule.note(value < best)
        best = min(best, value)
        oracle.step(value)
    assert rates[0] == 0.01
    assert min(rates) == 1e-3


@pytest.mark.parametrize(
    "changes", [{"factor": 0.1}, {"patience": 0}, {"eta_min": 9e-3}], ids=lambda c: next(iter(c))
)
def test_every_setting_of_a_plateau_is_read(changes: dict[str, Any]) -> None:
    rates = []
    for config in (PlateauConfig(), PlateauConfig(**changes)):
        schedule = build_scheduler(config, lr=0.01, steps_per_epoch=10, max_epochs=9)
        for _ in range(4):
            schedule.note(False)
        rates.append(schedule.lr_at(40))
    assert rates[0] != rates[1]


def test_the_lowest_rate_is_never_above_the_highest() -> None:
    assert set(_rates(CosineRestartsConfig(eta_min=0.1))) == {0.01}
