"""Ridge regression on the scored day's features, in closed form.

Shapes: B days, N stocks, T look-back days, F features, G = F + 1 (a one in front), K horizons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
from torch import Tensor

from gogooku3.config import LinearConfig
from gogooku3.data.batch import Batch
from gogooku3.models.base import Learns, Model, ModelOutput, ModelShape


class Linear(Model):
    """score_k = intercept_k + x(t) . weight_k, one ridge regression per horizon.

    Minimises mean((target - score)^2) + alpha |weight|^2 over the stocks whose horizon's return
    is known; the intercept is not penalised. Before `fit` every score is 0. The report
    `selection_F` is each feature's share of the absolute weights.
    """

    learns: ClassVar[Learns] = "fit"
    weight_GK: Tensor

    def __init__(self, config: LinearConfig, shape: ModelShape) -> None:
        super().__init__()
        self.alpha = config.alpha
        size = (len(shape.features) + 1, len(shape.horizons))
        self.register_buffer("weight_GK", torch.zeros(size))

    def forward(self, batch: Batch) -> ModelOutput:
        """Scores of one batch."""
        x_BNF = batch.x_BNTF[:, :, -1]
        # In bf16 two thirds of the scores of 4,000 stocks would tie.
        with torch.autocast(x_BNF.device.type, enabled=False):
            score_BNK = x_BNF @ self.weight_GK[1:] + self.weight_GK[0]
        size_F = self.weight_GK[1:].abs().sum(1)
        share_F = size_F / size_F.sum().clamp(min=1e-30)
        score_BNK = torch.where(batch.mask_BN[..., None], score_BNK, 0.0)
        return ModelOutput(score_BNK, reports={"selection_F": share_F})

    def fit(self, batches: Iterable[Batch], check: Callable[[], None] = lambda: None) -> None:
        """One pass over the training days; sums are kept in float64."""
        width, horizons = self.weight_GK.shape
        device = self.weight_GK.device
        moment_KGG = torch.zeros(horizons, width, width, dtype=torch.float64, device=device)
        product_KG = torch.zeros(horizons, width, dtype=torch.float64, device=device)
        count_K = torch.zeros(horizons, dtype=torch.float64, device=device)
        for batch in batches:
            x_RF = batch.x_BNTF[:, :, -1].flatten(0, 1).double()
            x_RG = torch.cat((torch.ones_like(x_RF[:, :1]), x_RF), dim=1)
            known_RK = (batch.valid_BNK & batch.mask_BN[..., None]).flatten(0, 1)
            target_RK = batch.target_BNK.flatten(0, 1).double()
            for k in range(horizons):
                rows_RG = x_RG[known_RK[:, k]]
                moment_KGG[k] += rows_RG.T @ rows_RG
                product_KG[k] += rows_RG.T @ target_RK[known_RK[:, k], k]
            count_K += known_RK.sum(0)
        penalty_G = torch.full((width,), self.alpha, dtype=torch.float64, device=device)
        penalty_G[0] = 0.0
        count_K = count_K.clamp(min=1)
        system_KGG = moment_KGG / count_K[:, None, None] + torch.diag(penalty_G)
        # The pseudo-inverse gives the smallest weights where alpha is 0 and features repeat.
        inverse_KGG = torch.linalg.pinv(system_KGG, hermitian=True)
        weight_KG = (inverse_KGG @ (product_KG / count_K[:, None])[..., None]).squeeze(-1)
        self.weight_GK.copy_(weight_KG.T)
