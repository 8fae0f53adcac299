"""The samplers: from a sweep's specification to Optuna's, made anew for each trial."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    PartialFixedSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study
from optuna.trial import FrozenTrial

from gogooku3.config import sweep
from gogooku3.config.search_space import SearchSpace
from gogooku3.config.sweep import SweepSpec
from gogooku3.search.values import optuna_distribution, to_labels


def build_sampler(
    spec: SweepSpec, space: SearchSpace, index: int, warm: Sequence[FrozenTrial] = ()
) -> BaseSampler:
    """The sampler of the sweep's trial `index` (0, 1, 2, ...).

    It draws from (seed, index) alone, so that a suggestion depends on what the study holds and on
    nothing that a process remembers. Raises ValueError beyond the last point of a grid.
    """
    sampler = _of_kind(spec, space, index, warm)
    fixed = _fixed(spec, space, index)
    if fixed is None:
        return sampler
    parameters = {parameter.path: parameter for parameter in space.parameters}
    return PartialFixedSampler(to_labels(parameters, fixed), sampler)


def draw(seed: int, index: int) -> int:
    """The seed of one trial's draws, 32 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{index}".encode()).digest()[:4], "big")


def needs_torch(spec: SweepSpec, index: int) -> bool:
    """Whether the suggestion of this trial imports torch: it is then made in a child process."""
    return isinstance(spec.sampler, sweep.GpSampler) and index >= spec.sampler.startup_trials


def _fixed(spec: SweepSpec, space: SearchSpace, index: int) -> dict[str, object] | None:
    """Values that are given and not chosen."""
    if index < len(spec.enqueue):
        return spec.enqueue[index]
    if not isinstance(spec.sampler, sweep.GridSampler):
        return None
    place = index - len(spec.enqueue)
    point = next(itertools.islice(space.grid(), place, place + 1), None)
    if point is None:
        raise ValueError(f"the grid has {place} points: all of them are tried")
    return point


def _of_kind(
    spec: SweepSpec, space: SearchSpace, index: int, warm: Sequence[FrozenTrial]
) -> BaseSampler:
    config = spec.sampler
    if isinstance(config, sweep.GridSampler):
        return RandomSampler(seed=draw(0, index))
    seed = draw(config.seed, index)
    match config:
        case sweep.TpeSampler():
            if len(spec.goals) == 1 and not space.is_conditional:
                return _JointTpe(space, seed=seed, startup_trials=config.startup_trials)
            is_grouped = len(spec.goals) == 1
            return TPESampler(
                seed=seed,
                n_startup_trials=config.startup_trials,
                multivariate=True if is_grouped else None,
                group=is_grouped,
            )
        case sweep.RandomSampler():
            return RandomSampler(seed=seed)
        case sweep.CmaEsSampler():
            return CmaEsSampler(
                seed=seed,
                n_startup_trials=config.startup_trials,
                popsize=config.population,
                warn_independent_sampling=False,
                source_trials=list(warm) or None,
            )
        case sweep.GpSampler():
            return GPSampler(
                seed=seed, n_startup_trials=config.startup_trials, warn_independent_sampling=False
            )
        case sweep.QmcSampler():
            return _Sobol(space, seed=config.seed, place=index)


def _always_chosen(space: SearchSpace) -> dict[str, BaseDistribution]:
    """The parameters without conditions that have more than one value."""
    found = {
        p.path: optuna_distribution(p.distribution) for p in space.parameters if not p.conditions
    }
    return {path: distribution for path, distribution in found.items() if not distribution.single()}


class _JointTpe(TPESampler):
    """TPE over all parameters of a space without conditions, which need not be looked for in the
    trials."""

    def __init__(self, space: SearchSpace, *, seed: int, startup_trials: int) -> None:
        super().__init__(seed=seed, n_startup_trials=startup_trials)
        self._known = _always_chosen(space)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(self._known)


class _Sobol(QMCSampler):
    """A sequence over the parameters without conditions, known from the first trial on."""

    def __init__(self, space: SearchSpace, *, seed: int, place: int) -> None:
        super().__init__(
            scramble=True,
            seed=seed,
            warn_independent_sampling=False,
            independent_sampler=RandomSampler(seed=seed),
        )
        self._known = _always_chosen(space)
        self._place = place

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:
        # Optuna counts in the study whoever asks, also where the answer was lost on its way.
        return self._place

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(self._known)
