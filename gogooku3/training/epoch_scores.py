"""What a run is worth after an epoch: its validation days, beside a few of its training days."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gogooku3.training.evaluation import Evaluation, evaluate, spread
from gogooku3.training.experiment import Experiment


def score_epoch(experiment: Experiment, should_stop: Callable[[], bool]) -> Evaluation:
    """The validation days' scores and metrics under the weights that are kept, beside those of the
    training days that the configuration asks for. Raises as `evaluate`."""

    def score(split: str, days: Sequence[int]) -> Evaluation:
        return evaluate(
            experiment.model,
            experiment.feed,
            days,
            experiment.config,
            split=split,
            precision=experiment.precision,
            should_stop=should_stop,
        )

    days = spread(experiment.split.train_D, experiment.config.evaluation.train_days)
    with experiment.kept_weights():
        reference = score("train", days) if days else None
        found = score("valid", experiment.split.valid_D)
    return found if reference is None else found.beside(reference, experiment.config)
