"""Searching the configuration with Optuna: a durable study behind each sweep. No torch.

Everything that a study remembers is in its storage, so any process may ask the next question:
the sampler of trial n is made from (seed, n), never kept.
"""

from gogooku3.search.importance import importances
from gogooku3.search.overfitting import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    probabilistic_sharpe_ratio,
    probability_of_overfitting,
)
from gogooku3.search.pruners import build_pruner
from gogooku3.search.samplers import build_sampler
from gogooku3.search.seeds import SeedNoise, seed_noise
from gogooku3.search.storage import (
    SCHEMA,
    Storage,
    close_storage,
    memory_storage,
    open_storage,
)
from gogooku3.search.study import Search, Suggestion, Verdict, WarmTrial
from gogooku3.search.wilcoxon import is_worse_over_days

__all__ = [
    "SCHEMA",
    "Search",
    "SeedNoise",
    "Storage",
    "Suggestion",
    "Verdict",
    "WarmTrial",
    "build_pruner",
    "build_sampler",
    "close_storage",
    "deflated_sharpe_ratio",
    "expected_maximum_sharpe",
    "importances",
    "is_worse_over_days",
    "memory_storage",
    "open_storage",
    "probabilistic_sharpe_ratio",
    "probability_of_overfitting",
    "seed_noise",
]
