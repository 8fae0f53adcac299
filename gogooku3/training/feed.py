"""Batches as the model wants them: windows, graph, device. Shapes: B days, N stocks."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from datetime import date
from threading import Lock

import torch

from gogooku3.config import BatchConfig, TrainConfig, edges_of
from gogooku3.data.batch import Batch
from gogooku3.data.batches import BatchMaker
from gogooku3.data.panel import Panel
from gogooku3.data.resident import is_room
from gogooku3.data.scaling import MarketScaling
from gogooku3.graph import GraphBuilder

EVALUATION_STOCKS = 4096
"""Windows an evaluation batch holds at most, unless one day alone has more or training has blocks.
"""


def evaluation_days(batch: BatchConfig, widest: int) -> int:
    """Days that are scored at once, `widest` stocks on each at most."""
    stocks = min(batch.stocks_per_step or widest, widest)
    if batch.block_days > 1:
        windows = batch.block_days * stocks
    else:
        windows = min(batch.days_per_step * stocks, EVALUATION_STOCKS)
    return max(1, windows // widest)


class Feed:
    """Makes the batches of one dataset for one configuration.

    A training batch's features lie in memory that the one after the next overwrites, so that the
    next can be made meanwhile; those of an evaluation batch lie where the next one's will.
    """

    def __init__(
        self,
        panel: Panel,
        config: TrainConfig,
        device: torch.device,
        scaling: MarketScaling | None = None,
        *,
        resident: bool = True,
    ) -> None:
        """Take `scaling` as that of the market features, as a trained model must; None = fit it
        on the training days. `resident` keeps all features on a GPU that has room for them, which
        costs a copy of the whole dataset. Raises as `BatchMaker`."""
        self.panel = panel
        self.device = device
        self._batch = config.batch
        # Where a GPU has room for all features, they go there once, and only row ids after that.
        home = device if resident and is_room(panel, device) else None
        self._maker = BatchMaker(panel, config.data, reuse=2, scaling=scaling, resident=home)
        edges = edges_of(config.model)
        self._graph = None if edges is None else GraphBuilder(panel, edges)
        self._one_at_a_time = Lock()

    @property
    def features(self) -> Sequence[str]:
        """Names of the last axis of x_BNTF."""
        return self._maker.features

    @property
    def scaling(self) -> MarketScaling:
        """The scaling of the market features."""
        return self._maker.scaling

    def with_batch(self, batch: BatchConfig) -> Feed:
        """The same for another `batch`: features that lie on a device lie there once."""
        made = copy.copy(self)
        made._batch, made._maker = batch, self._maker.anew()
        return made

    def batch(
        self,
        days: Sequence[int],
        stocks_per_day: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Batch:
        """A training batch of some days of the panel's calendar, consecutive ones if the
        configuration has blocks; all stocks, or a sample."""
        make = self._maker.block if self._batch.block_days > 1 else self._maker.make
        with self._one_at_a_time:
            return self._ready(make(days, stocks_per_day, generator))

    def evaluation_batches(self, days: Sequence[int]) -> Iterator[Batch]:
        """All stocks of increasing days, in blocks of days that take no more memory to score than
        a training batch takes to learn from, if there is more than one day in a block."""
        if days:
            widest = max(1, int(self.panel.universe_TN[list(days)].sum(dim=1).max()))
            count = evaluation_days(self._batch, widest)
            yield from map(self._ready, self._maker.blocks(days, count))

    def _ready(self, batch: Batch) -> Batch:
        if self._graph is not None:
            batch = self._graph.attach(batch)
        return batch if self.device.type == "cpu" else batch.to(self.device)

    def dates(self, days: Sequence[int]) -> list[date]:
        """The calendar dates of some days."""
        return [self.panel.calendar[day] for day in days]
