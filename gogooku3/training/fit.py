"""Models that learn from all training days at once, without steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from gogooku3.data.batch import Batch
from gogooku3.training.evaluation import Interrupted
from gogooku3.training.experiment import Experiment
from gogooku3.training.statistics import EpochStatistics


def fit_at_once(
    experiment: Experiment, statistics: EpochStatistics, should_stop: Callable[[], bool]
) -> None:
    """Fit the model on the training days. Raises Interrupted when told to stop, which leaves the
    model as it was."""
    began = time.monotonic()

    def check() -> None:
        if should_stop():
            raise Interrupted

    def batches() -> Iterator[Batch]:
        asked = time.monotonic()
        for batch in experiment.feed.evaluation_batches(experiment.split.train_D):
            check()
            statistics.wait_s += time.monotonic() - asked
            statistics.count(batch.mask_BN)
            yield batch
            asked = time.monotonic()

    experiment.model.fit(batches(), check)
    statistics.elapsed_s += time.monotonic() - began
