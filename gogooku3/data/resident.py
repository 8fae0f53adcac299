"""Rows of a panel that lie on a device: gathered there, by the row ids that the CPU works out.

The index arithmetic is that of `rows`: what differs is where the features are. They keep the
storage of the file (float16 or float32), so that a GPU reads the very bits that a CPU reads.
Nothing here waits for the device. Shapes: S days, N stocks, F features in use.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gogooku3.data.batch import to_device
from gogooku3.data.panel import Panel
from gogooku3.data.rows import RowReader
from gogooku3.data.scaling import MarketScaling


class ResidentRows(RowReader):
    """A `RowReader` whose features and scaled market features are copied to a device once."""

    def __init__(
        self,
        panel: Panel,
        features: Sequence[str],
        scaling: MarketScaling,
        device: torch.device,
    ) -> None:
        """Raises what `RowReader` raises, and torch.OutOfMemoryError."""
        super().__init__(panel, features, scaling)
        self.device = device
        self._features_RF = panel.features_RF.to(device)
        self._scaled_TM = self._scaled_TM.to(device)
        if self._columns is not None:
            self._columns = self._columns.to(device)

    def read(self, row_SN: Tensor, day_S: Sequence[int], out_SNF: Tensor) -> None:
        """Fill `out_SNF`, on the device, as `RowReader.read` does."""
        row_SN = to_device(row_SN, self.device)
        found_QF = self._features_RF.index_select(0, row_SN.clamp(min=0).view(-1))
        if self._columns is not None:
            found_QF = found_QF.index_select(1, self._columns)
        out_SNF.copy_(found_QF.view(out_SNF.shape))
        if self._market:
            # Days before the calendar's first have no rows, whatever is written here.
            day = torch.tensor([max(day, 0) for day in day_S])
            scaled_SM = self._scaled_TM.index_select(0, to_device(day, self.device))
            for first, place, width in self._market:
                run_SM = scaled_SM[:, place : place + width]
                out_SNF[:, :, first : first + width] = run_SM.unsqueeze(1)
        out_SNF.masked_fill_((row_SN < 0).unsqueeze(-1), 0.0)


def is_room(panel: Panel, device: torch.device, share: float = 0.5) -> bool:
    """Whether the panel's features take less than a share of what a GPU has free."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    features_RF = panel.features_RF
    return features_RF.numel() * features_RF.element_size() < share * free
