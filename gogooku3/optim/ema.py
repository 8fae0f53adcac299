"""A running mean of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of the trained weights (Polyak averaging), in their own type.

    Each `update` replaces the share 1 - decay of the mean; early on the decay is (1 + n) / (10 + n)
    after n updates where that is less, so that the first weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._weights = [p for p in model.parameters() if p.requires_grad]
        self._means = [p.detach().clone() for p in self._weights]

    @torch.no_grad()
    def update(self) -> None:
        """Take the model's weights as they are now into the mean."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self._means, [p.detach() for p in self._weights], 1.0 - decay)
        self.updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within this the model holds the mean, and afterwards its own weights again, bit for
        bit."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state(self) -> dict[str, int | list[Tensor]]:
        """For the resume state."""
        return {"updates": self.updates, "means": self._means}

    @torch.no_grad()
    def restore(self, updates: int, means: list[Tensor]) -> None:
        """Go on from a resume state."""
        self.updates = updates
        torch._foreach_copy_(self._means, means)

    def _swap(self) -> None:
        for place, (weight, mean) in enumerate(zip(self._weights, self._means, strict=True)):
            self._means[place], weight.data = weight.data, mean
