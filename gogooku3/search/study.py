"""A sweep's study: suggest the next trial, hear how trials go, decide whether one may go on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from gogooku3.config.search_space import Params, SearchSpace
from gogooku3.config.sweep import SweepSpec
from gogooku3.search.draft import Draft
from gogooku3.search.pruners import build_pruner
from gogooku3.search.samplers import build_sampler
from gogooku3.search.storage import Storage
from gogooku3.search.values import from_label, optuna_distribution, to_labels

_READY = "gogooku3:ready"
_UNKNOWN_VIOLATION = 1.0
"""Of a constraint on a metric that is undefined: it is not met."""


class Verdict(StrEnum):
    """How a trial ended, as a study hears it."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAIL = "fail"


@dataclass(frozen=True)
class Suggestion:
    """A trial to be run."""

    index: int
    """Of the sweep's trials: 0, 1, 2, ..."""
    params: Params


@dataclass(frozen=True)
class WarmTrial:
    """A complete trial of an earlier sweep."""

    source: str
    """Where it comes from, for people: `swp_... 7`."""
    params: Params
    values: tuple[float, ...]


@dataclass
class Search:
    """The study `name` in `storage`, under a sweep's specification.

    The sweep's trial `index` is the study's trial number `index` + the trials it was warmed with.
    Only `suggest` must not run twice at the same time.
    """

    storage: Storage
    name: str
    spec: SweepSpec
    space: SearchSpace
    _study: Study | None = field(default=None, init=False)
    _warm: list[FrozenTrial] = field(default_factory=list, init=False)
    _warmed: int | None = field(default=None, init=False)

    def prepare(self, warm: Sequence[WarmTrial] = ()) -> None:
        """Make the study, with the given trials of earlier sweeps, or go on making it."""
        study = optuna.create_study(
            study_name=self.name,
            storage=self.storage,
            directions=[goal.direction for goal in self.spec.goals],
            sampler=RandomSampler(seed=0),
            pruner=build_pruner(self.spec),
            load_if_exists=True,
        )
        self._study = study
        if _READY in study.user_attrs:
            return
        for trial in warm[len(study.get_trials(deepcopy=False)) :]:
            study.add_trial(self._frozen(trial))
        study.set_metric_names([goal.metric for goal in self.spec.goals])
        for name, value in self._origin().items():
            study.set_user_attr(name, value)
        study.set_user_attr(_READY, len(warm))

    @property
    def study(self) -> Study:
        """Optuna's study. Raises KeyError when it has not been made."""
        if self._study is None:
            self._study = optuna.load_study(
                study_name=self.name,
                storage=self.storage,
                sampler=RandomSampler(seed=0),
                pruner=build_pruner(self.spec),
            )
        return self._study

    def suggest(self, index: int) -> Suggestion:
        """The values of the sweep's trial `index`.

        Repeatable: they are in the study whole or not at all, and one that was lost on the way to
        the caller is given again. Raises ValueError beyond the end of a grid.
        """
        trial_id = self._find(index)
        if trial_id is not None:
            return Suggestion(index, self._values(self.storage.get_trial(trial_id).params))
        draft = Draft(self.storage, self.study._study_id, self._number(index))
        study = Study(
            self.name,
            draft.storage,
            sampler=build_sampler(self.spec, self.space, index, self._sources()),
            pruner=self.study.pruner,
        )
        # Not `study.ask`, which looks for a trial that waits: there are none.
        trial = Trial(study, draft.trial_id)
        chosen: Params = {}
        for parameter in self.space.parameters:
            if self.space.is_active(parameter, chosen):
                value = _suggest(trial, parameter.path, parameter.distribution)
                chosen[parameter.path] = from_label(parameter.distribution, value)
        if draft.keep() != self._trial_id(index):
            raise RuntimeError(f"trial {index} of {self.name} was asked for twice at once")
        return Suggestion(index, chosen)

    def report(self, index: int, epoch: int, value: float | None) -> None:
        """A value on the way, after a completed epoch; None = undefined. Repeating is fine."""
        self.catch_up(index, {epoch: value})

    def catch_up(self, index: int, values: Mapping[int, float | None]) -> None:
        """Values of several epochs, those that are new."""
        self._add_values(self.storage.get_trial(self._trial_id(index)), values)

    def should_prune(self, index: int) -> bool:
        """Whether the trial's last report is too bad to go on, by the sweep's pruner."""
        trial = self.storage.get_trial(self._trial_id(index))
        if trial.state.is_finished() or trial.last_step is None:
            return False
        return self.study.pruner.prune(self.study, trial)

    def tell(
        self,
        index: int,
        verdict: Verdict,
        values: Sequence[float] | None = None,
        *,
        curve: Mapping[int, float | None] | None = None,
        constraints: Mapping[str, float | None] | None = None,
        reason: str | None = None,
    ) -> None:
        """How the trial ended: `values` of a complete one, `constraints` > 0 where violated,
        `curve`: by epoch, what was not reported before.

        Telling it again changes nothing. Raises ValueError for a complete trial without a value of
        each objective.
        """
        told = self._complete_values(index, values) if verdict is Verdict.COMPLETE else None
        trial = self.storage.get_trial(self._trial_id(index))
        if trial.state.is_finished():
            return
        reported = self._add_values(trial, curve or {})
        if verdict is Verdict.PRUNED:
            told = _last_value(reported)
        if constraints and not trial.constraints:
            constrained = Trial(self.study, trial._trial_id)
            for name, violation in constraints.items():
                if violation is None or not math.isfinite(violation):
                    violation = _UNKNOWN_VIOLATION
                constrained.set_constraint(name, violation)
        if reason is not None:
            self.storage.set_trial_user_attr(trial._trial_id, "reason", reason)
        # Not `study.tell`, which reads the trial once more: no sampler wants to hear of its end.
        self.storage.set_trial_state_values(trial._trial_id, TrialState[verdict.name], told)

    def _complete_values(self, index: int, values: Sequence[float] | None) -> list[float]:
        told = [float(value) for value in values or ()]
        if len(told) != len(self.spec.goals) or any(map(math.isnan, told)):
            raise ValueError(f"trial {index} of {self.name} cannot be complete with {values}")
        return told

    def _add_values(
        self, trial: FrozenTrial, values: Mapping[int, float | None]
    ) -> dict[int, float]:
        """Write values of a trial that are new, if it runs; answers all that it has."""
        reported = dict(trial.intermediate_values)
        for epoch, value in values.items():
            if epoch not in reported and not trial.state.is_finished():
                reported[epoch] = math.nan if value is None else value
                self.storage.set_trial_intermediate_value(trial._trial_id, epoch, reported[epoch])
        return reported

    def _number(self, index: int) -> int:
        return index + self._offset

    @property
    def _offset(self) -> int:
        """Trials the study was warmed with."""
        if self._warmed is None:
            self._warmed = int(self.study.user_attrs[_READY])
        return self._warmed

    def _trial_id(self, index: int) -> int:
        study_id = self.study._study_id
        return self.storage.get_trial_id_from_study_id_trial_number(study_id, self._number(index))

    def _find(self, index: int) -> int | None:
        """Optuna's id of a trial that was suggested before, perhaps in part."""
        try:
            return self._trial_id(index)
        except KeyError:
            return None

    def _sources(self) -> list[FrozenTrial]:
        """The trials the study was warmed with, for a sampler that wants them apart."""
        if self._offset and not self._warm:
            self._warm = self.study.get_trials(deepcopy=False)[: self._offset]
        return self._warm

    def _values(self, labels: Params) -> Params:
        """What the study calls the values of a trial, in the configuration's words."""
        return {
            parameter.path: from_label(parameter.distribution, labels[parameter.path])
            for parameter in self.space.parameters
            if parameter.path in labels
        }

    def _frozen(self, trial: WarmTrial) -> FrozenTrial:
        parameters = {parameter.path: parameter for parameter in self.space.parameters}
        return create_trial(
            params=to_labels(parameters, trial.params),
            distributions={
                path: optuna_distribution(parameters[path].distribution) for path in trial.params
            },
            values=list(trial.values),
            user_attrs={"from": trial.source},
        )

    def _origin(self) -> dict[str, Any]:
        return {
            "optuna_version": optuna.__version__,
            "sampler": self.spec.sampler.model_dump(mode="json"),
            "pruner": self.spec.pruner.model_dump(mode="json"),
            "dataset": self.spec.dataset,
        }


def _last_value(reported: Mapping[int, float]) -> list[float] | None:
    """The value of a pruned trial, which Optuna's own `tell` gives it too."""
    last = reported[max(reported)] if reported else math.nan
    return None if math.isnan(last) else [last]


def _suggest(trial: Trial, path: str, distribution: Any) -> Any:
    match optuna_distribution(distribution):
        case optuna.distributions.CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(path, choices)
        case optuna.distributions.IntDistribution() as ints:
            return trial.suggest_int(path, ints.low, ints.high, step=ints.step, log=ints.log)
        case optuna.distributions.FloatDistribution() as floats:
            return trial.suggest_float(
                path, floats.low, floats.high, step=floats.step, log=floats.log
            )
    raise TypeError(f"no distribution of {path}")
