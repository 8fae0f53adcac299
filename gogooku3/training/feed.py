"""Batches as the model wants them: windows, graph, device. Shapes: B days, N stocks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import torch

from gogooku3.config import TrainConfig, edges_of
from gogooku3.data.batch import Batch
from gogooku3.data.batches import BatchMaker
from gogooku3.data.panel import Panel
from gogooku3.data.scaling import MarketScaling
from gogooku3.graph import GraphBuilder

EVALUATION_STOCKS = 4096
"""Stocks an evaluation batch holds at most, unless one day alone has more."""


class Feed:
    """Makes the batches of one dataset for one configuration.

    A batch's features lie in memory that the next batch overwrites: use it before asking again.
    """

    def __init__(
        self,
        panel: Panel,
        config: TrainConfig,
        device: torch.device,
        scaling: MarketScaling | None = None,
    ) -> None:
        """Take `scaling` as that of the market features, as a trained model must; None = fit it
        on the training days. Raises as `BatchMaker`."""
        self.panel = panel
        self.device = device
        self._maker = BatchMaker(panel, config.data, reuse=True, scaling=scaling)
        edges = edges_of(config.model)
        self._graph = None if edges is None else GraphBuilder(panel, edges)

    @property
    def scaling(self) -> MarketScaling:
        """The scaling of the market features."""
        return self._maker.scaling

    def batch(
        self,
        days: Sequence[int],
        stocks_per_day: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Batch:
        """The batch of some days of the panel's calendar; all stocks, or a sample of each day's."""
        batch = self._maker.make(days, stocks_per_day, generator)
        if self._graph is not None:
            batch = self._graph.attach(batch)
        return batch if self.device.type == "cpu" else batch.to(self.device)

    def evaluation_batches(self, days: Sequence[int]) -> list[list[int]]:
        """Consecutive days, few enough together to be scored at once."""
        if not days:
            return []
        widest = int(self.panel.universe_TN[list(days)].sum(dim=1).max())
        count = max(1, EVALUATION_STOCKS // max(1, widest))
        return [list(days[start : start + count]) for start in range(0, len(days), count)]

    def dates(self, days: Sequence[int]) -> list[date]:
        """The calendar dates of some days."""
        return [self.panel.calendar[day] for day in days]
