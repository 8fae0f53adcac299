"""Student-t negative log-likelihood. Shapes: B days, K horizons, N stocks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gogooku3.config import StudentTConfig
from gogooku3.losses import moments
from gogooku3.losses.days import Days


class StudentT:
    """-log density of the target under Student's t: the score is the location, and the head
    predicts the scale and the degrees of freedom beside it."""

    def __init__(self, config: StudentTConfig) -> None:
        """Nothing to set: the weight belongs to the sum over terms."""

    def __call__(self, days: Days) -> Tensor:
        """Value per day and horizon [B, K], in nats. Raises ValueError without a t head."""
        scale_BKN, freedom_BKN = days.of_distribution("student_t").unbind(-1)
        z_BKN = (days.target_BKN - days.score_BKN) / scale_BKN
        half_BKN = freedom_BKN / 2
        constant_BKN = (
            torch.lgamma(half_BKN)
            - torch.lgamma(half_BKN + 0.5)
            + 0.5 * (math.log(math.pi) + freedom_BKN.log())
            + scale_BKN.log()
        )
        tail_BKN = (half_BKN + 0.5) * torch.log1p(z_BKN.square() / freedom_BKN)
        return moments.mean(constant_BKN + tail_BKN, days.valid_BKN)
