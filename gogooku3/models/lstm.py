"""A plain recurrent network: what the temporal fusion encoder has to beat.

Shapes: B days, N stocks, S = B * N windows, T look-back days, F features, D hidden, K horizons.
"""

from __future__ import annotations

from torch import nn

from gogooku3.config import LstmConfig
from gogooku3.data.batch import Batch
from gogooku3.errors import ConfigError
from gogooku3.models.base import Model, ModelOutput, ModelShape
from gogooku3.nn.dropout import Dropout
from gogooku3.nn.heads import HorizonHeads
from gogooku3.nn.temporal import present_first


class Lstm(Model):
    """LSTM (Hochreiter and Schmidhuber, 1997) over the present days; heads on its last state."""

    def __init__(self, config: LstmConfig, shape: ModelShape) -> None:
        super().__init__()
        if config.head.hidden is None:
            raise ConfigError("the model's configuration was not validated: derived fields lack")
        width, between = config.hidden_size, config.dropout if config.layers > 1 else 0.0
        self.lstm = nn.LSTM(len(shape.features), width, config.layers, dropout=between)
        self.dropout = Dropout(config.dropout)
        self.heads = HorizonHeads(
            width=width,
            hidden=config.head.hidden,
            horizons=len(shape.horizons),
            dropout=config.dropout,
        )

    def forward(self, batch: Batch) -> ModelOutput:
        """Scores of one batch."""
        order_TS, count_S = present_first(batch.present_BNT.flatten(0, 1).T)
        x_TSF = batch.x_BNTF.flatten(0, 1).transpose(0, 1)
        x_TSF = x_TSF.gather(0, order_TS[..., None].expand_as(x_TSF))
        state_TSD = self.lstm(x_TSF)[0]
        last_1SD = (count_S - 1)[None, :, None].expand(1, -1, state_TSD.shape[-1])
        state_SD = self.dropout(state_TSD.gather(0, last_1SD).squeeze(0))
        state_BND = state_SD.unflatten(0, batch.mask_BN.shape)
        return ModelOutput(self.heads.masked(state_BND, batch.mask_BN))
