"""Where the arithmetic happens, in which precision, and that it repeats itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch

from gogooku3.errors import ConfigError

Precision = Literal["fp32", "bf16"]


def open_device(name: str) -> torch.device:
    """The device of that name (`cpu`, `cuda:0`). Raises ConfigError if this machine lacks it."""
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"this process sees no device {name}: {torch.cuda.device_count()} GPUs")
    return device


def device_of(first: str, rank: int) -> str:
    """The device of a rank: the leading rank's own, the next GPUs for those that follow."""
    device = torch.device(first)
    return first if device.type == "cpu" else f"{device.type}:{(device.index or 0) + rank}"


def choose_precision(asked: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """`auto` is bf16 on a GPU that has it, else fp32."""
    if asked != "auto":
        return asked
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The forward pass's arithmetic; losses stay outside of it, in fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@contextmanager
def deterministic(device: torch.device, *, on_gpu: bool = False) -> Iterator[None]:
    """Same inputs, same bits, on the CPU also with several threads; on a GPU only if asked, and
    there as far as torch can: it is slower.

    Without this torch adds up repeated indices in parallel, in whatever order threads come.
    """
    # `use_deterministic_algorithms` tells torch's compiler as well, and loads it for that.
    before = torch.get_deterministic_debug_mode()
    mode = "error" if device.type == "cpu" else "warn" if on_gpu else before
    torch.set_deterministic_debug_mode(mode)
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
