"""Between the configuration's values and Optuna's: distributions, labels of choices, steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from gogooku3.config.distribution import DistributionConfig
from gogooku3.config.search_space import Parameter, Params


def optuna_distribution(distribution: DistributionConfig) -> BaseDistribution:
    """The same distribution in Optuna's words."""
    if distribution.choice is not None:
        return CategoricalDistribution(labels(distribution))
    points = distribution.points
    if distribution.int is not None:
        low, high = distribution.int
        if distribution.log:
            return IntDistribution(low, high, log=True)
        step = int(distribution.step or 1)
        # The last value that a step reaches: Optuna would warn and do the same.
        return IntDistribution(low, low + (high - low) // step * step, step=step)
    assert distribution.float is not None
    first, last = distribution.float
    if distribution.step is not None and points is not None and len(points) > 1:
        return FloatDistribution(first, points[-1], step=distribution.step)
    return FloatDistribution(first, last, log=distribution.log)


def labels(distribution: DistributionConfig) -> tuple[Any, ...]:
    """What Optuna calls the choices: their own values where it can hold and tell them apart."""
    choices = distribution.choice or ()
    kinds = {type(choice) for choice in choices if choice is not None}
    if len(kinds) <= 1 and kinds <= {str, int, float, bool}:
        return choices
    return tuple(json.dumps(choice, sort_keys=True) for choice in choices)


def from_label(distribution: DistributionConfig, value: Any) -> Any:
    """The configuration's value of what Optuna suggested."""
    if distribution.choice is not None:
        return distribution.choice[labels(distribution).index(value)]
    if distribution.float is not None and distribution.step is not None:
        low = distribution.float[0]
        return round(low + round((value - low) / distribution.step) * distribution.step, 12)
    return value


def to_label(distribution: DistributionConfig, value: Any) -> Any:
    """What Optuna calls a value of the configuration."""
    if distribution.choice is None:
        return int(value) if distribution.int is not None else float(value)
    text = json.dumps(value, sort_keys=True)
    for choice, label in zip(distribution.choice, labels(distribution), strict=True):
        if json.dumps(choice, sort_keys=True) == text:
            return label
    raise ValueError(f"{value!r} is not one of the choices")


def to_labels(parameters: Mapping[str, Parameter], chosen: Params) -> Params:
    """All of a trial's values in Optuna's words."""
    return {path: to_label(parameters[path].distribution, v) for path, v in chosen.items()}
