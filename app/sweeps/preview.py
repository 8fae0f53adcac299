"""What a sweep would do, before it is created."""

from __future__ import annotations

from dataclasses import dataclass

from gogooku3.config import CheckedSweep, Params
from gogooku3.search import Search, memory_storage

SHOWN = 5


@dataclass(frozen=True)
class Preview:
    """How much a sweep would run, and how it would begin."""

    n_trials: int
    runs: int
    """Trials times seeds, if none is pruned."""
    epochs: int
    """Of all runs together, if none is pruned or stops early."""
    grid_size: int | None
    """Combinations of values; None when they cannot be counted."""
    parameters: int
    suggestions: list[Params]
    """Of the first trials, exactly as the sweep would choose them before any has ended."""


def preview(checked: CheckedSweep) -> Preview:
    """Ask the sampler for the first trials, in memory."""
    spec, space = checked.spec, checked.space
    search = Search(memory_storage(), "preview", spec, space)
    search.prepare()
    count = min(SHOWN, spec.n_trials)
    runs = spec.n_trials * spec.seeds_per_trial
    return Preview(
        n_trials=spec.n_trials,
        runs=runs,
        epochs=runs * spec.config.max_epochs,
        grid_size=space.size(),
        parameters=len(space.parameters),
        suggestions=[search.suggest(index).params for index in range(count)],
    )
