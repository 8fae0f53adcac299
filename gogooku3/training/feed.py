"""Batches as the model wants them: windows, graph, device. Shapes: B days, N stocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

import torch

from gogooku3.config import TrainConfig, edges_of
from gogooku3.data.batch import Batch
from gogooku3.data.batches import BatchMaker
from gogooku3.data.panel import Panel
from gogooku3.data.scaling import MarketScaling
from gogooku3.graph import GraphBuilder

EVALUATION_STOCKS = 4096
"""Stocks an evaluation batch holds at most, unless one day alone has more, or a training block."""


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
        self._block_days = config.batch.block_days
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
        """A training batch of some days of the panel's calendar, consecutive ones if the
        configuration has blocks; all stocks, or a sample."""
        make = self._maker.block if self._block_days > 1 else self._maker.make
        return self._ready(make(days, stocks_per_day, generator))

    def evaluation_batches(self, days: Sequence[int]) -> Iterator[Batch]:
        """All stocks of increasing days, in blocks of days that are few enough together to be
        scored at once."""
        if days:
            widest = int(self.panel.universe_TN[list(days)].sum(dim=1).max())
            count = max(1, EVALUATION_STOCKS // max(1, widest), self._block_days)
            yield from map(self._ready, self._maker.blocks(days, count))

    def _ready(self, batch: Batch) -> Batch:
        if self._graph is not None:
            batch = self._graph.attach(batch)
        return batch if self.device.type == "cpu" else batch.to(self.device)

    def dates(self, days: Sequence[int]) -> list[date]:
        """The calendar dates of some days."""
        return [self.panel.calendar[day] for day in days]
