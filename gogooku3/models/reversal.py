"""The reversal rule: what fell lately rises.

Shapes: B days, N stocks, T look-back days, K horizons.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from gogooku3.config import ReversalConfig
from gogooku3.data.batch import Batch
from gogooku3.errors import ConfigError
from gogooku3.models.base import Learns, Model, ModelOutput, ModelShape


class Reversal(Model):
    """Score = minus the stock's compounded return over the last `days` days; nothing to learn.

    Without `days`, horizon h is scored by the last h days, or by the whole look-back if that is
    shorter. Absent days count as no move. Raises ConfigError when `days` exceeds the look-back.
    """

    learns: ClassVar[Learns] = "nothing"

    def __init__(self, config: ReversalConfig, shape: ModelShape) -> None:
        super().__init__()
        if config.days is not None and config.days > shape.lookback:
            raise ConfigError(
                f"reversal over {config.days} days needs a look-back of at least as many, "
                f"not {shape.lookback}"
            )
        self.days_K = [config.days or min(h, shape.lookback) for h in shape.horizons]

    def forward(self, batch: Batch) -> ModelOutput:
        """Scores of one batch."""
        growth_BNT = torch.where(batch.present_BNT, batch.past_return_BNT, 0.0) + 1.0
        score_BNK = torch.stack(
            [1.0 - growth_BNT[..., -days:].prod(-1) for days in self.days_K], dim=-1
        )
        return ModelOutput(torch.where(batch.mask_BN[..., None], score_BNK, 0.0))
