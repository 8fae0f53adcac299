"""Lion, the evolved sign momentum (Chen et al., NeurIPS 2023)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Lion(Optimizer):
    """p -= lr (sign(b1 m + (1 - b1) g) + decay p), then m = b2 m + (1 - b2) g.

    One state tensor per parameter, and all parameters of a group in a few calls.
    """

    def __init__(
        self, groups: list[dict[str, Any]], *, lr: float, betas: tuple[float, float]
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every parameter that has a gradient. Raises TypeError for a closure."""
        if closure is not None:
            raise TypeError("Lion evaluates no closure")
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if moved:
                self._move(group, moved)
        return None

    def _move(self, group: dict[str, Any], moved: list[Tensor]) -> None:
        first, second = group["betas"]
        gradients = [p.grad for p in moved if p.grad is not None]
        for parameter in moved:
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[p]["momentum"] for p in moved]
        signs = torch._foreach_lerp(momenta, gradients, 1.0 - first)
        torch._foreach_sign_(signs)
        torch._foreach_mul_(moved, 1.0 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(moved, signs, alpha=-group["lr"])
        torch._foreach_lerp_(momenta, gradients, 1.0 - second)
