"""Device and precision."""

import pytest
import torch

from gogooku3.errors import ConfigError
from gogooku3.training.device import autocast, choose_precision, deterministic, open_device


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="cuda:63"):
        open_device("cuda:63")


def test_auto_is_full_precision_on_the_cpu() -> None:
    cpu = torch.device("cpu")
    assert choose_precision("auto", cpu) == "fp32"
    assert choose_precision("bf16", cpu) == "bf16"


def test_autocast_makes_products_in_bf16_only_when_asked() -> None:
    cpu, x = torch.device("cpu"), torch.ones(4, 4)
    with autocast(cpu, "bf16"):
        assert (x @ x).dtype == torch.bfloat16
    with autocast(cpu, "fp32"):
        assert (x @ x).dtype == torch.float32


def test_determinism_is_put_back() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    with deterministic(torch.device("cpu")):
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled() == before
