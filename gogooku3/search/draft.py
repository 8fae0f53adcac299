"""A trial that is not in its study yet: what a sampler reads and writes while it thinks."""

from __future__ import annotations

import copy
from collections.abc import Container
from datetime import datetime
from typing import Any, cast

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from gogooku3.search.storage import Storage

_DRAFT_ID = -1
"""No trial of a storage has it."""


class Draft:
    """A storage with one more trial, which is in memory alone until `keep`.

    So a suggestion is in its study whole or not at all, in one transaction, and a sampler that asks
    for the study's trials again and again is always told the same.
    """

    def __init__(self, storage: Storage, study_id: int, number: int) -> None:
        self._behind = storage
        self._study_id = study_id
        self._trials: list[FrozenTrial] | None = None
        self._trial = FrozenTrial(
            number=number,
            trial_id=_DRAFT_ID,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=datetime.now(),  # naive and local, as Optuna's own are
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )

    @property
    def trial_id(self) -> int:
        """Of the draft."""
        return _DRAFT_ID

    @property
    def storage(self) -> Storage:
        """This, as Optuna's types want it: what is not defined here is the real storage's."""
        return cast(Storage, self)

    def keep(self) -> int:
        """Write the draft into the study; returns the id that it got there."""
        return self._behind.create_new_trial(self._study_id, self._trial)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)

    def get_study_id_from_name(self, study_name: str) -> int:
        """Of the only study that is asked for."""
        return self._study_id

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The study's trials as they were when they were first asked for, without the draft."""
        if self._trials is None:
            self._trials = self._behind.get_all_trials(study_id, deepcopy=False)
        found = [trial for trial in self._trials if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """A copy: what a sampler is told and what is written must not be one object."""
        return copy.deepcopy(self._trial)

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        """What samplers have noted at the draft."""
        return dict(self._trial.system_attrs)

    def set_trial_param(
        self, trial_id: int, name: str, internal: float, distribution: BaseDistribution
    ) -> None:
        """Note a value at the draft."""
        self._trial.params[name] = distribution.to_external_repr(internal)
        self._trial.distributions[name] = distribution

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Note what a sampler wants to remember of the draft."""
        self._trial.system_attrs[key] = value
